"""Request sequences for the comparison with rtpengine: what proxies ask for, option by option.

A sequence is a list of steps (command, options). `SDP[name]` are bodies as SIP agents and browsers write them, addressed
to loopback, with ports that nobody listens on.
"""

import itertools

_FINGERPRINT = "F4:1A:" * 15 + "7B:0C"
_KEY = "YUJDZGVmZ2hpSktsbW9QUXJzdHVWd1h5ejEyMzQ1"
_GCM_KEY = "YUJDZGVmZ2hpSktsbW9QUXJzdHVWd1h5ejEyMw=="


def _session(*media, version=0, name="-", connection="127.0.0.1", more=()):
    family = "IP6" if ":" in connection else "IP4"
    lines = [
        "v=0",
        f"o=- 1545997027 {version} IN {family} {connection}",
        f"s={name}",
        f"c=IN {family} {connection}",
        "t=0 0",
        *more,
    ]
    return "\r\n".join([*lines, *itertools.chain.from_iterable(media)]) + "\r\n"


def _audio(port, protocol="RTP/AVP", formats=(8, 0, 101), more=()):
    names = {
        0: ["a=rtpmap:0 PCMU/8000"],
        8: ["a=rtpmap:8 PCMA/8000"],
        9: ["a=rtpmap:9 G722/8000"],
        18: ["a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no"],
        96: ["a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1"],
        101: ["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15"],
    }
    described = [line for form in formats for line in names.get(form, [])]
    return [f"m=audio {port} {protocol} {' '.join(map(str, formats))}", *described, *more]


def _video(port, protocol="RTP/AVP", more=()):
    return [
        f"m=video {port} {protocol} 97 98",
        "a=rtpmap:97 VP8/90000",
        "a=rtcp-fb:97 nack pli",
        "a=rtpmap:98 H264/90000",
        "a=fmtp:98 profile-level-id=42e01f;packetization-mode=1",
        *more,
    ]


def _webrtc(port, setup, ufrag, more=()):
    return [
        "a=rtcp-mux",
        f"a=ice-ufrag:{ufrag}",
        "a=ice-pwd:" + "p" * 22 + "wd",
        f"a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host",
        f"a=fingerprint:sha-256 {_FINGERPRINT}",
        f"a=setup:{setup}",
        *more,
    ]


_CRYPTO = [f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{_KEY}"]
_CRYPTO_32 = [f"a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{_KEY}"]
_CRYPTO_GCM = [f"a=crypto:3 AEAD_AES_128_GCM inline:{_GCM_KEY}"]

SDP = {
    "a": _session(_audio(2000)),
    "b": _session(_audio(3000)),
    "a-again": _session(_audio(2000), version=1),
    "a-moved": _session(_audio(2010), version=1),
    "b-moved": _session(_audio(3010), version=1),
    "a-one": _session(_audio(2000, formats=(8,))),
    "b-one": _session(_audio(3000, formats=(8,))),
    "a-codecs": _session(_audio(2000, formats=(96, 9, 8, 0, 18, 101))),
    "b-codecs": _session(_audio(3000, formats=(96, 8, 101))),
    "a-static": _session(["m=audio 2000 RTP/AVP 0 8 18"]),
    "a-ptime": _session(_audio(2000, more=["a=ptime:30", "a=maxptime:60"])),
    "b-ptime": _session(_audio(3000, more=["a=ptime:30"])),
    "a-video": _session(_audio(2000), _video(2002)),
    "b-video": _session(_audio(3000), _video(3002)),
    "b-no-video": _session(_audio(3000), _video(0)),
    "a-hold": _session(_audio(2000, more=["a=sendonly"]), version=1),
    "b-held": _session(_audio(3000, more=["a=recvonly"]), version=1),
    "a-inactive": _session(_audio(2000, more=["a=inactive"]), version=1),
    "b-inactive": _session(_audio(3000, more=["a=inactive"]), version=1),
    "a-hold-old": _session(_audio(2000), version=1, connection="0.0.0.0"),
    "a-session-level": _session(_audio(2000), more=["a=sendonly", "a=tool:phone", "b=AS:80"]),
    "a-media-level": _session(_audio(2000, more=["c=IN IP4 127.0.0.1", "b=AS:64", "a=label:7", "a=X-vendor:kept"])),
    "a-rtcp": _session(_audio(2000, more=["a=rtcp:2005"])),
    "a-mux": _session(_audio(2000, more=["a=rtcp-mux"])),
    "b-mux": _session(_audio(3000, more=["a=rtcp-mux"])),
    "a-avpf": _session(_audio(2000, "RTP/AVPF")),
    "b-avpf": _session(_audio(3000, "RTP/AVPF")),
    "a-savp": _session(_audio(2000, "RTP/SAVP", more=_CRYPTO)),
    "b-savp": _session(_audio(3000, "RTP/SAVP", more=_CRYPTO)),
    "b-savp-32": _session(_audio(3000, "RTP/SAVP", more=[_CRYPTO_32[0].replace(":1 ", ":2 ")])),
    "a-savp-gcm": _session(_audio(2000, "RTP/SAVP", more=_CRYPTO + _CRYPTO_GCM)),
    "a-savp-rekeyed": _session(_audio(2000, "RTP/SAVP", more=[_CRYPTO[0].replace("YUJD", "YUJE")]), version=1),
    "a-savpf": _session(_audio(2000, "RTP/SAVPF", more=_CRYPTO)),
    "a-osrtp": _session(_audio(2000, more=_CRYPTO)),
    "a-dtls": _session(_audio(2000, "UDP/TLS/RTP/SAVP", more=[f"a=fingerprint:sha-256 {_FINGERPRINT}", "a=setup:actpass"])),
    "b-dtls": _session(_audio(3000, "UDP/TLS/RTP/SAVP", more=[f"a=fingerprint:sha-256 {_FINGERPRINT}", "a=setup:active"])),
    "b-dtls-passive": _session(
        _audio(3000, "UDP/TLS/RTP/SAVP", more=[f"a=fingerprint:sha-1 {'AB:' * 19}CD", "a=setup:passive"])
    ),
    "a-webrtc": _session(
        _audio(2000, "UDP/TLS/RTP/SAVPF", (96, 8, 101), _webrtc(2000, "actpass", "abcd", ["a=mid:0", "a=ssrc:1234 cname:x"])),
        more=["a=group:BUNDLE 0", "a=msid-semantic: WMS *"],
    ),
    "b-webrtc": _session(
        _audio(3000, "UDP/TLS/RTP/SAVPF", (8, 101), _webrtc(3000, "active", "efgh", ["a=mid:0"])),
        more=["a=group:BUNDLE 0"],
    ),
    "a-webrtc-av": _session(
        _audio(2000, "UDP/TLS/RTP/SAVPF", (96, 8), _webrtc(2000, "actpass", "abcd", ["a=mid:0", "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"])),
        _video(2000, "UDP/TLS/RTP/SAVPF", _webrtc(2000, "actpass", "abcd", ["a=mid:1"])),
        more=["a=group:BUNDLE 0 1"],
    ),
    "b-webrtc-av": _session(
        _audio(3000, "UDP/TLS/RTP/SAVPF", (96,), _webrtc(3000, "active", "efgh", ["a=mid:0"])),
        _video(3000, "UDP/TLS/RTP/SAVPF", _webrtc(3000, "active", "efgh", ["a=mid:1"])),
        more=["a=group:BUNDLE 0 1"],
    ),
    "a-ice": _session(_audio(2000, more=["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 24, "a=candidate:1 1 UDP 2130706431 127.0.0.1 2000 typ host", "a=candidate:1 2 UDP 2130706430 127.0.0.1 2001 typ host"])),
    "b-ice": _session(_audio(3000, more=["a=ice-ufrag:efgh", "a=ice-pwd:" + "q" * 24, "a=candidate:1 1 UDP 2130706431 127.0.0.1 3000 typ host", "a=candidate:1 2 UDP 2130706430 127.0.0.1 3001 typ host"])),
    "a-ice-restart": _session(_audio(2000, more=["a=ice-ufrag:ijkl", "a=ice-pwd:" + "r" * 24, "a=candidate:1 1 UDP 2130706431 127.0.0.1 2000 typ host"]), version=1),
    "a-ice-lite": _session(_audio(2000, more=["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 24, "a=candidate:1 1 UDP 2130706431 127.0.0.1 2000 typ host"]), more=["a=ice-lite"]),
    "b-ice-lite": _session(_audio(3000, more=["a=ice-ufrag:efgh", "a=ice-pwd:" + "q" * 24, "a=candidate:1 1 UDP 2130706431 127.0.0.1 3000 typ host"]), more=["a=ice-lite"]),
    "b-ice-restart": _session(_audio(3000, more=["a=ice-ufrag:mnop", "a=ice-pwd:" + "s" * 24, "a=candidate:1 1 UDP 2130706431 127.0.0.1 3000 typ host"]), version=1),
    "a-ice-low": _session(_audio(2000, more=["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 24, "a=candidate:1 1 UDP 2100606431 127.0.0.1 2000 typ host"])),
    "a-ice-both-families": _session(_audio(2000, more=["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 24, "a=candidate:1 1 UDP 2130706431 127.0.0.1 2000 typ host", "a=candidate:2 1 UDP 2130706175 ::1 2000 typ host"])),
    "a-ice-v6": _session(_audio(2000, more=["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 24, "a=candidate:1 1 UDP 2130706431 ::1 2000 typ host"]), connection="::1"),
    "a-trickle": _session(_audio(2000, more=["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 24, "a=ice-options:trickle"])),
    "b-trickle": _session(_audio(3000, more=["a=ice-ufrag:efgh", "a=ice-pwd:" + "q" * 24, "a=ice-options:trickle"])),
    "a-fragment": "a=ice-ufrag:abcd\r\na=ice-pwd:" + "p" * 24 + "\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 UDP 2130706431 127.0.0.1 2000 typ host\r\n",
    "b-fragment": "a=ice-ufrag:efgh\r\na=ice-pwd:" + "q" * 24 + "\r\nm=audio 9 RTP/AVP 0\r\na=candidate:1 1 UDP 2130706431 127.0.0.1 3000 typ host\r\na=end-of-candidates\r\n",
    "fragment-without-media": "a=ice-ufrag:abcd\r\na=ice-pwd:" + "p" * 24 + "\r\n",
    "a-mid": _session(_audio(2000, more=["a=mid:left"])),
    "a-t38": _session(["m=image 2000 udptl t38", "a=T38FaxVersion:0", "a=T38MaxBitRate:14400"]),
    "b-t38": _session(["m=image 3000 udptl t38", "a=T38FaxVersion:0"]),
    "a-bfcp": _session(["m=application 2000 UDP/BFCP *", "a=floorctrl:c-s", "a=setup:actpass"]),
    "b-bfcp": _session(["m=application 3000 UDP/BFCP *", "a=floorctrl:s", "a=setup:active"]),
    "a-fax-beside": _session(_audio(0), ["m=image 2002 udptl t38", "a=T38FaxVersion:0"]),
    "b-fax-beside": _session(_audio(0), ["m=image 3002 udptl t38", "a=T38FaxVersion:0"]),
    "b-t38-refused": _session(["m=image 0 udptl t38"]),
    "a-v6": _session(_audio(2000), connection="::1"),
    "b-v6": _session(_audio(3000), connection="::1"),
    "a-port-zero": _session(_audio(0)),
    "a-unknown-protocol": _session(["m=message 2000 TCP/MSRP *", "a=path:msrp://127.0.0.1:2000/x;tcp"]),
    "a-bare-lines": _session(_audio(2000)).replace("\r\n", "\n"),
    "broken-no-media-port": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio\r\n",
    "broken-text": "this is no session description\r\n",
    "no-media": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n",
    "no-connection": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 2000 RTP/AVP 8\r\n",
}


def offer(body="a", **options):
    return ("offer", {"call_id": "c", "from_tag": "f", "sdp": SDP[body], **options})


def answer(body="b", **options):
    return ("answer", {"call_id": "c", "from_tag": "f", "to_tag": "t", "sdp": SDP[body], **options})


def delete(**options):
    return ("delete", {"call_id": "c", "from_tag": "f", "delete_delay": 0, **options})


def call(offered="a", answered="b", of_offer=None, of_answer=None):
    return [offer(offered, **(of_offer or {})), answer(answered, **(of_answer or {})), delete()]


def flags(*names):
    return {"flags": list(names)}


SEQUENCES = {}


def sequence(name, steps):
    assert name not in SEQUENCES, name
    SEQUENCES[name] = steps


def both(name, offered, answered, options):
    """The option on the offer and on the answer, as proxies give it."""
    sequence(name, call(offered, answered, options, options))


# ---- the plain life of a call ---------------------------------------------------------------------------------------

sequence("plain call", call())
sequence("ping", [("ping", {})])
sequence("query of an unknown call", [("query", {"call_id": "nobody"})])
sequence("delete of an unknown call", [("delete", {"call_id": "nobody", "from_tag": "f"})])
sequence("delete of an unknown call, fatal", [("delete", {"call_id": "nobody", "from_tag": "f", "flags": ["fatal"]})])
sequence("list without calls", [("list", {})])
sequence("list of one call", [offer(), ("list", {}), delete()])
sequence("list with a limit as text", [offer(), ("list", {"limit": "1"}), delete()])
sequence("answer before any offer", [answer()])
sequence("offer without call-id", [("offer", {"from_tag": "f", "sdp": SDP["a"]})])
sequence("offer without from-tag", [("offer", {"call_id": "c", "sdp": SDP["a"]})])
sequence("offer without a body", [("offer", {"call_id": "c", "from_tag": "f"})])
sequence("answer without to-tag", [offer(), ("answer", {"call_id": "c", "from_tag": "f", "sdp": SDP["b"]}), delete()])
sequence("unknown command", [("juggle", {"call_id": "c"})])
sequence("delete without call-id", [("delete", {"from_tag": "f"})])
sequence("delete by a wrong from-tag", [offer(), answer(), ("delete", {"call_id": "c", "from_tag": "x", "delete_delay": 0}), delete()])
sequence("delete with both tags", [offer(), answer(), delete(to_tag="t")])
sequence("delete of an unanswered call by any to-tag", [offer(), delete(to_tag="x"), ("query", {"call_id": "c"})])
sequence("delete of forks by any to-tag", [offer(via_branch="v1"), offer(via_branch="v2"), delete(to_tag="x"), ("query", {"call_id": "c"}), delete()])
sequence("delete by to-tag alone", [offer(), answer(), ("delete", {"call_id": "c", "from_tag": "x", "to_tag": "f", "delete_delay": 0}), ("query", {"call_id": "c"})])
sequence("delete of a recorded call", [offer(), answer(), ("subscribe request", {"call_id": "c", "to_tag": "r", "from-tags": ["f", "t"]}), delete(), ("query", {"call_id": "c"})])
sequence("delete after a recorder left", [offer(), answer(), ("subscribe request", {"call_id": "c", "to_tag": "r", "from-tags": ["f", "t"]}), ("unsubscribe", {"call_id": "c", "to_tag": "r"}), delete(), ("query", {"call_id": "c"})])
sequence("query of a call", [offer(), answer(), ("query", {"call_id": "c"}), delete()])
sequence("query by tag", [offer(), answer(), ("query", {"call_id": "c", "from_tag": "f"}), delete()])
sequence("repeated offer", [offer(), offer(), answer(), delete()])
sequence("offer of the same again", [*call()[:2], offer("a-again"), answer(), delete()])
sequence("caller moves", [*call()[:2], offer("a-moved", to_tag="t"), answer(), delete()])
sequence(
    "callee offers anew",
    [
        *call()[:2],
        ("offer", {"call_id": "c", "from_tag": "t", "to_tag": "f", "sdp": SDP["b-moved"]}),
        ("answer", {"call_id": "c", "from_tag": "t", "to_tag": "f", "sdp": SDP["a-again"]}),
        delete(),
    ],
)
for hold, held in [("a-hold", "b-held"), ("a-inactive", "b-inactive"), ("a-hold-old", "b")]:
    sequence(f"hold by {hold} and resume", [*call()[:2], offer(hold, to_tag="t"), answer(held), offer("a-again", to_tag="t"), answer(), delete()])
sequence(
    "parallel forking by via-branch",
    [
        offer(via_branch="v1"),
        offer(via_branch="v2"),
        answer("b", via_branch="v1"),
        ("answer", {"call_id": "c", "from_tag": "f", "to_tag": "t2", "via_branch": "v2", "sdp": SDP["b-moved"]}),
        delete(via_branch="v1"),
        delete(),
    ],
)
sequence("early answer and final answer", [offer(), answer(), answer(), delete()])
sequence("two answers of two callees", [offer(), answer(), ("answer", {"call_id": "c", "from_tag": "f", "to_tag": "t2", "sdp": SDP["b-moved"]}), delete()])

# ---- bodies ---------------------------------------------------------------------------------------------------------

for offered, answered in [
    ("a-one", "b-one"), ("a-codecs", "b-codecs"), ("a-static", "b"), ("a-ptime", "b-ptime"), ("a-video", "b-video"),
    ("a-video", "b-no-video"), ("a-session-level", "b"), ("a-media-level", "b"), ("a-rtcp", "b"), ("a-mux", "b-mux"),
    ("a-mux", "b"), ("a-avpf", "b-avpf"), ("a-savp", "b-savp"), ("a-savp-gcm", "b-savp"), ("a-savpf", "b-savp"),
    ("a-osrtp", "b"), ("a-dtls", "b-dtls"), ("a-dtls", "b-dtls-passive"), ("a-webrtc", "b-webrtc"),
    ("a-webrtc-av", "b-webrtc-av"), ("a-ice", "b-ice"), ("a-ice", "b"), ("a-ice-lite", "b-ice"), ("a-mid", "b"),
    ("a-t38", "b-t38"), ("a-t38", "b-t38-refused"), ("a-bfcp", "b-bfcp"), ("a-port-zero", "b"), ("a-unknown-protocol", "b"), ("a-bare-lines", "b"), ("a-hold", "b-held"),
]:
    sequence(f"body {offered}, {answered}", call(offered, answered))
for body in ["broken-no-media-port", "broken-text", "no-media", "no-connection"]:
    sequence(f"body {body}", [offer(body), delete()])
for fax in ["t38", "fax-beside"]:
    steps = [*call()[:2], offer(f"a-{fax}", to_tag="t"), answer(f"b-{fax}"), offer("a-again", to_tag="t"), answer(), delete()]
    sequence(f"speech, {fax} and speech again", steps)
for name, options in [
    ("as SRTP", {"transport_protocol": "RTP/SAVP"}), ("with ICE", {"ICE": "force"}), ("with mids", flags("generate mid")),
    ("with rtcp-mux", {"rtcp_mux": ["offer", "require"]}),
]:
    both(f"fax {name}", "a-t38", "b-t38", options)
sequence("ICE restart", [*call("a-ice", "b-ice")[:2], offer("a-ice-restart", to_tag="t"), answer("b-ice"), delete()])
sequence("SDES with a new key", [*call("a-savp", "b-savp")[:2], offer("a-savp-rekeyed", to_tag="t"), answer("b-savp"), delete()])

# ---- options without a value ----------------------------------------------------------------------------------------

for flag in [
    "trust address", "asymmetric", "symmetric", "strict source", "media handover", "port latching", "no port latching",
    "reset", "generate mid", "original sendrecv", "no rtcp attribute", "full rtcp attribute", "record call",
    "loop protect", "always transcode", "single codec", "allow transcoding", "inject DTMF", "detect DTMF",
    "generate RTCP", "debug", "SIP source address", "strip extmap", "pad crypto", "trickle ICE", "unidirectional",
    "no-such-flag", "trust-address", "strict-source", "media-handover", "port-latching",
]:
    both(f"flag {flag}", "a", "b", flags(flag))
for flag in ["generate mid", "no rtcp attribute", "strip extmap", "original sendrecv", "trust address", "trickle ICE"]:
    both(f"flag {flag}, with WebRTC", "a-webrtc", "b-webrtc", flags(flag))
for replace in ["origin", "session connection", "SDP version", "username", "session name", "zero address"]:
    both(f"replace {replace}", "a", "b", {"replace": [replace]})
both("replace origin and session connection", "a-media-level", "b", {"replace": ["origin", "session-connection"]})

# ---- transports -----------------------------------------------------------------------------------------------------

PROTOCOLS = ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"]
ANSWERED_BY = {
    "RTP/AVP": "b", "RTP/AVPF": "b-avpf", "RTP/SAVP": "b-savp", "RTP/SAVPF": "b-savp", "UDP/TLS/RTP/SAVP": "b-dtls",
    "UDP/TLS/RTP/SAVPF": "b-webrtc",
}
for offered in ["a", "a-avpf", "a-savp", "a-savpf", "a-dtls", "a-webrtc"]:
    for protocol in PROTOCOLS:
        sequence(f"{offered} to {protocol}", call(offered, ANSWERED_BY[protocol], {"transport-protocol": protocol}))
for osrtp in ["offer", "accept"]:
    sequence(f"OSRTP {osrtp}", call("a", "b", {"OSRTP": [osrtp]}))
    sequence(f"OSRTP {osrtp} of an OSRTP offer", call("a-osrtp", "b", {"OSRTP": [osrtp]}))
sequence("transport accepted as offered", call("a-savp", "b", {"transport-protocol": "RTP/AVP", "flags": ["loop protect"]}))

# ---- SDES -----------------------------------------------------------------------------------------------------------

for policy in ["off", "no-AES_CM_128_HMAC_SHA1_32", "only-AES_CM_128_HMAC_SHA1_80", "unencrypted_srtp", "pad", "nonew", "prefer"]:
    sequence(f"SDES {policy} from plain", call("a", "b-savp", {"SDES": [policy], "transport-protocol": "RTP/SAVP"}))
    sequence(f"SDES {policy} from SRTP", call("a-savp-gcm", "b-savp", {"SDES": [policy], "transport-protocol": "RTP/SAVP"}))
sequence("SDES answered by the second suite", call("a", "b-savp-32", {"transport-protocol": "RTP/SAVP"}))

# ---- DTLS -----------------------------------------------------------------------------------------------------------

for role in ["passive", "active", "off", "no"]:
    sequence(f"DTLS {role} from plain", call("a", "b-dtls", {"DTLS": role, "transport-protocol": "UDP/TLS/RTP/SAVP"}))
    sequence(f"DTLS {role} to plain", call("a-dtls", "b", {"DTLS": role, "transport-protocol": "RTP/AVP"}, {"DTLS": role}))
for hash_function in ["sha-1", "sha-256", "sha-384", "sha-512"]:
    sequence(f"DTLS fingerprint by {hash_function}", call("a", "b-dtls", {"DTLS-fingerprint": hash_function, "transport-protocol": "UDP/TLS/RTP/SAVP"}))

# ---- ICE ------------------------------------------------------------------------------------------------------------

for ice in ["remove", "force", "force-relay", "default", "optional"]:
    for offered, answered in [("a", "b"), ("a", "b-ice"), ("a-ice", "b-ice"), ("a-ice", "b"), ("a-webrtc", "b-webrtc")]:
        both(f"ICE {ice}, {offered} and {answered}", offered, answered, {"ICE": ice})
for lite in ["forward", "backward", "both", "off"]:
    for offered, answered in [("a-ice", "b-ice"), ("a-ice-lite", "b-ice"), ("a-ice", "b-ice-lite"), ("a", "b")]:
        both(f"ICE-lite {lite}, {offered} and {answered}", offered, answered, {"ICE-lite": lite})
    steps = [*call("a-ice", "b-ice", {"ICE-lite": lite})[:2], offer("a-ice", to_tag="t"), answer("b-ice"), delete()]
    sequence(f"ICE-lite {lite}, said once", steps)
sequence("ICE-lite off, forced", call("a", "b-ice", {"ICE": "force", "ICE-lite": "off"}, {"ICE": "remove"}))
for offered, answered in [("a-ice-lite", "b-ice-lite"), ("a-ice", "b-ice-lite"), ("a-ice-v6", "b-ice"), ("a-ice-both-families", "b-ice")]:
    sequence(f"ICE of {offered} and {answered}", call(offered, answered))
    sequence(f"ICE of {offered}, in IPv6 to {answered}", call(offered, answered, {"address-family": "IP6"}))
    sequence(f"ICE rejected of {offered}, {answered}", call(offered, answered, flags("reject ICE"), flags("reject ICE")))
for ice in ["optional", "force-relay"]:
    sequence(f"ICE {ice}, a-ice-low and b-ice", call("a-ice-low", "b-ice", {"ICE": ice}, {"ICE": ice}))
sequence("ICE restart by the callee", [*call("a-ice", "b-ice")[:2], ("offer", {"call_id": "c", "from_tag": "t", "to_tag": "f", "sdp": SDP["b-ice-restart"]}), ("answer", {"call_id": "c", "from_tag": "t", "to_tag": "f", "sdp": SDP["a-ice"]}), delete()])
sequence("ICE restart of a full agent", [*call("a-ice", "b-ice", {"ICE-lite": "off"})[:2], offer("a-ice-restart", to_tag="t"), answer("b-ice-restart"), delete()])
sequence("ICE goes with a new offer", [*call("a-ice", "b-ice")[:2], offer("a-again", to_tag="t"), answer("b"), delete()])
sequence("ICE comes with a new offer", [*call()[:2], offer("a-ice", to_tag="t"), answer("b-ice"), delete()])

# ---- trickled candidates --------------------------------------------------------------------------------------------

for flag in [flags(), flags("trickle ICE")]:
    said = "told" if flag["flags"] else "untold"
    for offered, answered in [("a-trickle", "b-trickle"), ("a-trickle", "b-ice"), ("a-ice", "b-trickle"), ("a-trickle", "b")]:
        both(f"trickle {said}, {offered} and {answered}", offered, answered, flag)
_FRAGMENT, _TRICKLED = flags("fragment"), flags("fragment", "trickle ICE")
sequence("fragments of both sides", [offer("a-trickle"), offer("a-fragment", **_FRAGMENT), answer("b-trickle"), answer("b-fragment", **_TRICKLED), delete()])
sequence("fragment before its offer", [offer("a-fragment", **_TRICKLED), offer("a-trickle"), answer("b-ice"), delete()])
sequence("fragment before its answer", [offer("a-ice"), answer("b-fragment", **_FRAGMENT), answer("b-trickle"), delete()])
sequence("fragment of an answer without a call", [answer("b-fragment", **_FRAGMENT)])
sequence("fragment of other credentials", [offer("a-trickle"), answer("b-trickle"), offer("b-fragment", **_FRAGMENT), delete()])
sequence("fragment without media", [offer("a-trickle"), offer("fragment-without-media", **_FRAGMENT), delete()])
sequence("fragment that is none", [offer("a-trickle"), offer("broken-text", **_FRAGMENT), delete()])
sequence("fragment without a body", [offer("a-trickle"), ("offer", {"call_id": "c", "from_tag": "f", **_FRAGMENT}), delete()])
sequence("fragment once the call is over", [*call("a-trickle", "b-trickle"), answer("b-fragment", **_FRAGMENT)])

# ---- RTCP mux -------------------------------------------------------------------------------------------------------

for mux in ["offer", "require", "demux", "accept", "reject"]:
    for offered, answered in [("a", "b"), ("a", "b-mux"), ("a-mux", "b"), ("a-mux", "b-mux")]:
        sequence(f"rtcp-mux {mux}, {offered} and {answered}", call(offered, answered, {"rtcp-mux": [mux]}))
sequence("rtcp-mux offer and require", call("a", "b-mux", {"rtcp-mux": ["offer", "require"]}))
for name, options in {"": {}, ", demux": {"rtcp-mux": ["demux"]}, ", reject": {"rtcp-mux": ["reject"]}}.items():
    steps = [*call("a-mux", "b-mux")[:2], offer("a", to_tag="t", **options), answer("b-mux"), offer("a", to_tag="t"), answer(), offer("a", to_tag="t")]
    sequence(f"rtcp-mux agreed on and offered again without{name}", [*steps, answer(), delete()])

# ---- codecs ---------------------------------------------------------------------------------------------------------

for name, codec in {
    "strip one": {"strip": ["PCMU"]},
    "strip several": {"strip": ["opus", "G729"]},
    "strip all but one": {"strip": ["all"], "offer": ["PCMA"]},
    "strip all except": {"strip": ["all"], "except": ["PCMA", "telephone-event"]},
    "mask one": {"mask": ["PCMA"]},
    "offer order": {"strip": ["all"], "offer": ["PCMU", "PCMA"]},
    "except alone": {"except": ["PCMA"]},
    "accept": {"accept": ["PCMA"]},
    "strip unknown": {"strip": ["SILK"]},
    "strip with a clock rate": {"strip": ["opus/48000/2"]},
}.items():
    sequence(f"codec {name}", call("a-codecs", "b-codecs", {"codec": codec}))
for flag in ["codec-strip-PCMU", "codec-mask-PCMA", "codec-except-PCMA", "codec-offer-PCMU"]:
    sequence(f"flag {flag}", call("a-codecs", "b-codecs", flags(flag)))
sequence("strip to nothing", call("a-one", "b-one", {"codec": {"strip": ["PCMA"]}}))

# ---- addresses and interfaces ---------------------------------------------------------------------------------------

both("direction pair", "a", "b", {"direction": ["left", "right"]})
both("direction pair reversed", "a", "b", {"direction": ["right", "left"]})
both("direction unknown", "a", "b", {"direction": ["nowhere", "elsewhere"]})
both("interface by key", "a", "b", {"interface": "right"})
sequence("address family IP6", call("a", "b-v6", {"address-family": "IP6"}))
sequence("address family IP4", call("a-v6", "b", {"address-family": "IP4"}))
sequence("IPv6 on both sides", call("a-v6", "b-v6"))
both("media address", "a", "b", {"media-address": "203.0.113.7"})
both("received from", "a", "b", {"received-from": ["IP4", "127.0.0.1"]})
both("received from, by flag", "a", "b", {"received-from": ["IP4", "127.0.0.1"], "flags": ["SIP source address"]})

# ---- further keys ---------------------------------------------------------------------------------------------------

for key, value in {
    "TOS": 184, "ptime": 40, "ptime-reverse": 40, "label": "left side", "xmlrpc-callback": "127.0.0.1",
    "metadata": "a=b", "endpoint-learning": "heuristic", "sip-message-type": "sip_request", "volume": 3,
    "no-such-key": "x", "delete-delay": 10, "DTLS-reverse": "passive", "record-call": "off", "template": "none",
}.items():
    both(f"key {key}", "a", "b", {key: value})
both("supports load limit", "a", "b", {"supports": ["load limit"]})
both("rtpp-flags of a proxy", "a", "b", {"rtpp-flags": "replace-origin replace-session-connection ICE=remove RTP/AVP"})
both("rtpp-flags with nesting", "a", "b", {"rtpp-flags": "rtcp-mux=[offer accept] codec=[strip=[PCMU]] trust-address"})
both("keys with underscores", "a", "b", {"transport_protocol": "RTP/AVPF", "address_family": "IP4"})

# ---- commands on media ----------------------------------------------------------------------------------------------

for command in ["block media", "unblock media", "block DTMF", "unblock DTMF", "silence media", "unsilence media"]:
    sequence(f"{command} of all", [*call()[:2], (command, {"call_id": "c", "all": "all"}), delete()])
    sequence(f"{command} of one party", [*call()[:2], (command, {"call_id": "c", "from_tag": "f", "flags": ["directional"]}), delete()])
    sequence(f"{command} by label", [offer(label="A"), answer(), (command, {"call_id": "c", "label": "A"}), delete()])
    sequence(f"{command} by unknown label", [offer(label="A"), answer(), (command, {"call_id": "c", "label": "Z"}), delete()])
    sequence(f"{command} of an unknown call", [(command, {"call_id": "nobody", "from_tag": "f"})])
sequence("subscription", [
    *call()[:2],
    ("subscribe request", {"call_id": "c", "from_tag": "f", "to_tag": "s"}),
    ("subscribe answer", {"call_id": "c", "to_tag": "s", "sdp": SDP["b-held"]}),
    ("unsubscribe", {"call_id": "c", "to_tag": "s"}),
    delete(),
])
sequence("subscription to all", [*call()[:2], ("subscribe request", {"call_id": "c", "flags": ["all"]}), delete()])
sequence("subscription to nobody", [*call()[:2], ("subscribe request", {"call_id": "c", "from_tag": "x"}), delete()])
sequence("unsubscription of nobody", [*call()[:2], ("unsubscribe", {"call_id": "c", "to_tag": "x"}), delete()])
sequence("publication", [("publish", {"call_id": "c", "from_tag": "f", "sdp": SDP["a-hold"]}), delete()])
