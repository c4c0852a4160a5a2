//! Who can be reached where: routes, and the registry that holds them.
//!
//! Input: sessions that register, renew and leave. Output: the routes of a client, best first. The embedded registry
//! is a map; one that is replicated between nodes implements the same trait. Owns routes only: which socket serves
//! a route is the core's business.

use std::collections::{BTreeMap, HashMap};

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

/// What names a route: writing another one under the same key replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteKey {
    pub account_sid: String,
    pub client: String,
    pub instance: String,
    pub gateway: String,
}

impl Route {
    pub fn key(&self) -> RouteKey {
        RouteKey {
            account_sid: self.account_sid.clone(),
            client: self.client.clone(),
            instance: self.instance.clone(),
            gateway: self.gateway.clone(),
        }
    }
}

/// Answers at once from what this node knows; a replicated registry keeps its copy current behind it.
pub trait RouteRegistry: Send {
    /// Inserts or replaces.
    fn put(&mut self, route: Route);
    /// A deleted route stays deleted, whatever a late renewal says: renewal is `put` by the owner only.
    fn remove(&mut self, key: &RouteKey);
    /// All routes of a client that have not expired, in a stable order.
    fn routes_of(&self, account_sid: &str, client: &str, unix_ms: u64) -> Vec<Route>;
    /// Forgets what expired before `unix_ms`.
    fn expire(&mut self, unix_ms: u64);
    /// Routes held, expired ones included until `expire`.
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The registry of a lone node.
#[derive(Debug, Default)]
pub struct EmbeddedRegistry {
    clients: HashMap<(String, String), BTreeMap<(String, String), Route>>,
    routes: usize,
}

impl RouteRegistry for EmbeddedRegistry {
    fn put(&mut self, route: Route) {
        let client = self.clients.entry((route.account_sid.clone(), route.client.clone())).or_default();
        let replaced = client.insert((route.instance.clone(), route.gateway.clone()), route);
        self.routes += usize::from(replaced.is_none());
    }

    fn remove(&mut self, key: &RouteKey) {
        let name = (key.account_sid.clone(), key.client.clone());
        let Some(client) = self.clients.get_mut(&name) else { return };
        let removed = client.remove(&(key.instance.clone(), key.gateway.clone()));
        self.routes -= usize::from(removed.is_some());
        if client.is_empty() {
            self.clients.remove(&name);
        }
    }

    fn routes_of(&self, account_sid: &str, client: &str, unix_ms: u64) -> Vec<Route> {
        let routes = self.clients.get(&(account_sid.to_owned(), client.to_owned()));
        routes.into_iter().flat_map(BTreeMap::values).filter(|r| r.expires_unix_ms > unix_ms).cloned().collect()
    }

    fn expire(&mut self, unix_ms: u64) {
        for client in self.clients.values_mut() {
            client.retain(|_, route| route.expires_unix_ms > unix_ms);
        }
        self.clients.retain(|_, client| !client.is_empty());
        self.routes = self.clients.values().map(BTreeMap::len).sum();
    }

    fn len(&self) -> usize {
        self.routes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(instance: &str, gateway: &str, expires_unix_ms: u64) -> Route {
        Route {
            account_sid: "AC1".into(),
            client: "bob".into(),
            instance: instance.into(),
            gateway: gateway.into(),
            region: "eu".into(),
            state: RouteState::Available,
            expires_unix_ms,
        }
    }

    #[test]
    fn an_instance_is_reachable_through_several_gateways_at_once() {
        let mut registry = EmbeddedRegistry::default();
        for gateway in ["gw1", "gw2"] {
            registry.put(route("phone", gateway, 10));
        }
        let gateways: Vec<_> = registry.routes_of("AC1", "bob", 0).into_iter().map(|r| r.gateway).collect();
        assert_eq!(gateways, ["gw1", "gw2"]);
        registry.remove(&route("phone", "gw1", 10).key());
        assert_eq!(registry.routes_of("AC1", "bob", 0).len(), 1);
    }

    #[test]
    fn expired_routes_do_not_count_and_other_accounts_see_nothing() {
        let mut registry = EmbeddedRegistry::default();
        registry.put(route("phone", "gw1", 10));
        assert!(registry.routes_of("AC1", "bob", 10).is_empty());
        assert!(registry.routes_of("AC2", "bob", 0).is_empty());
        registry.expire(10);
        assert!(registry.is_empty());
    }
}
