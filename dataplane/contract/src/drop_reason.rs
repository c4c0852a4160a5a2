//! Why a packet may leave the path without being sent. One reason, one counter, one metric.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// A packet leaves the path only by being sent or by one of these. The name is the metric's `reason` label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant,)+ }

        impl DropReason {
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];
            pub const COUNT: usize = Self::ALL.len();

            /// Label in `/metrics`; stable.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)+ }
            }

            /// One line for the documentation of the metric.
            pub const fn explanation(self) -> &'static str {
                match self { $(DropReason::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

reasons! {
    /// First byte belongs to none of STUN, DTLS, RTP, RTCP (RFC 7983).
    Unclassified => "unclassified",
    /// Longer than a buffer; the kernel cut it.
    Truncated => "truncated",
    /// Media or DTLS from an address that no ICE check has validated.
    UnknownSource => "unknown_source",
    /// STUN message that breaks RFC 8489 syntax.
    StunMalformed => "stun_malformed",
    /// STUN check for a username fragment that no leg has.
    StunUnknownUser => "stun_unknown_user",
    /// STUN check whose integrity or fingerprint is wrong.
    StunUnauthentic => "stun_unauthentic",
    /// STUN message of a kind we neither serve nor await.
    StunUnexpected => "stun_unexpected",
    /// STUN check from an address that another leg lives on, or that finds no room.
    AddressTaken => "address_taken",
    /// DTLS datagram while the link to the lobby is full, or over the bound of one peer.
    DtlsOverflow => "dtls_overflow",
    /// DTLS for a leg whose description or handshake is not there.
    DtlsUnexpected => "dtls_unexpected",
    /// RTP that breaks RFC 3550 §5.1.
    RtpMalformed => "rtp_malformed",
    /// RTCP that breaks RFC 3550 §6.
    RtcpMalformed => "rtcp_malformed",
    /// SRTP or SRTCP before keys exist.
    NoKeys => "no_keys",
    /// Authentication tag is wrong.
    SrtpUnauthentic => "srtp_unauthentic",
    /// Index was seen before or is older than the replay window (RFC 3711 §3.3.2).
    SrtpReplayed => "srtp_replayed",
    /// Packet too short for its suite.
    SrtpMalformed => "srtp_malformed",
    /// More packets were protected under one key than its suite allows (RFC 3711 §9.2).
    SrtpExhausted => "srtp_exhausted",
    /// A payload type that the leg's description does not name.
    PayloadTypeUnknown => "payload_type_unknown",
    /// A payload type that the other leg's peer did not agree to.
    PayloadTypeUnmapped => "payload_type_unmapped",
    /// The leg is in no bridge, or has no sinks.
    Unbridged => "unbridged",
    /// The leg may not receive, or the other may not send: hold.
    DirectionForbids => "direction_forbids",
    /// The other leg has no validated pair or no keys yet.
    OtherLegNotReady => "other_leg_not_ready",
    /// The other leg's consent expired (RFC 7675).
    ConsentExpired => "consent_expired",
    /// No buffer or send slot was free.
    SendExhausted => "send_exhausted",
    /// The kernel refused the datagram.
    SendFailed => "send_failed",
    /// Too late to have a place in the outgoing stream, or the first sign of a jump that the next packet may confirm.
    OutOfSequence => "out_of_sequence",
    /// The leg or its worker failed while the packet was in work.
    LegFailed => "leg_failed",
    /// Came to a leg's port from where the leg does not listen to: no description yet, another family, or strict source.
    SourceNotLearned => "source_not_learned",
    /// Came from a port of ours.
    OwnAddress => "own_address",
    /// Control blocked the media of this leg, or silenced it and its codec has no silence.
    MediaBlocked => "media_blocked",
    /// Control blocked the digits of this leg.
    DigitsBlocked => "digits_blocked",
    /// Came to a port that no leg has, or has any more.
    PortUnknown => "port_unknown",
    /// A further SSRC towards an SRTP leg, while all that its key keeps count of were heard lately.
    TooManyStreams => "too_many_streams",
    /// Towards an address that was signaled, never spoke, and has had its share.
    PeerNeverSpoke => "peer_never_spoke",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_indices_dense() {
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
            assert!(DropReason::ALL[..i].iter().all(|r| r.name() != reason.name()));
        }
    }
}
