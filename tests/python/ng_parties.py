"""Parties to a call that passes through an ng relay: sockets with RTP in the clear, or in SRTP keyed by SDES or DTLS.

    Party ── UDP ── relay ── UDP ── Party          Call: the ng requests that join the two

SRTP is libsrtp's (`pylibsrtp`), DTLS is OpenSSL's (`pyOpenSSL`); nothing here is ours. Everything blocks, with a bound: a party
reads only when it is told to, and every wait ends with what came or with an error that names what did not.
"""

import base64
import datetime
import hashlib
import itertools
import os
import re
import select
import socket
import struct
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

PLAIN, SDES_80, SDES_GCM, DTLS = "plain", "SDES AES-CM-80", "SDES AES-GCM", "DTLS"
KINDS = (PLAIN, SDES_80, SDES_GCM, DTLS)
SUITES = {SDES_80: "AES_CM_128_HMAC_SHA1_80", SDES_GCM: "AEAD_AES_128_GCM"}
PROFILES = {
    SDES_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SDES_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
}
KEY_BYTES = {PROFILES[SDES_80]: (16, 14), PROFILES[SDES_GCM]: (16, 12)}
PROTOCOLS = {PLAIN: "RTP/AVP", SDES_80: "RTP/SAVP", SDES_GCM: "RTP/SAVP", DTLS: "UDP/TLS/RTP/SAVP"}
PATIENCE_S = 5.0
PCMU, PCMA = 0, 8

_ports = itertools.cycle(range(49000, 49998, 2))
_ssrcs = itertools.count(0x5EED0000)


def rtp(sequence_number, ssrc, payload=b"\x2a" * 160, payload_type=PCMU, timestamp=None):
    timestamp = sequence_number * 160 if timestamp is None else timestamp
    return struct.pack("!BBHII", 0x80, payload_type, sequence_number & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def sequence_number_of(packet):
    return struct.unpack("!H", packet[2:4])[0]


def ssrc_of(packet):
    return struct.unpack("!I", packet[8:12])[0]


def sender_report(ssrc, packets=1, octets=160):
    """RFC 3550 §6.4.1, with an SDES chunk behind it (§6.1: each compound packet has a CNAME)."""
    since_1900 = int(time.time()) + 2208988800
    report = struct.pack("!BBHIIIIII", 0x80, 200, 6, ssrc, since_1900, 0, 0, packets, octets)
    return report + struct.pack("!BBHI", 0x81, 202, 2, ssrc) + b"\x01\x01x\x00"


def is_rtcp(datagram):
    # RFC 5761 §4: packet types 192 to 223 are RTCP's.
    return len(datagram) > 1 and 192 <= datagram[1] <= 223


def bound_pair(host):
    """Sockets at an even port and the odd one above."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(500):
        port, pair = next(_ports), []
        try:
            for each in (port, port + 1):
                pair.append(socket.socket(family, socket.SOCK_DGRAM))
                pair[-1].bind((host, each))
            return pair
        except OSError:
            for each in pair:
                each.close()
    raise RuntimeError(f"no free pair of ports at {host}")


class Described:
    """What a party takes from an SDP of the relay: of the first media line, and of the session where that says nothing."""

    def __init__(self, sdp):
        self.sdp = sdp
        session, *media = re.split(r"(?m)^(?=m=)", sdp.replace("\r\n", "\n"))
        self.media_count = len(media)
        self.media = media[0]
        self.port = int(re.search(r"^m=\w+ (\d+)", self.media)[1])
        self.protocol = re.search(r"^m=\w+ \d+ (\S+)", self.media)[1]
        self.host = (re.search(r"(?m)^c=IN IP[46] (\S+)", self.media) or re.search(r"(?m)^c=IN IP[46] (\S+)", session))[1]
        self.mux = bool(re.search(r"(?m)^a=rtcp-mux$", self.media))
        rtcp = re.search(r"(?m)^a=rtcp:(\d+)", self.media)
        self.rtcp_port = self.port if self.mux else int(rtcp[1]) if rtcp else self.port + 1
        self.crypto = {
            suite: (int(tag), key) for tag, suite, key in
            re.findall(r"(?m)^a=crypto:(\d+) (\S+) inline:([A-Za-z0-9+/]+)", self.media)
        }
        setup = re.search(r"(?m)^a=setup:(\w+)", self.media + session)
        self.setup = setup[1] if setup else None
        fingerprint = re.search(r"(?m)^a=fingerprint:(\S+) (\S+)", self.media + session)
        self.fingerprint = (fingerprint[1].lower(), fingerprint[2].upper()) if fingerprint else None


class Dtls:
    """One handshake and the SRTP keys it gives (RFC 5764), over the socket of a party."""

    _key = ec.generate_private_key(ec.SECP256R1())
    _name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "party")])
    _now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(_name).issuer_name(_name).public_key(_key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(_now - datetime.timedelta(days=1))
        .not_valid_after(_now + datetime.timedelta(days=30)).sign(_key, hashes.SHA256())
    )

    @classmethod
    def of_another(cls):
        """The same with a certificate that no SDP names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder().subject_name(cls._name).issuer_name(cls._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(cls._now - datetime.timedelta(days=1))
            .not_valid_after(cls._now + datetime.timedelta(days=30)).sign(key, hashes.SHA256())
        )
        return type("OfAnother", (cls,), {"_key": key, "certificate": certificate})

    @classmethod
    def fingerprint(cls):
        digest = hashlib.sha256(cls.certificate.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
        return "sha-256 " + ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))

    def __init__(self, active):
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_certificate(self.certificate)
        context.use_privatekey(self._key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80")
        self.active, self.done = active, False
        self.connection = SSL.Connection(context)
        (self.connection.set_connect_state if active else self.connection.set_accept_state)()

    def step(self, datagram, send):
        """Takes a datagram, or None when none came for a while, and sends what follows from it."""
        if datagram is not None:
            self.connection.bio_write(datagram)
        else:
            self.connection.DTLSv1_handle_timeout()
        try:
            if self.done:
                self.connection.recv(4096)
            else:
                self.connection.do_handshake()
                self.done = True
        except (SSL.WantReadError, SSL.ZeroReturnError):
            pass
        while True:
            try:
                flight = self.connection.bio_read(65536)
            except SSL.WantReadError:
                return
            # The records of a flight come in one piece; each goes in a datagram of its own.
            while flight:
                length = 13 + struct.unpack("!H", flight[11:13])[0]
                send(flight[:length])
                flight = flight[length:]

    def peer_fingerprint(self, hash_name):
        return self.connection.get_peer_certificate().digest(hash_name.replace("-", "")).decode().upper()

    def sessions(self):
        """To protect by, to unprotect by."""
        openssl_name = self.connection.get_selected_srtp_profile()
        profile = PROFILES[SDES_GCM if b"GCM" in openssl_name else SDES_80]
        key, salt = KEY_BYTES[profile]
        # RFC 5764 §4.2: client key, server key, client salt, server salt.
        made = self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = made[:key] + made[2 * key : 2 * key + salt]
        server = made[key : 2 * key] + made[2 * key + salt :]
        own, other = (client, server) if self.active else (server, client)
        return outbound(profile, own), inbound(profile, other)


def outbound(profile, key):
    return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))


def inbound(profile, key):
    return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))


class Party:
    """One side of a call. `describe` says what it is, `hear` takes the relay's SDP, `secure` makes the keys if that needs packets."""

    def __init__(self, kind=PLAIN, host="127.0.0.1", mux=False, payload_types=(PCMU, PCMA)):
        self.kind, self.host, self.mux, self.payload_types = kind, host, mux, payload_types
        self.rtp_socket, self.rtcp_socket = bound_pair(host)
        self.port = self.rtp_socket.getsockname()[1]
        self.ssrc, self.sequence_number, self.version = next(_ssrcs), 1, 0
        self.relay = self.rtp_to = self.rtcp_to = None
        self.setup, self.crypto_tag = "actpass", 1
        self.protects = self.unprotects = self.dtls = None
        self.refused = []
        self._heard_key = None
        self.rekey()

    def close(self):
        self.rtp_socket.close()
        self.rtcp_socket.close()

    def rekey(self):
        """A new SDES key of its own, from the next description on."""
        if self.kind in SUITES:
            profile = PROFILES[self.kind]
            key = os.urandom(sum(KEY_BYTES[profile]))
            self.inline = base64.b64encode(key).decode().rstrip("=")
            self.inline += "=" * (-len(self.inline) % 4)
            self.protects = outbound(profile, key)

    def describe(self, direction="sendrecv", address=None, port=None, more=()):
        address, port = address or self.host, self.port if port is None else port
        family = "IP6" if ":" in address else "IP4"
        self.version += 1
        lines = ["v=0", f"o=- 7 {self.version} IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0"]
        lines += [f"m=audio {port} {PROTOCOLS[self.kind]} {' '.join(map(str, self.payload_types))}", f"a={direction}"]
        if self.kind in SUITES:
            lines.append(f"a=crypto:{self.crypto_tag} {SUITES[self.kind]} inline:{self.inline}")
        if self.kind == DTLS:
            lines += [f"a=fingerprint:{Dtls.fingerprint()}", f"a=setup:{self.setup}"]
        if self.mux:
            lines.append("a=rtcp-mux")
        return "\r\n".join([*lines, *more]) + "\r\n"

    def hear(self, sdp, offered=False):
        self.relay = Described(sdp)
        self.rtp_to = (self.relay.host, self.relay.port)
        self.rtcp_to = (self.relay.host, self.relay.rtcp_port)
        if self.kind in SUITES:
            suite = SUITES[self.kind]
            assert suite in self.relay.crypto, f"no {suite} in\n{sdp}"
            tag, key = self.relay.crypto[suite]
            self.crypto_tag = tag if offered else self.crypto_tag
            if key != self._heard_key:
                self._heard_key = key
                self.unprotects = inbound(PROFILES[self.kind], base64.b64decode(key + "=" * (-len(key) % 4)))
        if self.kind == DTLS:
            assert self.relay.fingerprint, f"no fingerprint in\n{sdp}"
            if offered:
                self.setup = "active" if self.relay.setup in ("actpass", "passive") else "passive"

    def is_active(self):
        return self.relay.setup == "passive" if self.setup == "actpass" else self.setup == "active"

    def secure(self):
        """The DTLS handshake, checked against the fingerprint of the relay's SDP."""
        if self.kind != DTLS or self.dtls:
            return
        self.dtls = Dtls(self.is_active())
        if self.dtls.active:
            self.dtls.step(None, self._send_rtp)
        deadline = time.monotonic() + PATIENCE_S
        while not self.dtls.done:
            assert time.monotonic() < deadline, f"no DTLS with the relay as {'server' if self.dtls.active else 'client'}"
            got = self._datagram(0.25)
            if got is None or 20 <= got[0][0] <= 63:
                self.dtls.step(got and got[0], self._send_rtp)
        hash_name, fingerprint = self.relay.fingerprint
        assert self.dtls.peer_fingerprint(hash_name) == fingerprint, "the relay's certificate is not that of its SDP"
        self.protects, self.unprotects = self.dtls.sessions()

    # ---- packets ------------------------------------------------------------------------------------------------------

    def next_packet(self, payload=b"\x2a" * 160, payload_type=None):
        packet = rtp(self.sequence_number, self.ssrc, payload, self.payload_types[0] if payload_type is None else payload_type)
        self.sequence_number = (self.sequence_number + 1) & 0xFFFF
        return packet

    def send(self, payload=b"\x2a" * 160, payload_type=None):
        """One RTP packet; returns it as it was before protection."""
        packet = self.next_packet(payload, payload_type)
        self._send_rtp(self.protects.protect(packet) if self.protects else packet)
        return packet

    def send_report(self):
        report = sender_report(self.ssrc)
        protected = self.protects.protect_rtcp(report) if self.protects else report
        (self.rtp_socket if self.relay.mux and self.mux else self.rtcp_socket).sendto(protected, self.rtcp_to)
        return report

    def _send_rtp(self, datagram):
        self.rtp_socket.sendto(datagram, self.rtp_to)

    def _datagram(self, patience_s):
        ready, _, _ = select.select([self.rtp_socket, self.rtcp_socket], [], [], max(0.0, patience_s))
        if not ready:
            return None
        datagram, sender = ready[0].recvfrom(65536)
        return datagram, sender, ready[0] is self.rtcp_socket

    def receive(self, patience_s=PATIENCE_S, rtcp=False):
        """The next RTP (or RTCP) packet in the clear, or None. What fails authentication goes to `refused`."""
        deadline = time.monotonic() + patience_s
        while True:
            got = self._datagram(deadline - time.monotonic())
            if got is None:
                return None
            datagram, _, on_rtcp = got
            if datagram and 20 <= datagram[0] <= 63 and self.dtls:
                self.dtls.step(datagram, self._send_rtp)
                continue
            if not datagram or datagram[0] >> 6 != 2 or is_rtcp(datagram) != rtcp:
                continue
            if rtcp:
                assert on_rtcp != (self.mux and self.relay.mux), "RTCP on the wrong port"
            if not self.unprotects:
                return datagram
            try:
                return (self.unprotects.unprotect_rtcp if rtcp else self.unprotects.unprotect)(datagram)
            except SrtpError as error:
                self.refused.append((str(error), datagram))

    def receive_all(self, quiet_s):
        """What comes until nothing comes for `quiet_s`."""
        return list(iter(lambda: self.receive(quiet_s), None))

    def drain(self):
        while self._datagram(0):
            pass


def await_packet(sender, receiver, attempts=25, patience_s=0.2, **packet):
    """Sends until something arrives (the first packets may be early), and says what was sent and what came."""
    for _ in range(attempts):
        sent = sender.send(**packet)
        came = receiver.receive(patience_s)
        if came is not None:
            return sent, came
    raise AssertionError(
        f"no packet from {sender.kind} {sender.host}:{sender.port} by {sender.rtp_to} to {receiver.kind} "
        f"{receiver.host}:{receiver.port}; failed authentication: {[why for why, _ in receiver.refused]}")


class Call:
    """Two parties joined by the relay."""

    _ids = itertools.count(1)

    def __init__(self, client, a, b, offer=None, answer=None, call_id=None):
        self.client, self.a, self.b = client, a, b
        self.call_id = call_id or f"call-{os.getpid()}-{next(Call._ids)}"
        self.offer_options = {"transport-protocol": PROTOCOLS[b.kind], **(offer or {})}
        if b.kind == DTLS:
            self.offer_options.setdefault("SDES", ["off"])
        self.answer_options = answer or {}
        self.ended = False

    def ask(self, command, **options):
        reply = self.client.ask(command, call_id=self.call_id, **options)
        assert reply["result"] == "ok", f"{command}: {reply}"
        return reply

    def offer(self, a_sdp=None, a=None, b=None, tags=("a", None)):
        a, b = a or self.a, b or self.b
        more = {"from-tag": tags[0], **({"to-tag": tags[1]} if tags[1] else {}), **self.offer_options}
        b.hear(self.ask("offer", sdp=a_sdp or a.describe(), more=more)["sdp"], offered=True)

    def answer(self, b_sdp=None, tags=("a", "b")):
        more = {"from-tag": tags[0], "to-tag": tags[1], **self.answer_options}
        self.a.hear(self.ask("answer", sdp=b_sdp or self.b.describe(), more=more)["sdp"])

    def join(self):
        self.offer()
        self.answer()
        self.a.secure()
        self.b.secure()
        return self

    def reoffer(self):
        self.offer(tags=("a", "b"))
        self.answer()

    def delete(self):
        self.ended = True
        return self.client.ask("delete", call_id=self.call_id, from_tag="a", delete_delay=0)

    def close(self):
        if not self.ended:
            self.delete()
        self.a.close()
        self.b.close()
