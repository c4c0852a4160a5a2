//! Every bound of the control core, each with the reason for its value.
//!
//! Exceeding one is the peer's fault: it is refused with a code, counted, and never grows anything of ours.

/// What one client may do and hold. The shell configures them; [`Limits::default`] is meant for production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sockets open at once. Each costs about 40 KiB of buffers here and in the kernel: 20,000 are under 1 GiB.
    pub sessions_max: usize,
    /// Sockets of one identity: a person's phone, tablet, browsers and tabs, and room for sockets not yet timed out.
    pub sessions_per_identity_max: usize,
    /// Calls at once. Two legs each; 10,000 calls are what one worker core is sized for.
    pub calls_max: usize,
    /// Calls one identity may take part in when its token says nothing. A softphone shows a few; a robot needs a grant.
    pub calls_per_identity_max: usize,
    /// Instances of a callee that ring together. Each opens a leg, so this is what one invite may cost us.
    pub ringing_instances_max: usize,
    /// Bytes of a text frame. An offer of a browser with video is below 8 KiB; 64 KiB leave room for `message`.
    pub message_bytes_max: usize,
    /// Bytes of an SDP in it. Chromium with audio and video sends 7 KiB.
    pub sdp_bytes_max: usize,
    /// Bytes of a token. The vendor's tokens are below 1 KiB.
    pub token_bytes_max: usize,
    /// Bytes of the custom parameters of an invite. They are copied to each ringing instance.
    pub params_bytes_max: usize,
    /// Frames a session may send in a second, on average. Humans with keypads stay below 10.
    pub frames_per_second_max: u32,
    /// Frames it may send at once: a client that comes back re-announces all its calls.
    pub frames_burst_max: u32,
    /// Frames over the rate after which a session is closed instead of refused: it is not listening to refusals.
    pub frames_refused_max: u32,
    /// Sockets that have opened and not yet shown a token are closed after this. The stock client sends `listen` at once.
    pub listen_ms_max: u64,
    /// A token lives at most this long, as the vendor's do: 24 h.
    pub token_life_s_max: u64,
    /// Tolerated difference between the token maker's clock and ours.
    pub token_leeway_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions_max: 20_000,
            sessions_per_identity_max: 16,
            calls_max: 10_000,
            calls_per_identity_max: 64,
            ringing_instances_max: 10,
            message_bytes_max: 64 << 10,
            sdp_bytes_max: 32 << 10,
            token_bytes_max: 8 << 10,
            params_bytes_max: 4 << 10,
            frames_per_second_max: 50,
            frames_burst_max: 200,
            frames_refused_max: 200,
            listen_ms_max: 10_000,
            token_life_s_max: 24 * 3600,
            token_leeway_s: 3,
        }
    }
}

/// Bytes of a text message to the other party of a call; the vendor's bound.
pub const CONTENT_BYTES_MAX: usize = 10 << 10;

/// Bytes of any name a client chooses: call ids, instances, message types.
pub const NAME_BYTES_MAX: usize = 128;

/// Characters of a value in the log. Some are a client's words; a longer one says no more.
pub const NOTE_VALUE_CHARS_MAX: usize = 256;

/// Refusals of one session that are logged in [`REFUSALS_NOTED_MS`]: enough to see what it tries.
pub const REFUSALS_NOTED_MAX: u32 = 10;
pub const REFUSALS_NOTED_MS: u64 = 60_000;

/// Tokens that one session may have refused in a row. A client with a wrong clock or secret does not get better.
pub const LISTENS_REFUSED_MAX: u32 = 5;

/// A sealed bridge token serves as long as the longest-lived access token.
pub const BRIDGE_TOKEN_LIFE_MS: u64 = 24 * 3_600_000;

/// A route counts this long without renewal, so that a node that died is forgotten.
pub const ROUTE_LIFE_MS: u64 = 180_000;

/// Routes are renewed three times in their life: one lost renewal does not unregister anybody.
pub const ROUTE_RENEW_MS: u64 = 60_000;

/// The last reports of closed legs are awaited this long before the record is written without them.
pub const REPORTS_MS_MAX: u64 = 2_000;

/// A client whose peer connection closed says `hangup` within this, or comes back with another one.
pub const MEDIA_GONE_MS_MAX: u64 = 2_000;

/// A client answers an offer of ours within a round trip and the work of its browser. After this another may follow.
pub const OFFER_ANSWER_MS_MAX: u64 = 10_000;

/// An order that found the dataplane busy is given again after this.
pub const ORDER_RETRY_MS: u64 = 20;

/// Orders that may wait for the dataplane before invites, re-offers and digits are refused: what ends calls must always
/// find room. A few for each of 10,000 calls would be a dataplane that has stopped, not one that is slow.
pub const ORDERS_WAITING_MAX: usize = 8_192;

/// A dataplane that leaves an order unanswered this long hangs: it answers within a batch, thus within milliseconds.
pub const ORDER_ANSWER_MS_MAX: u64 = 5_000;

/// Client timeouts are whole seconds; an absurd one must not overflow.
pub const RECONNECT_SECONDS_BOUND: u32 = 3_600;

const _: () = assert!(ROUTE_RENEW_MS * 3 <= ROUTE_LIFE_MS);
