"""Records what rtpengine 10.5 makes of offers and answers, for the tests of SDP rewriting to compare with.

Start the daemon (Debian's rtpengine-daemon), then this, from this directory:

    rtpengine --config-file=none --table=-1 --interface=127.0.0.1 --interface=::1 --listen-ng=127.0.0.1:45222 \\
        --port-min=45300 --port-max=45999 --delete-delay=0 --foreground --log-stderr &
    python3 record.py 127.0.0.1:45222

In rewrites.txt: `=== title`, the text that went in, then for each set of options `--- JSON` and the text that came out.
codecs.txt holds the same for the codec options; verdicts.txt what becomes of a description with one odd line in its session
(`S`) or at its m-line (`M`), or of a whole text (`T`, with `|` for line ends). Lines end in LF here.
"""
import json
import random
import socket
import sys

HEAD = "v=0\no=- 1545997027 1 IN IP4 198.51.100.40\ns=tester\nt=0 0\n"
SESSION_C = HEAD + "c=IN IP4 198.51.100.4\n"
KEY = "WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc"
SHA1 = "67:B0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78:F6:6C:C5:5F"
SHA256 = SHA1 + ":61:40:43:43:71:A4:F7:89:AB:13:68:98"
AUDIO = HEAD + "m=audio 2000 RTP/AVP 0 8 101\nc=IN IP4 198.51.100.4\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"
PLAIN = AUDIO + "a=sendrecv\n"
VIDEO = (
    SESSION_C
    + "b=AS:512\na=foo:bar\nm=audio 2000 RTP/AVP 0 96\ni=speech\nb=AS:64\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\n"
    + "a=bar\na=maxptime:40\na=ptime:20\na=rtcp:2005 IN IP4 198.51.100.9\na=ssrc:123 cname:x\na=extmap:1 urn:x\na=mid:a\n"
    + "a=label:one\nm=video 2002 RTP/AVP 97 98\na=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42e01f\n"
    + "a=rtcp-fb:97 nack\na=rtcp-fb:97 ccm fir\na=rtcp-fb:* nack pli\na=rtpmap:98 VP8/90000\na=recvonly\na=framerate:30\na=mid:v\n"
)
SDES = AUDIO.replace("RTP/AVP", "RTP/SAVP") + (
    f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4\na=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}\n"
    f"a=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:HnN+S2xZKAahAB0kXtcTR/3HSWVs8X+RjtwigkKeLzhG2/fIsoC8cIFjfeqgYA==\n"
    f"a=crypto:4 UNHEARD_OF inline:abcd UNENCRYPTED_SRTP\na=sendrecv\n"
)
DTLS_SESSION = HEAD + (
    f"a=setup:actpass\na=fingerprint:sha-1 {SHA1}\na=ice-ufrag:sess\na=ice-pwd:sesspwdsesspwdsesspwdsess\na=ice-lite\n"
    "a=ice-options:ice2\na=group:BUNDLE x\na=group:LS x\na=sendonly\na=tls-id:abc\na=extmap:3 urn:y\na=extmap-allow-mixed\n"
    "m=audio 2000 UDP/TLS/RTP/SAVP 0\nc=IN IP4 198.51.100.4\na=mid:x\na=rtcp-mux\na=candidate:1 1 udp 2122260223 198.51.100.4 2000 typ host\n"
    "a=end-of-candidates\na=remote-candidates:1 198.51.100.4 5\na=ice-mismatch\na=ice-pacing:50\na=x-foo\n"
)
CHROME = (
    "v=0\no=- 4611731400430051336 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\na=extmap-allow-mixed\n"
    "a=msid-semantic: WMS stream\nm=audio 50000 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\nc=IN IP4 192.0.2.5\n"
    "a=rtcp:9 IN IP4 0.0.0.0\na=candidate:1467250027 1 udp 2122260223 192.0.2.5 50000 typ host generation 0 network-id 1\n"
    "a=candidate:1467250027 2 udp 2122260222 192.0.2.5 50001 typ host generation 0 network-id 1\n"
    "a=candidate:842163049 1 udp 1686052607 203.0.113.7 50000 typ srflx raddr 192.0.2.5 rport 50000 generation 0\n"
    "a=candidate:2 1 tcp 1518280447 192.0.2.5 9 typ host tcptype active generation 0\n"
    "a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuvwx\na=ice-options:trickle\n"
    f"a=fingerprint:sha-256 {SHA256}\na=setup:actpass\na=mid:0\n"
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\na=sendrecv\na=msid:stream track\na=rtcp-mux\na=rtcp-rsize\n"
    "a=rtpmap:111 opus/48000/2\na=rtcp-fb:111 transport-cc\na=fmtp:111 minptime=10;useinbandfec=1\n"
    "a=rtpmap:63 red/48000/2\na=fmtp:63 111/111\na=rtpmap:9 G722/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n"
    "a=rtpmap:13 CN/8000\na=rtpmap:110 telephone-event/48000\na=rtpmap:126 telephone-event/8000\na=ssrc:1001 cname:abc\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP4 0.0.0.0\na=ice-ufrag:abcd\n"
    f"a=ice-pwd:abcdefghijklmnopqrstuvwx\na=ice-options:trickle\na=fingerprint:sha-256 {SHA256}\n"
    "a=setup:actpass\na=mid:1\na=sendrecv\na=rtcp-mux\na=rtcp-rsize\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 goog-remb\n"
    "a=rtcp-fb:96 nack\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=ssrc-group:FID 2 3\na=ssrc:2 cname:abc\n"
)
FAX = AUDIO + "a=inactive\nm=image 4000 udptl t38\nc=IN IP4 198.51.100.4\na=T38FaxVersion:0\na=T38MaxBitRate:14400\na=rtcp:4001\n"
SIX = (AUDIO + "a=rtcp:2005 IN IP6 2001:db8::3\n").replace("IP4 198.51.100.40", "IP6 2001:db8::1").replace(
    "IP4 198.51.100.4", "IP6 2001:db8::2"
)
HOLD = AUDIO.replace("c=IN IP4 198.51.100.4", "c=IN IP4 0.0.0.0")
HOLD_SESSION = HEAD + "c=IN IP4 0.0.0.0\nm=audio 2000 RTP/AVP 0\n"
REFUSED = SESSION_C + (
    "m=audio 2000 RTP/AVP 0\nm=video 0 RTP/AVP 97\na=rtpmap:97 VP8/90000\na=sendonly\na=mid:1\na=rtcp:66\na=rtcp-mux\na=foo\n"
    f"a=setup:active\na=fingerprint:sha-1 {SHA1}\na=candidate:1 1 UDP 5 198.51.100.4 5 typ host\na=ice-ufrag:aaaa\n"
    "a=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\na=end-of-candidates\na=ptime:20\na=extmap:1 x\na=label:3\nm=image 0 udptl t38\n"
    "c=IN IP4 198.51.100.5\na=foo\n"
)
OTHERS = SESSION_C + (
    "m=audio 2000 RTP/AVP 0\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=sctp-port:5000\na=setup:actpass\n"
    f"a=fingerprint:sha-1 {SHA1}\na=rtcp:9\na=ptime:20\na=fmtp:0 x\na=rtpmap:0 PCMU/8000\na=mid:d\n"
    "m=message 5000 TCP/MSRP *\na=path:msrp://198.51.100.4:5000\na=setup:active\na=candidate:1 1 UDP 5 198.51.100.4 5 typ host\n"
    "m=text 6000 RTP/AVP 98\na=rtpmap:98 t140/1000\nm=video 7000/2 RTP/AVP 31\na=rtcp-fb:31 ccm fir\n"
)
MIXED_C = SESSION_C + "m=audio 2000 RTP/AVP 0\nc=IN IP4 198.51.100.5\nm=video 2002 RTP/AVP 31\nc=IN IP4 198.51.100.6\n"

# Two of the twelve suites are enough in most cases.
FEW = ["no-" + suite for suite in (
    "AEAD_AES_256_GCM AES_256_CM_HMAC_SHA1_80 AES_256_CM_HMAC_SHA1_32 AES_192_CM_HMAC_SHA1_80 AES_192_CM_HMAC_SHA1_32 "
    "AES_CM_128_HMAC_SHA1_32 F8_128_HMAC_SHA1_80 F8_128_HMAC_SHA1_32 NULL_HMAC_SHA1_80 NULL_HMAC_SHA1_32").split()]
WEBRTC = {"transport-protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "rtcp-mux": ["offer"], "flags": ["generate-mid"], "SDES": FEW}
OFFERS = {
    "plain audio": PLAIN, "audio and video": VIDEO, "SDES": SDES, "DTLS and ICE of the session": DTLS_SESSION,
    "Chrome": CHROME, "fax": FAX, "IPv6": SIX, "hold": HOLD, "hold of the session": HOLD_SESSION,
    "refused lines": REFUSED, "other media": OTHERS, "each m-line its own c": MIXED_C,
}
OPTIONS = [
    {},
    {"replace": ["origin", "session-connection"]},
    {"ICE": "remove", "transport-protocol": "RTP/AVP", "rtcp-mux": ["demux"]},
    {"ICE": "force"},
    {"ICE": "optional"},
    {"ICE": "force-relay"},
    {"transport-protocol": "RTP/SAVP", "SDES": FEW},
    {"transport-protocol": "RTP/SAVPF", "DTLS": "off", "SDES": ["pad", "lifetime"] + FEW},
    WEBRTC,
    {**WEBRTC, "SDES": ["off"], "ICE-lite": "forward"},
    {**WEBRTC, "flags": ["trickle-ICE", "strip-extmap"], "rtcp-mux": ["require"]},
    {"flags": ["original-sendrecv", "no-rtcp-attribute"]},
    {"flags": ["full-rtcp-attribute", "strip-extmap"], "ptime": 40, "replace": ["origin"]},
    {"replace": ["zero-address"], "address-family": "IP6"},
]
ANSWERS = [
    ("plain answer", PLAIN, {}, PLAIN.replace("0 8 101", "8 101"), {}),
    ("refusal of one line", VIDEO, {}, VIDEO.replace("m=video 2002", "m=video 0"), {}),
    ("answer to Chrome from a plain party", CHROME, {"transport-protocol": "RTP/AVP", "ICE": "remove", "rtcp-mux": ["demux"]},
     SESSION_C + "m=audio 3000 RTP/AVP 8 126\na=rtpmap:126 telephone-event/8000\nm=video 0 RTP/AVP 96\n",
     {"replace": ["origin"]}),
    ("answer of Chrome to a plain party", AUDIO, {**WEBRTC, "SDES": ["off"]}, CHROME[: CHROME.index("m=video")].replace("actpass", "active"),
     {"transport-protocol": "RTP/AVP", "ICE": "remove", "replace": ["origin"]}),
    ("SDES with all suites", PLAIN, {"transport-protocol": "RTP/SAVP"}, None, {}),
    ("answer with SDES", PLAIN, {"transport-protocol": "RTP/SAVP"},
     AUDIO.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\n", {}),
    ("answer to SDES", SDES, {"transport-protocol": "RTP/AVP"}, PLAIN, {}),
    ("answer on hold", AUDIO + "a=sendonly\n", {}, AUDIO + "a=recvonly\n", {}),
]
LISTS = {
    "three": "m=audio 2000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n",
    "eight": CHROME[CHROME.index("m=audio"): CHROME.index("m=video")].replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
    "both": "m=audio 2000 RTP/AVP 0 8 9\nm=video 2002 RTP/AVP 97 98\na=rtpmap:97 H264/90000\na=rtpmap:98 VP8/90000\n",
}
CODECS = [
    {"strip": ["PCMU"]}, {"strip": ["pcmu"]}, {"strip": ["all"]}, {"strip": ["full"]}, {"strip": ["PCMU", "PCMA"]},
    {"strip": ["all"], "offer": ["PCMA"]}, {"strip": ["all"], "offer": ["PCMA", "PCMU"]}, {"offer": ["PCMA"]},
    {"offer": ["PCMA", "telephone-event"]}, {"strip": ["all"], "except": ["PCMA"]}, {"except": ["PCMA"]},
    {"strip": ["all"], "except": ["PCMA", "telephone-event"]}, {"mask": ["PCMU"]}, {"mask": ["all"]}, {"mask": ["full"]},
    {"strip": ["telephone-event"]}, {"strip": ["opus/48000"]}, {"strip": ["opus/48000/2"]}, {"strip": ["opus/8000"]},
    {"strip": ["opus/48000/1"]}, {"strip": ["8"]}, {"strip": ["telephone-event/48000"]}, {"strip": ["G729"]},
    {"strip": ["opus/48000/2/20"]}, {"strip": ["all"], "offer": ["G729"]}, {"accept": ["PCMA"]}, {"strip": ["PCMU"], "offer": ["PCMU"]},
    {"strip": ["all"], "offer": ["opus", "PCMA", "telephone-event"]}, {"strip": ["VP8"]}, {"strip": ["all"], "offer": ["VP8"]},
    {"mask": ["all"], "offer": ["PCMA"]}, {"mask": ["PCMU"], "strip": ["PCMA"]}, {"strip": ["all"], "except": ["all"]},
    {"strip": ["all"], "accept": ["PCMA"]}, {"consume": ["PCMU"]}, {"consume": ["all"]}, {"strip": ["full"], "offer": ["PCMA"]},
    {"strip": ["G722"], "except": ["G722"]}, {"strip": ["CN", "red"]},
]
ODD_LINES = """
a=
a
=x
x
a=foo
a=rtpmap:
a=rtpmap:0
a=rtpmap:0 PCMX
a=rtpmap:0 PCMX/x
a=rtpmap:0 PCMX/16000/2
a=rtpmap:0 PCMX/16000/2/3
a=rtpmap:0 PCMX/0
a=rtpmap:x PCMX/8000
a=rtpmap:200 PCMX/8000
a=rtpmap:97 FOO/8000
a=fmtp:0
a=fmtp:0 x
a=fmtp:97 x
a=fmtp:x x
a=rtcp-fb:0 nack
a=rtcp-fb:97 nack
a=rtcp-fb:* nack
a=rtcp-fb:x nack
a=rtcp-fb:0
a=rtcp:
a=rtcp:x
a=rtcp:99999
a=rtcp:5
a=rtcp:5 IN
a=rtcp:5 IN IP4 foo
a=rtcp:5 IN IP4 1.2.3.4
a=ptime:
a=ptime:x
a=ptime:20
a=ptime:20.5
a=ptime:0
a=mid:
a=mid:ö
a=mid
a=crypto:
a=crypto:1
a=crypto:1 FOO inline:x
a=crypto:1 AES_CM_128_HMAC_SHA1_80
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abcd
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc
a=crypto:x AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc
a=crypto:1 aes_cm_128_hmac_sha1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc
a=crypto:0 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc|
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc|2^20|1:4
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc|1:4
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc|foo
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc|2^60
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc|2^20|1:400
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc WSH=5 KDR=3 UNENCRYPTED_SRTP
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc;inline:WAJ55kEKArRguB22sgQuc2tdottZPIsLQatmwqJc
a=crypto:1 AES_CM_128_HMAC_SHA1_80 uri:foo
a=setup:
a=setup:foo
a=setup:active
a=setup:ACTIVE
a=setup:holdconn
a=fingerprint:
a=fingerprint:sha-1
a=fingerprint:sha-1 AA
a=fingerprint:SHA-1 67:B0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78:F6:6C:C5:5F
a=fingerprint:sha-1 67:b0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78:F6:6C:C5:5F
a=fingerprint:sha-1 67:b0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78:F6:6C:C5:5F:11
a=fingerprint:sha-1 67-b0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78:F6:6C:C5:5F
a=fingerprint:md5 67:B0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78
a=fingerprint:sha-3 67:B0:BD:97:54:79:3D:A0:8B:3D:3A:50:F1:99:89:78
a=ice-ufrag:
a=ice-ufrag:x
a=ice-pwd:
a=ice-pwd:x
a=ice-options:
a=ice-options:trickle
a=ice-lite
a=ice-lite:x
a=ice-pacing:5
a=candidate:
a=candidate:1
a=candidate:1 1 UDP 5 1.2.3.4 5
a=candidate:1 1 UDP 5 1.2.3.4 5 typ
a=candidate:1 1 UDP 5 1.2.3.4 5 typ host
a=candidate:1 1 UDP 5 1.2.3.4 5 typ foo
a=candidate:1 1 UDP 5 foo.local 5 typ host
a=candidate:1 1 UDP x 1.2.3.4 5 typ host
a=candidate:1 x UDP 5 1.2.3.4 5 typ host
a=candidate:1 300 UDP 5 1.2.3.4 5 typ host
a=candidate:1 1 FOO 5 1.2.3.4 5 typ host
a=candidate:1 1 UDP 5 1.2.3.4 99999 typ host
a=candidate:1 1 UDP 5 1.2.3.4 5 typ srflx
a=candidate:1 1 UDP 5 1.2.3.4 5 typ srflx raddr 1.1.1.1 rport 6
a=candidate:1 1 UDP 5 1.2.3.4 5 typ srflx raddr foo rport 6
a=end-of-candidates
a=end-of-candidates:x
a=remote-candidates:1 1.2.3.4 5
a=remote-candidates:x
a=sendonly:x
a=SENDONLY
a=sendonly
a=recvonly
a=rtcp-mux
a=rtcp-mux:x
a=group:BUNDLE 0
a=group:LS 0
a=label:3
a=extmap:1 urn
a=extmap:x
a=ice-mismatch
a=rtpengine:foo
a=T38FaxVersion:0
a=msid-semantic: WMS
c=IN IP4 1.2.3.4
c=IN  IP4 1.2.3.4
c=IN IP4
c=IN IP5 1.2.3.4
c=IN IP6 1.2.3.4
c=IN IP4 ::1
c=IN IP6 ::1
c=XX IP4 1.2.3.4
c=in ip4 1.2.3.4
c=IN IP4 1.2.3.4/5
b=AS:5
b=foo
k=foo
i=foo
e=foo
p=foo
z=foo
r=foo
t=foo
t=1 1
o=foo
o=- 1 1 IN IP4 1.1.1.1
s=foo
v=0
v=1
A=foo
a = foo
1=foo
c=IN IP4 1.2.3.4 
""".strip("\n").split("\n")
C = "v=0|c=IN IP4 1.2.3.4|"
ODD_TEXTS = [
    C + m for m in (
        "m=audio 5000 RTP/AVP 0", "m=audio 5000 RTP/AVP", "m=audio 5000 ", "m=audio 5000", "m=audio 70000 RTP/AVP 0",
        "m=audio x RTP/AVP 0", "m=audio 5000/x RTP/AVP 0", "m=audio 5000/0 RTP/AVP 0", "m=audio 5000/2 RTP/AVP 0",
        "m=audio 5000 RTP/AVP 200 0", "m=audio 5000 RTP/AVP x 0", "m=audio 5000 RTP/AVP 0 0 8", "m=audio 5000 rtp/avp 0",
        "m=AUDIO 5000 RTP/AVP 0", "m=audio 5000 FOO/BAR x", "m=- 5000 udp x", "", "m=audio 5000 RTP/AVP 0||a=foo|x",
        "|m=audio 5000 RTP/AVP 0", "m=audio 5000 RTP/AVP 0|c=IN IP4 1.2.3.5|c=IN IP4 1.2.3.6",
        "m=audio 5000 RTP/AVP 0|v=0", "m=audio 5000 RTP/AVP 0|garbage",
    )
] + [
    "v=0", "m=audio 5000 RTP/AVP 0", "v=0|m=audio 5000 RTP/AVP 0", "v=0|m=audio 5000 RTP/AVP 0|c=IN IP4 1.2.3.4",
    "v=1|c=IN IP4 1.2.3.4|m=audio 5000 RTP/AVP 0", "v=0|o=foo|c=IN IP4 1.2.3.4|m=audio 5000 RTP/AVP 0",
    "v=0|o=- 1 1 IN IP4 host|c=IN IP4 1.2.3.4|m=audio 5000 RTP/AVP 0", "v=0|o=- 1 IN IP4 1.2.3.4|c=IN IP4 1.2.3.4|m=audio 5000 RTP/AVP 0",
    "s=x|v=0|c=IN IP4 1.2.3.4|m=audio 5000 RTP/AVP 0", "v=0|m=audio 0 RTP/AVP 0", "v=0|m=video 0 RTP/AVP 31|m=audio 1 RTP/AVP 0|c=IN IP4 1.2.3.4",
    "v=0|s=x|s=y|t=0 0|t=1 1|o=- 1 1 IN IP4 1.1.1.1|c=IN IP6 ::1|m=audio 5000 RTP/AVP 0",
]


def bencode(value):
    if isinstance(value, str):
        value = value.encode()
        return b"%d:%s" % (len(value), value)
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(k) + bencode(v) for k, v in value.items()) + b"e"


def bdecode(data, at=0):
    if data[at:at + 1] in (b"d", b"l"):
        items, end = [], at + 1
        while data[end:end + 1] != b"e":
            item, end = bdecode(data, end)
            items.append(item)
        return (dict(zip(items[::2], items[1::2])) if data[at:at + 1] == b"d" else items), end + 1
    if data[at:at + 1] == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1:end]), end + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1:end].decode(), end


class Daemon:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((host, int(port)))
        self.socket.settimeout(3)

    def ask(self, command, call_id, **rest):
        cookie = "%x" % random.getrandbits(60)
        request = {"command": command, "call-id": call_id, "from-tag": "a", **rest}
        self.socket.send(cookie.encode() + b" " + bencode(request))
        return bdecode(self.socket.recv(65536).split(b" ", 1)[1])[0]

    def rewrite(self, offer, options, answer=None, answer_options=None):
        """What the daemon makes of the offer, or of the answer if there is one."""
        call_id = "%x" % random.getrandbits(60)
        reply = self.ask("offer", call_id, sdp=offer.replace("\n", "\r\n"), **options)
        if answer:
            reply = self.ask("answer", call_id, sdp=answer.replace("\n", "\r\n"), **{"to-tag": "b"}, **answer_options)
        self.ask("delete", call_id)
        return reply["sdp"].replace("\r\n", "\n") if "sdp" in reply else reply["error-reason"] + "\n"


def main():
    daemon = Daemon(sys.argv[1])
    with open("rewrites.txt", "w") as out:
        for title, offer in OFFERS.items():
            out.write(f"=== {title}\n{offer}")
            for options in OPTIONS:
                out.write(f"--- {json.dumps(options)}\n{daemon.rewrite(offer, options)}")
        for title, offer, options, answer, answer_options in ANSWERS:
            result = daemon.rewrite(offer, options, answer, answer_options)
            out.write(f"=== {title}\n{answer or offer}--- {json.dumps(answer_options)}\n{result}")
    with open("codecs.txt", "w") as out:
        for title, medias in LISTS.items():
            out.write(f"=== {title}\n{SESSION_C + medias}")
            for codec in CODECS:
                out.write(f"--- {json.dumps(codec)}\n{daemon.rewrite(SESSION_C + medias, {'codec': codec})}")
    with open("verdicts.txt", "w") as out:
        for line in ODD_LINES:
            for where, before, after in (("S", line + "\n", ""), ("M", "", line + "\n")):
                result = daemon.rewrite(f"{SESSION_C}{before}m=audio 2000 RTP/AVP 0\n{after}", {})
                out.write(f"{'ok' if result.startswith('v=0') else result.strip()}\t{where}\t{line}\n")
        for text in ODD_TEXTS:
            result = daemon.rewrite(text.replace("|", "\n") + "\n", {})
            out.write(f"{'ok' if result.startswith('v=0') else result.strip()}\tT\t{text}\n")


main()
