"""Where the replies of `crosspoint rtpengine` differ from rtpengine 10.5.3.5, and why.

Each row: a pattern for the sequences it is about, a pattern for the lines of the comparison (`STEP - what rtpengine says`,
`STEP + what we say`), and the reason. A row that explains nothing any more fails.
"""

import re
from dataclasses import dataclass


@dataclass
class Row:
    sequences: str
    lines: str
    reason: str


class Differences:
    def __init__(self, *rows):
        self.rows = rows
        self.used = set()

    def unexplained(self, name, found):
        """The lines that no row explains."""
        rows = [(index, row) for index, row in enumerate(self.rows) if re.fullmatch(row.sequences, name)]
        lines = []
        for line in found:
            by = [index for index, row in rows if re.search(row.lines, line)]
            self.used.update(by)
            if not by:
                lines.append(line)
        return lines

    def stale(self):
        """The rows that have explained nothing."""
        return [row for index, row in enumerate(self.rows) if index not in self.used]


ANY = r".*"

DIFFERENCES = Differences(
    Row(
        ANY,
        r"- /sdp\[\]: a=crypto:T (F8_128|NULL|AES_192|AES_256_CM_HMAC_SHA1_32)",
        "Suites without encryption, the obsolete F8 and the rare 192-bit ones are not offered.",
    ),
    Row(
        r"(?!ICE-lite (off|both)).*",
        r"\+ /sdp\[\]: a=ice-lite",
        "We are the lite side of ICE and say so (RFC 8445 §2.5), unless the party is lite or the request says otherwise.",
    ),
    Row(
        r"ICE optional, .*",
        r"[-+] /sdp\[\]: a=candidate:F16 \d UDP (429496729[45]|209715225[45]) ::1 Q(\+1)? typ host$",
        "rtpengine's preference of a second address runs under zero, and comes out as the highest there is.",
    ),
    Row(
        r"ICE comes with a new offer",
        r"3 - /sdp\[\]: a=candidate:F16 \d UDP \d+ ::1 Q(\+1)? typ host$",
        "A leg that is in use keeps the ports that it has: ICE that comes later offers one family.",
    ),
    Row(
        r"ICE restart by the callee",
        r"4 [-+] /tags/[ft]/medias\[\]/flags\[\]: ICE controlling$",
        "Roles outlive a restart (RFC 8445 §9).",
    ),
    Row(
        r"ICE rejected of .*",
        r"2 \+ /tags/t/medias\[\]/(streams\[\]/)?flags\[\]: ICE$",
        "Told so with an answer, rtpengine rejects the ICE that it has asked for; we reject what is offered.",
    ),
    Row(
        r"fragment(s of both sides| before its offer| of other credentials)",
        r"\d [-+] /tags/[ft]/medias\[\]/streams\[\]/advertised endpoint.*$",
        "rtpengine forgets what a party advertised when it trickles a fragment.",
    ),
    Row(
        r"fragment before its answer",
        r"2 [-+] /sdp\[\]: (m=audio P RTP/AVP .*|a=(rtpmap|fmtp):(8|101) .*)$"
        r"|3 [-+] /tags/t/medias\[\]/.*$",
        "rtpengine takes a fragment that overtakes its answer for the answer; here it waits.",
    ),
    # ---- figures: what is in use, rather than what was offered --------------------------------------------------------
    Row(
        r"(?!.* to RTP/S).*(dtls|webrtc|WebRTC|UDP/TLS|DTLS|OSRTP|osrtp).*",
        r"- /tags/[ft]/medias\[\]/(flags\[\]: SDES|streams\[\]/crypto suite: (AEAD_AES_256_GCM|AES_CM_128_HMAC_SHA1_80))$",
        "rtpengine goes on naming SDES and the first suite that it offered although DTLS, or nothing, was chosen.",
    ),
    Row(
        r"SDES off from (plain|SRTP)",
        r"- /tags/t/medias\[\]/flags\[\]: SDES$",
        "rtpengine names SDES although it was told not to offer it, and has no keys.",
    ),
    Row(
        r"a(-avpf|-dtls|-webrtc)? to RTP/SAVPF?|SDES .* from plain|SDES answered by the second suite",
        r"\+ /tags/t/medias\[\]/streams\[\]/crypto suite: AES_CM_128_HMAC_SHA1_(80|32)$",
        "The answer names a suite of ours by another tag than we offered it with. We go by the suite; rtpengine is left "
        "without keys, and relays nothing to the callee.",
    ),
    Row(
        r"ICE (remove|default), .* and b-(ice|webrtc)|ICE comes with a new offer|.* to UDP/TLS/RTP/SAVPF",
        r"- /tags/t/medias\[\]/(streams\[\]/)?flags\[\]: ICE$",
        "The callee answers with ICE which it was not offered. Without credentials of ours there can be no checks, so we "
        "do not name it.",
    ),
    Row(
        r"DTLS (off|no) from plain",
        r"- /tags/t/medias\[\]/flags\[\]: DTLS(-SRTP| role passive)$",
        "The callee answers with DTLS which it was not offered: it cannot know our fingerprint.",
    ),
    # ---- what needs transcoding ---------------------------------------------------------------------------------------
    Row(
        r"flag (always transcode|single codec|inject DTMF|codec-mask-PCMA)|codec (mask one|accept)|key ptime(-reverse)?",
        r"- /tags/[ft]/medias\[\]/flags\[\]: transcoding$",
        "Nothing is transcoded.",
    ),
    Row(
        r"flag always transcode",
        r"1 (- /sdp\[\]: m=audio P RTP/AVP 8 101|\+ /sdp\[\]: (m=audio P RTP/AVP 8 0 101|a=rtpmap:0 PCMU/8000))$",
        "rtpengine answers with the one format that it transcodes to; here both remain the caller's choice.",
    ),
    Row(
        r"codec mask one|flag codec-mask-PCMA",
        r"1 (- /sdp\[\]: m=audio P RTP/AVP 96|\+ /sdp\[\]: (m=audio P RTP/AVP 96 101|a=(rtpmap|fmtp):101 .*))$",
        "A codec that is transcoded has no events of its own; one that is passed on has.",
    ),
    Row(
        r"codec accept",
        r"1 (- /sdp\[\]: m=audio P RTP/AVP 8 101|\+ /sdp\[\]: (m=audio P RTP/AVP 96 8 101|a=(rtpmap|fmtp):96 .*))$",
        "`accept` is about transcoding: rtpengine takes the format out of the others' list to transcode it.",
    ),
    # ---- SDES ---------------------------------------------------------------------------------------------------------
    Row(
        r"SDES only-.*",
        r"0 (- /sdp\[\]: a=crypto:(1|T) A\S+ inline:KEY\d+|\+ /sdp\[\]: a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEY40)$",
        "`only-SUITE` came after rtpengine 10.5.3, which offers all suites.",
    ),
    Row(
        r"SDES nonew from SRTP",
        r"0 - /sdp\[\]: a=crypto:T A\S+ inline:KEY\d+$",
        "`nonew` came after rtpengine 10.5.3, which adds all suites.",
    ),
    Row(
        r"SDES unencrypted_srtp from (plain|SRTP)",
        r"0 (- /sdp\[\]: a=crypto:(1|T) \S+ inline:KEY\d+ UNENCRYPTED_SRTP|\+ /sdp\[\]: a=crypto:(1|T) \S+ inline:KEY\d+)$",
        "SRTP without encryption is not offered, whoever asks for it.",
    ),
    Row(
        r"OSRTP accept of an OSRTP offer",
        r"(1 \+ /sdp\[\]: a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEY40"
        r"|2 \+ /tags/f/medias\[\]/(flags\[\]: SDES|streams\[\]/crypto suite: AES_CM_128_HMAC_SHA1_80))$",
        "Told to accept, we do so although the callee does not (RFC 8643 §3.1); rtpengine wants to be told again with the "
        "answer.",
    ),
    # ---- ICE beside the parties' own ----------------------------------------------------------------------------------
    Row(
        r"ICE (force-relay|optional), .*",
        r"2 [-+] /tags/[ft]/medias\[\]/(streams\[\]/)?flags\[\]: "
        r"(passthrough|ICE|ICE controlling|DTLS-SRTP|DTLS role (active|passive))$",
        "rtpengine passes what it does not understand from party to party; we answer checks in the other party's name, and "
        "packets as on any leg.",
    ),
    Row(
        r"ICE force-relay, a-webrtc and b-webrtc",
        r"1 - /sdp\[\]: a=rtcp:Q$",
        "rtpengine tells a port of ours for RTCP beside the callee's own port for RTP, which multiplexes.",
    ),
    Row(
        r"replace SDP version",
        r"[01] [-+] /sdp\[\]: o=- 1545997027 (VERSION|0) IN IP4 127.0.0.1$",
        "rtpengine begins with the time of day; we go on from the version that the receiver would have seen.",
    ),
    # ---- bodies -------------------------------------------------------------------------------------------------------
    Row(
        r"body a-media-level, b|replace origin and session connection",
        r"0 (- /(error-reason: Error rewriting SDP|result: error)|\+ /result: ok|\+ /sdp\[\]: .*)$",
        "rtpengine fails on `c=` behind attributes; we rewrite it where it stands.",
    ),
    Row(
        r"body a-bfcp, b-bfcp",
        r"2 - /tags/t/medias\[\]/flags\[\]: DTLS role passive$",
        "rtpengine names a role in a handshake that no relay takes part in.",
    ),
    Row(
        r"body a-port-zero, b",
        r"2 \+ /tags/t/medias\[\]/streams\[\]/(family|local address|local port): .*$",
        "An answer with a port where the offer had none: we have ports for both sides, rtpengine for one.",
    ),
    Row(
        r"body no-media",
        r"1 (\+ /warning: str|- /.*)$",
        "A refused offer leaves no call behind.",
    ),
    # ---- spellings ----------------------------------------------------------------------------------------------------
    Row(
        r"rtpp-flags with nesting",
        r"[01] [-+] /sdp\[\]: (m=audio P RTP/AVP 8( 0)? 101|a=rtpmap:0 PCMU/8000|a=rtcp-mux)$",
        "`rtpp-flags` came after rtpengine 10.5.3, which ignores it; newer proxies send it.",
    ),
)
