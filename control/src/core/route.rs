//! Who can be reached where: routes, and the registry that holds them.

/// One way to reach one instance of a client: through one gateway. An instance may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub account_sid: String,
    /// Name of the client: the identity in its token.
    pub client: String,
    /// One device, tab or program of the client.
    pub instance: String,
    pub gateway: String,
    pub region: String,
    pub state: RouteState,
    /// Soft state: the owner renews it; after this it does not count. Unix milliseconds.
    pub expires_unix_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// Takes calls.
    Available,
    /// Its socket is lost and may come back: keeps its calls, takes no new ones.
    Away,
}
