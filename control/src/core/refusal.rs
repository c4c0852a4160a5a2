//! Everything we refuse a peer, with the code it is told and the word the log uses.
//!
//! Input: a variant named by whoever refuses. Output: `code` and `message` for the wire, `name` for the log and
//! the `refusals` metric. The codes are those the stock client has error classes for; where its table and common
//! documentation disagree, its table counts. Several variants share one code on purpose: a forger must not learn
//! which check stopped him.

use thiserror::Error;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $name:literal, $message:literal;)+) => {
        /// The peer or its token is at fault, or asks for what is not to be had.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
        pub enum Refusal { $($(#[doc = $doc])+ #[error($message)] $variant,)+ }

        impl Refusal {
            pub const ALL: &'static [Refusal] = &[$(Refusal::$variant,)+];

            /// Code on the wire.
            pub const fn code(self) -> u32 {
                match self { $(Refusal::$variant => $code,)+ }
            }

            /// Word in the log and label in the metrics; stable.
            pub const fn name(self) -> &'static str {
                match self { $(Refusal::$variant => $name,)+ }
            }

            /// Text on the wire.
            pub const fn message(self) -> &'static str {
                match self { $(Refusal::$variant => $message,)+ }
            }
        }
    };
}

refusals! {
    // Tokens. One code and one text for all that a forger could probe.
    /// Not three base64url parts of JSON, or claims of the wrong shape.
    TokenMalformed = 20101, "token_malformed", "Invalid access token";
    /// The header names another algorithm than the key's, or none.
    TokenAlgorithm = 20101, "token_algorithm", "Invalid access token";
    /// The header brings or points to a key, or demands extensions (`jku`, `x5u`, `jwk`, `x5c`, `crit`).
    TokenHeader = 20101, "token_header", "Invalid access token";
    /// `iss` names no key of ours.
    TokenIssuer = 20101, "token_issuer", "Invalid access token";
    /// The signature is not the key's.
    TokenSignature = 20101, "token_signature", "Invalid access token";
    /// The key was revoked.
    KeyRevoked = 20101, "key_revoked", "Invalid access token";
    /// `sub` is not the key's account.
    TokenAccount = 20101, "token_account", "Invalid access token";
    /// `nbf` is ahead.
    TokenNotYetValid = 20101, "token_not_yet_valid", "Invalid access token";
    /// No identity, or one that cannot be a client name.
    TokenIdentity = 20101, "token_identity", "Invalid access token";
    /// `exp` is past or absent.
    TokenExpired = 20104, "token_expired", "Access token expired or expiration date invalid";
    /// It would live longer than tokens may.
    TokenTooLongLived = 31207, "token_too_long_lived", "Access token expiration too long";
    /// The account is suspended; said only to bearers of a good signature.
    AccountSuspended = 31203, "account_suspended", "No valid account";
    /// A request on a session that has shown no good token.
    NotListening = 31204, "not_listening", "No valid access token was given on this connection";
    /// A request on a session whose token has expired since.
    SessionExpired = 31205, "session_expired", "Access token expired";

    // Grants.
    /// The token does not allow to receive calls.
    NoIncomingGrant = 31201, "no_incoming_grant", "The token does not allow incoming calls";
    /// The token does not allow to place calls.
    NoOutgoingGrant = 31201, "no_outgoing_grant", "The token does not allow outgoing calls";
    /// The destination matches none of the grant's patterns.
    DestinationNotGranted = 31201, "destination_not_granted", "The token does not allow this destination";
    /// The grant excludes every medium of the offer.
    MediumNotGranted = 31201, "medium_not_granted", "The token does not allow this medium";
    /// It is not one of the grant's hours.
    HourNotGranted = 31201, "hour_not_granted", "The token does not allow calls at this hour";
    /// The grant does not name this region.
    RegionNotGranted = 31201, "region_not_granted", "The token does not allow calls in this region";
    /// As many calls as the grant or the configuration allows.
    TooManyCalls = 31206, "too_many_calls", "As many calls as allowed are in progress";

    // Requests.
    /// Not the JSON of the vocabulary.
    MessageMalformed = 31100, "message_malformed", "The request had malformed syntax";
    /// An invite without `To`.
    DestinationMissing = 31101, "destination_missing", "The call has no To parameter";
    /// Custom parameters, SDP or token are longer than allowed.
    ParameterTooLong = 31103, "parameter_too_long", "Maximum parameter length has been exceeded";
    /// `To` is not a possible client name, address or number.
    DestinationMalformed = 31105, "destination_malformed", "The destination is not a valid client name, address or number";
    /// A kind of destination that this node does not serve.
    DestinationKindUnserved = 31404, "destination_kind_unserved", "This kind of destination is not served here";
    /// Frames faster than allowed.
    FramesTooFast = 31206, "frames_too_fast", "Rate exceeded authorized limit";
    /// More sessions of one identity than allowed.
    TooManySessions = 31206, "too_many_sessions", "As many connections as allowed are open";
    /// A text message to the other party is too long.
    ContentTooLarge = 31212, "content_too_large", "Call Message Event Payload size exceeded authorized limit";
    /// The request names a call that is not, or no longer, the session's.
    CallUnknown = 31404, "call_unknown", "The call does not exist";
    /// Digits could not be sent: the other party takes no telephone events, or nobody knows whether they were sent.
    DigitsUnsent = 31400, "digits_unsent", "The digits could not be sent to the other party";
    /// The other party's socket is lost.
    OtherPartyAway = 31480, "other_party_away", "The other party is reconnecting";
    /// The call is not in a state for this request.
    CallState = 31400, "call_state", "The call is not in a state for this request";

    // SDP.
    /// Not an SDP, or no audio in it.
    SdpMalformed = 31100, "sdp_malformed", "The session description is malformed";
    /// No SHA-256 fingerprint, no ICE credentials, no RTCP multiplexing, no common codec.
    MediaUnacceptable = 53405, "media_unacceptable", "Media connection failed: the session description cannot be served";

    // Sealed tokens.
    /// It does not open under our key, or has expired.
    BridgeTokenInvalid = 31104, "bridge_token_invalid", "Invalid bridge token";
    /// It was sealed for another identity.
    BridgeTokenForeign = 31209, "bridge_token_foreign", "Reconnect attempt is not authorized";
    /// The call is held by another node.
    BridgeTokenOtherNode = 31480, "bridge_token_other_node", "The call is held by another node";

    // Ends of calls.
    /// No instance of the callee is registered.
    CalleeNotRegistered = 31404, "callee_not_registered", "The client is not registered";
    /// Nobody answered in time, or all who rang were lost.
    NoAnswer = 31480, "no_answer", "Temporarily unavailable: nobody answered";
    /// All instances have as many calls as they may.
    CalleeBusy = 31486, "callee_busy", "Busy here";
    /// All instances declined.
    Declined = 31603, "declined", "The call was declined";
    /// Media of this leg failed, or the dataplane was lost.
    MediaFailed = 53405, "media_failed", "Media connection failed";
    /// There is no dataplane, or it takes no more legs.
    NoDataplane = 53405, "no_dataplane", "Media connection failed: no media server is available";
    /// This node holds as many calls or sessions as it may.
    Overloaded = 31206, "overloaded", "This server takes no more calls; try again later";
    /// The bridge is stopping.
    ShuttingDown = 53001, "shutting_down", "The server is shutting down";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        for (i, refusal) in Refusal::ALL.iter().enumerate() {
            assert!(Refusal::ALL[..i].iter().all(|r| r.name() != refusal.name()), "{}", refusal.name());
        }
    }

    #[test]
    fn a_forger_cannot_tell_the_checks_apart() {
        use Refusal::*;
        for refusal in [TokenAlgorithm, TokenHeader, TokenIssuer, TokenSignature, KeyRevoked, TokenAccount] {
            assert_eq!((refusal.code(), refusal.message()), (TokenMalformed.code(), TokenMalformed.message()));
        }
    }
}
