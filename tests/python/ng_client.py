"""A small ng client, and the two relays it is pointed at: Debian's rtpengine and `crosspoint rtpengine`.

Bencode over UDP, one socket a client, as Kamailio speaks it. Nothing here knows how either relay works.
"""

import itertools
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELAY = os.environ.get("NG_RELAY", "crosspoint")
# "sockets": ours runs without capabilities, so that each port is a socket of its own.
PORTS = os.environ.get("NG_PORTS", "steered")
WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
CROSSPOINT = os.environ.get("CROSSPOINT_BIN", str(ROOT / "target/release/crosspoint"))

# A relay that is brought down by a test leaves no core file in the working directory.
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def encode(value):
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(key) + encode(item) for key, item in value.items()) + b"e"


def decode(data, at=0):
    """Returns the value and the position behind it."""
    head = data[at : at + 1]
    if head == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if head in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        if head == b"l":
            return items, at + 1
        return dict(zip(items[::2], items[1::2])), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(errors="surrogateescape"), end


def free_port(kind=socket.SOCK_DGRAM, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Client:
    """Asks one relay. A reply that does not come is an error of the test."""

    cookies = itertools.count(1)

    def __init__(self, port, host="127.0.0.1", patience=5.0):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((host, port))
        self.socket.settimeout(patience)

    def raw(self, datagram):
        self.socket.send(datagram)
        return self.socket.recv(65536)

    def ask(self, command, **options):
        """Options in Python spelling: `from_tag` is `from-tag`; a dictionary under `more` is taken as it is."""
        request = {"command": command}
        request.update(options.pop("more", {}))
        request.update({key.replace("_", "-"): value for key, value in options.items()})
        cookie = b"%d_%d" % (os.getpid(), next(Client.cookies))
        return decode(self._answer(cookie, encode(request)))[0]

    def ask_json(self, request):
        cookie = b"%d_%d" % (os.getpid(), next(Client.cookies))
        return json.loads(self._answer(cookie, json.dumps(request).encode()))

    def _answer(self, cookie, body):
        """Answers to earlier questions, whose patience ended before they came, are passed over."""
        self.socket.send(cookie + b" " + body)
        while True:
            got, body = self.socket.recv(65536).split(b" ", 1)
            if got == cookie:
                return body

    def close(self):
        self.socket.close()


class Relay:
    """A relay in a process of its own, on loopback, with ports of its own."""

    def __init__(self, program, arguments, ng_port, cli_port, log):
        self.ng_port, self.cli_port, self.log_path = ng_port, cli_port, log
        self.log = open(log, "wb")
        self.process = subprocess.Popen(
            program + arguments, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            self._await_pong()
        except BaseException:
            self.stop()
            raise

    @classmethod
    def rtpengine(cls, ports=(30000, 30999), interfaces=("127.0.0.1",), more=(), ng_port=None):
        return cls._start(["rtpengine", "--config-file=none", "--table=-1", "--log-stderr"], ports, interfaces, more, ng_port)

    @classmethod
    def crosspoint(cls, ports=(31000, 31999), interfaces=("127.0.0.1",), more=(), ng_port=None, data=None):
        found, data = data, data or tempfile.TemporaryDirectory(prefix="crosspoint-ng-", ignore_cleanup_errors=True)
        program = [CROSSPOINT, "rtpengine", "--config-file=none", f"--data-dir={data.name}"]
        if PORTS == "sockets":
            program = WITHOUT_CAPABILITIES + program
        relay = cls._start(program, ports, interfaces, more, ng_port)
        relay.data = data
        # A dataplane that was there before speaks to the log of whoever started it.
        if not found:
            relay.assert_ports_are(PORTS)
        return relay

    @classmethod
    def under_test(cls, **options):
        """Ours; or rtpengine, by NG_RELAY=rtpengine, to see that a test asks nothing which a good relay does not do."""
        return {"crosspoint": cls.crosspoint, "rtpengine": cls.rtpengine}[RELAY](**options)

    @classmethod
    def _start(cls, program, ports, interfaces, more, ng_port):
        ng_port, cli_port = ng_port or free_port(), free_port(socket.SOCK_STREAM)
        arguments = [f"--interface={interface}" for interface in interfaces]
        arguments += [f"--listen-ng=127.0.0.1:{ng_port}", f"--listen-cli=127.0.0.1:{cli_port}", "--num-threads=1"]
        arguments += [f"--port-min={ports[0]}", f"--port-max={ports[1]}", "--foreground", *more]
        log = tempfile.NamedTemporaryFile(prefix="relay-", suffix=".log", delete=False).name
        return cls(program, arguments, ng_port, cli_port, log)

    def _await_pong(self):
        deadline = time.monotonic() + 10
        client = Client(self.ng_port, patience=0.1)
        while True:
            try:
                assert client.ask("ping")["result"] == "pong"
                return client.close()
            except (socket.timeout, ConnectionRefusedError):
                # A refused datagram fails at once: give the process a moment before asking again.
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the relay did not come up:\n{self.said()}") from None
                try:
                    self.process.wait(0.05)
                except subprocess.TimeoutExpired:
                    pass

    def assert_ports_are(self, expected):
        """What the dataplane logs of its ports at its start; its log has a thread of its own."""
        deadline = time.monotonic() + 5
        while not (said := re.search(r"ports of RTP legs .*why=(\w+)", self.said())):
            assert time.monotonic() < deadline, f"nothing is said of ports:\n{self.said()}"
            time.sleep(0.01)
        assert said[1] == expected, f"{said[1]} instead of {expected}"

    def client(self, **options):
        return Client(self.ng_port, **options)

    def cli(self, line):
        with socket.create_connection(("127.0.0.1", self.cli_port), 5) as connection:
            connection.sendall(line.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def said(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def resident_bytes(self):
        """Of the process and those it started."""
        return sum(_resident(pid) for pid in [self.process.pid, *_children(self.process.pid)])

    def stop(self):
        """Ends it as systemd would; returns the exit status and the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.log.close()
        if hasattr(self, "data"):
            self.data.cleanup()
        return status, time.monotonic() - begun

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        pathlib.Path(self.log_path).unlink(missing_ok=True)


def _resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
