"""The relay as an operator meets it: its file, its options, the background, signals, its supervisor.

    shell ─ crosspoint rtpengine ─▶ standard error, status, pid file
    supervisor's socket ◀──┘
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import unittest

from ng_client import CROSSPOINT, RELAY, Client, Relay, free_port

PORTS = (46200, 46299)
DEBIANS_FILE = pathlib.Path("/etc/rtpengine/rtpengine.conf")


def started(*arguments, file="none", env=None, wait=20):
    """The first process's end: status and what it said. Its output is a pipe, as in `out=$(…)`."""
    with tempfile.TemporaryDirectory(prefix="crosspoint-op-", ignore_cleanup_errors=True) as data:
        line = [CROSSPOINT, "rtpengine", f"--config-file={file}", f"--data-dir={data}", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=wait, env=env, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr


def file_of(text):
    file = tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False)
    file.write(text)
    file.close()
    return file.name


def banner(relay):
    """The log once the banner is in it, which comes a moment after the first answer."""
    while " is ready (" not in relay.said() and relay.process.poll() is None:
        try:
            relay.process.wait(0.05)
        except subprocess.TimeoutExpired:
            pass
    # It is one write.
    return relay.said()


@unittest.skipUnless(RELAY == "crosspoint", "of our command line")
class Operation(unittest.TestCase):
    def test_hangup_ends_nothing(self):
        with Relay.crosspoint(ports=PORTS) as relay:
            client = relay.client()
            for _ in range(2):
                relay.process.send_signal(signal.SIGHUP)
                self.assertEqual(client.ask("ping")["result"], "pong")
            status, seconds = relay.stop()
            self.assertEqual(status, 0)
            self.assertLess(seconds, 5)

    def test_background_keeps_nothing_of_the_caller_and_leaves_its_session(self):
        with tempfile.TemporaryDirectory(prefix="crosspoint-bg-", ignore_cleanup_errors=True) as data:
            port, pidfile = free_port(), pathlib.Path(data, "pid")
            line = [CROSSPOINT, "rtpengine", "--config-file=none", f"--data-dir={data}/d", f"--pidfile={pidfile}"]
            line += ["-i", "127.0.0.1", f"-n127.0.0.1:{port}", f"-m{PORTS[0]}", f"-M{PORTS[1]}"]
            # Returns only when nobody holds the pipe any more.
            done = subprocess.run(line, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 0, done.stderr)
            pid = int(pidfile.read_text())
            try:
                client = Client(port)
                self.assertEqual(client.ask("ping")["result"], "pong")
                client.close()
                self.assertEqual(os.getsid(pid), pid)
            finally:
                os.kill(pid, signal.SIGTERM)
                while pidfile.exists():
                    os.sched_yield()

    def test_failed_start_in_the_background_says_its_own_reason_only(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            status, said = started("-i", "127.0.0.1", "-n", f"127.0.0.1:{port}")
            self.assertEqual(status, 1)
            self.assertRegex(said, rf"cannot listen on 127.0.0.1:{port} \(--listen-ng\)")
            self.assertIn(f"ss -lunp 'sport = :{port}'", said)
            self.assertNotIn("background", said)

    def test_file_of_debian_is_taken_as_it_is(self):
        text = DEBIANS_FILE.read_text() if DEBIANS_FILE.exists() else "[rtpengine]\ninterface = any\n"
        text = re.sub(r"^listen-.*$", "", text, flags=re.M)
        odd = "[rtpengine]\nlisten-udp =\nmade-up-key = 1\ntos = 8\ntos = 16\n"
        file = file_of(text.replace("[rtpengine]\n", odd, 1))
        relay = Relay.crosspoint(ports=PORTS, interfaces=(), more=[f"--config-file={file}"])
        with relay:
            said = banner(relay)
            self.assertRegex(said, r"\.conf:\d+: there is no option made-up-key; the line is ignored")
            self.assertRegex(said, r"line \d+: tos again")
            self.assertRegex(said, r"interface +default: ")
            self.assertNotIn("127.0.0.1'", relay.cli("list interfaces"))

    def test_interfaces_are_given_one_by_one_or_in_one_line_by_address_device_or_name(self):
        for given in (["pub/127.0.0.1!203.0.113.9;lan/lo"], ["pub/localhost!203.0.113.9", "lan/lo"]):
            with Relay.crosspoint(ports=PORTS, interfaces=given) as relay:
                listed = relay.cli("list interfaces")
                self.assertIn("Interface 'pub' address '127.0.0.1'", listed)
                self.assertIn("Interface 'lan' address '::1'", listed)
                self.assertIn(f"pub: 127.0.0.1, told to peers as 203.0.113.9, ports {PORTS[0]} to {PORTS[1]}", banner(relay))

    def test_refusals_speak_of_what_was_written(self):
        wrong = file_of("[rtpengine]\n\ntos = 999\n")
        stray = file_of("[rtpengine]\nlisten-ng = 127.0.0.1:0\nfoo\n")
        listen = ["-f", "-n", "127.0.0.1:0", "-i", "127.0.0.1"]
        for arguments, file, expected in [
            (["-f", "-n", "127.0.0.1:0", "-i", "198.51.100.9"], "none", "--interface=198.51.100.9: this machine does not have"),
            (["-f", "-n", "127.0.0.1:0", "-i", "0.0.0.0"], "none", "--interface=0.0.0.0: no peer can send there"),
            ([*listen, "-m", "50100", "-M", "50000"], "none", "--port-min"),
            ([*listen, "-m", "50001", "-M", "50001"], "none", "--port-max"),
            ([*listen, "--max-sessions=0"], "none", "--max-sessions"),
            (listen, wrong, f"{wrong}:3: tos"),
            (listen, stray, f"{stray}: line 3: neither"),
        ]:
            status, said = started(*arguments, file=file)
            self.assertEqual(status, 1, said)
            self.assertIn(expected, said)
            self.assertNotIn("--ng-interfaces", said)

    def test_supervisor_is_told_when_it_is_ready_and_when_it_ends(self):
        with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(f"{place}/notify")
            supervisor.settimeout(20)
            os.environ["NOTIFY_SOCKET"] = f"{place}/notify"
            try:
                relay = Relay.crosspoint(ports=PORTS)
            finally:
                del os.environ["NOTIFY_SOCKET"]
            with relay:
                self.assertIn(b"READY=1", supervisor.recv(4096))
                relay.stop()
                self.assertIn(b"STOPPING=1", supervisor.recv(4096))

    def test_two_relays_on_the_same_ports_are_told_of_each_other(self):
        with Relay.crosspoint(ports=PORTS) as first, Relay.crosspoint(ports=(PORTS[1], PORTS[1] + 50)) as second:
            self.assertIn(f"process {first.process.pid} relays on ports {PORTS[0]}-{PORTS[1]} of 127.0.0.1 too", second.said())

    def test_own_configuration_file_sets_what_rtpengine_has_no_option_for(self):
        port = free_port(socket.SOCK_STREAM)
        file = file_of(f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
        with Relay.crosspoint(ports=PORTS, more=[f"--config={file}"]):
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                self.assertIn(b"200 OK", connection.recv(4096))


if __name__ == "__main__":
    unittest.main()
