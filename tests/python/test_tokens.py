"""Tokens made by the vendor's own server library, and by a general JWT library with registered public keys.

    twilio.jwt.access_token, PyJWT ── token ── WebSocket ── crosspoint
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
import urllib.request

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from twilio.jwt.access_token import AccessToken
from twilio.jwt.access_token.grants import VoiceGrant
from websockets.sync.client import connect

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("CROSSPOINT_BIN", str(ROOT / "target/release/crosspoint"))
ACCOUNT = "AC00000000000000000000000000000001"
KEY = "SK00000000000000000000000000000001"
SECRET = "crosspoint-dev-secret-for-loopback-only"
PATIENCE_S = 20


class Server:
    """The binary on free loopback ports, with a data directory of its own."""

    def __init__(self):
        self.data = tempfile.TemporaryDirectory(prefix="crosspoint-test-")
        self.http, tls = free_ports(2)
        self.process = subprocess.Popen(
            [BINARY, f"--signal-listen=127.0.0.1:{self.http}", f"--signal-tls-listen=127.0.0.1:{tls}",
             f"--data-dir={self.data.name}", "--media-port-base=0", "--media-workers=1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.until(self.is_ready, "crosspoint to become ready")

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/healthz", timeout=5) as reply:
                return reply.status == 200
        except OSError:
            return False

    def until(self, probe, what):
        begun = time.monotonic()
        while not probe():
            if self.process.poll() is not None or time.monotonic() - begun > PATIENCE_S:
                raise AssertionError(f"awaited in vain: {what}")
            time.sleep(0.02)

    def run(self, *arguments):
        command = [BINARY, *arguments, f"--data-dir={self.data.name}"]
        return subprocess.run(command, stdin=subprocess.DEVNULL, text=True, capture_output=True)

    def answer_to(self, token):
        """What the server says to a `listen` with this token: its type and payload."""
        with connect(f"ws://127.0.0.1:{self.http}/signal") as socket:
            listen = {"token": token, "browserinfo": {}, "reconnectTimeout": 0}
            socket.send(json.dumps({"type": "listen", "payload": listen, "version": "1.6"}))
            while True:
                text = socket.recv(timeout=PATIENCE_S)
                if text.strip():
                    frame = json.loads(text)
                    return frame["type"], frame.get("payload") or {}

    def stop(self):
        self.process.send_signal(2)
        self.process.wait(PATIENCE_S)
        self.data.cleanup()


def free_ports(count):
    import socket
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def claims(issuer=KEY, account=ACCOUNT, identity="alice"):
    now = int(time.time())
    voice = {"incoming": {"allow": True}, "outgoing": {"application_sid": "AP00000000000000000000000000000001"}}
    return {"jti": f"{issuer}-{now}", "iss": issuer, "sub": account, "iat": now, "exp": now + 600,
            "grants": {"identity": identity, "voice": voice}}


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.account = cls.server.run("accounts", "create", "--name", "test").stdout.strip()

    def assert_accepted(self, token, identity="alice"):
        kind, payload = self.server.answer_to(token)
        self.assertEqual((kind, payload.get("token", {}).get("identity")), ("connected", identity), payload)

    def assert_refused(self, token, code=20101):
        kind, payload = self.server.answer_to(token)
        self.assertEqual((kind, payload.get("error", {}).get("code")), ("error", code), payload)

    def vendor_token(self, secret=SECRET, ttl=600, **options):
        token = AccessToken(ACCOUNT, KEY, secret, identity="alice", ttl=ttl, **options)
        token.add_grant(VoiceGrant(incoming_allow=True, outgoing_application_sid="AP00000000000000000000000000000001",
                                   outgoing_application_params={"room": "blue"}))
        return token

    def test_token_of_the_vendors_library_is_accepted(self):
        self.assert_accepted(self.vendor_token().to_jwt())

    def test_token_of_the_vendors_library_with_a_region_is_accepted(self):
        self.assert_accepted(self.vendor_token(region="ie1").to_jwt())

    def test_token_of_the_vendors_library_with_another_secret_is_refused(self):
        self.assert_refused(self.vendor_token(secret="guess").to_jwt())

    def test_expired_token_of_the_vendors_library_is_refused_with_its_own_code(self):
        self.assert_refused(self.vendor_token(ttl=-60).to_jwt(), 20104)

    def test_generic_jwt_without_cty_is_accepted(self):
        self.assert_accepted(jwt.encode(claims(), SECRET, "HS256"))

    def register(self, public_pem):
        """Registers a public key and gives the id that tokens name as their issuer."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(public_pem)
            file.flush()
            done = self.server.run("keys", "register", file.name, "--account", self.account)
        self.assertEqual(done.returncode, 0, done.stderr)
        return next(word for word in done.stdout.split() if word.startswith("SK") and len(word) == 34)

    def test_keys_with_longer_digests_accept_their_own_algorithm_only(self):
        for algorithm in ("HS384", "HS512"):
            with self.subTest(algorithm):
                done = self.server.run("keys", "create", "--alg", algorithm, "--account", self.account)
                self.assertEqual(done.returncode, 0, done.stderr)
                issuer, secret = (line.split()[1] for line in done.stdout.splitlines() if line.split()[0] in ("key", "secret"))
                self.accepted_in_time(jwt.encode(claims(issuer, self.account), secret, algorithm))
                self.assert_refused(jwt.encode(claims(issuer, self.account), secret, "HS256"))

    def accepted_in_time(self, token):
        """A key that another process has added is read within a moment."""
        self.server.until(lambda: self.server.answer_to(token)[0] == "connected", "the new key to be in force")

    def test_es256_and_eddsa_tokens_of_registered_keys_are_accepted_and_their_public_keys_sign_nothing(self):
        for algorithm, private in [("ES256", ec.generate_private_key(ec.SECP256R1())),
                                   ("EdDSA", ed25519.Ed25519PrivateKey.generate())]:
            with self.subTest(algorithm):
                public_pem = private.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
                issuer = self.register(public_pem)
                self.accepted_in_time(jwt.encode(claims(issuer, self.account), private, algorithm))
                # Algorithm confusion: the public key, which everybody may have, used as the secret of an HMAC.
                self.assert_refused(self.hmac_token(issuer, public_pem))
                self.assert_refused(self.hmac_token(issuer, public_pem.strip()))
                self.assert_refused(jwt.encode(claims(issuer, self.account), None, "none"))
                self.assert_refused(jwt.encode(claims(KEY), private, algorithm))

    def hmac_token(self, issuer, secret):
        """By hand: the library refuses to make this one."""
        import base64, hashlib, hmac
        part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
        head = part(json.dumps({"typ": "JWT", "alg": "HS256"}).encode())
        signed = head + b"." + part(json.dumps(claims(issuer, self.account)).encode())
        return (signed + b"." + part(hmac.new(secret.encode(), signed, hashlib.sha256).digest())).decode()


if __name__ == "__main__":
    unittest.main(verbosity=2)
