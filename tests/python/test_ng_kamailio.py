"""A carrier's proxy in front of the relay: Kamailio with its rtpengine module as Debian ships it, SIPp on both sides.

    SIPp caller ── SIP ── Kamailio ── SIP ── SIPp callee
         │                   │ ng                 │ sends each packet back
         └──── RTP ──── relay (or two) ──── RTP ──┘
         ear: the port that the caller's SDP names; counts what comes back through the relay

Each packet that the ear hears went both ways through the relay. Everything runs in the foreground, on loopback, from a temporary
directory, with ports of its own; nothing of the system's Kamailio is used but the program and its modules.
"""

import csv
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from ng_client import Relay, free_port

ROOT = pathlib.Path(__file__).resolve().parents[1]
CALLS, CALLS_PER_S = 1000, 50
PACKETS, PACKET_MS = 25, 20
EAR_OFFSET = 20
FIRST_SEQUENCE_NUMBER = 100
PATIENCE_S = 20


def recording():
    """A pcap of half a second of PCMA, as SIPp plays it: Ethernet, IPv4, UDP, RTP."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for number in range(PACKETS):
        rtp = struct.pack("!BBHII", 0x80, 8, FIRST_SEQUENCE_NUMBER + number, number * 160, 0xCA11) + b"\xd5" * 160
        udp = struct.pack("!HHHH", 6000, 6000, 8 + len(rtp), 0) + rtp
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + udp
        frame = b"\0" * 12 + b"\x08\x00" + ip
        at_us = number * PACKET_MS * 1000
        out.append(struct.pack("<IIII", at_us // 1_000_000, at_us % 1_000_000, len(frame), len(frame)) + frame)
    return b"".join(out)


class Ear(threading.Thread):
    """Counts the packets that come back to the caller, and the streams: each begins with the same sequence number."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(0.2)
        self.packets, self.streams, self.over = 0, 0, False
        self.start()

    def run(self):
        while not self.over:
            try:
                datagram = self.socket.recv(2048)
            except TimeoutError:
                continue
            self.packets += 1
            self.streams += struct.unpack("!H", datagram[2:4])[0] == FIRST_SEQUENCE_NUMBER
        self.socket.close()

    def stop(self):
        self.over = True
        self.join()


class Stage:
    """Kamailio and a callee that run, and callers that are sent through them."""

    def __init__(self, relays):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ng-kamailio-"))
        self.relays, self.processes = relays, []
        self.sip, self.callee, caller = (free_port() for _ in range(3))
        self.caller = caller
        self.ear_base, self.echo = even_ports(49000), even_ports(49400)
        (self.directory / "media.pcap").write_bytes(recording())
        for name in ("caller.xml", "callee.xml"):
            shutil.copy(ROOT / "sipp" / name, self.directory)
        self.control = f"unix:{self.directory}/kamcmd"
        try:
            self._start_kamailio()
            self.start(["sipp", "-sf", "callee.xml", "-i", "127.0.0.1", "-p", str(self.callee), "-mp", str(self.echo), "-rtp_echo",
                        "-nostdin", "-trace_err"], "callee")
        except BaseException:
            self.stop()
            raise

    def start(self, command, name):
        log = open(self.directory / f"{name}.log", "wb")
        process = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        self.processes.append(process)
        return process

    def _start_kamailio(self):
        nodes = " ".join(f"udp:127.0.0.1:{relay.ng_port}={weight}" for relay, weight in self.relays)
        defines = {"PORT": self.sip, "RELAYS": f'"{nodes}"', "CONTROL": f'"{self.control}"'}
        command = ["kamailio", "-DD", "-E", "-m", "64", "-M", "8", "-f", str(ROOT / "kamailio/proxy.cfg"), "-Y", str(self.directory)]
        for name, value in defines.items():
            command += ["-A", f"{name}={value}"]
        self.kamailio = self.start(command, "kamailio")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.nodes()
            except (subprocess.CalledProcessError, AssertionError):
                if self.kamailio.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError("Kamailio did not come up:\n" + self.said("kamailio")) from None
                try:
                    self.kamailio.wait(0.1)
                except subprocess.TimeoutExpired:
                    pass

    def said(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")[-4000:]

    def kamcmd(self, *arguments):
        return subprocess.run(["kamcmd", "-s", self.control, *arguments], check=True, capture_output=True, text=True, timeout=30).stdout

    def nodes(self):
        """Port of each relay, and whether Kamailio uses it."""
        shown = self.kamcmd("rtpengine.show", "all")
        found = re.findall(r"url: udp:127\.0\.0\.1:(\d+).*?disabled: (\d)", shown, re.S)
        assert found, shown
        return {int(port): disabled == "0" for port, disabled in found}

    def node(self, relay):
        return f"udp:127.0.0.1:{relay.ng_port}"

    def ping(self, relay):
        return self.kamcmd("rtpengine.ping", self.node(relay))

    def enable(self, relay, enabled):
        return self.kamcmd("rtpengine.enable", self.node(relay), str(int(enabled)))

    def callers(self, calls, rate, talk_ms, limit=600):
        """SIPp placing calls; its figures when it is done."""
        text = (ROOT / "sipp/caller.xml").read_text().replace("TALK_MS", str(talk_ms))
        (self.directory / "caller.xml").write_text(text)
        for old in self.directory.glob("figures*.csv"):
            old.unlink()
        return self.start(
            ["sipp", f"127.0.0.1:{self.sip}", "-sf", "caller.xml", "-i", "127.0.0.1", "-p", str(self.caller), "-mp", str(self.ear_base),
             "-key", "callee", f"127.0.0.1:{self.callee}", "-m", str(calls), "-r", str(rate), "-l", str(limit), "-nostdin",
             "-trace_err", "-trace_stat", "-stf", "figures.csv", "-fd", "1", "-recv_timeout", "10000"], "caller")

    def figures(self):
        with open(self.directory / "figures.csv") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        return int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])

    def placed(self, calls, rate=CALLS_PER_S, talk_ms=700, patience_s=90):
        caller = self.callers(calls, rate, talk_ms)
        caller.wait(patience_s)
        return self.figures()

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def even_ports(first):
    """The first of 30 ports that are free, for SIPp to take some and the ear one."""
    for base in range(first, first + 400, 40):
        try:
            for port in (base, base + 2, base + EAR_OFFSET):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports for media")


def until(probe, what, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not (got := probe()):
        assert time.monotonic() < deadline, f"awaited in vain: {what}"
        time.sleep(0.05)
    return got


def sessions(relay):
    client = relay.client()
    try:
        return len(client.ask("list", limit=5000)["calls"])
    finally:
        client.close()


class Kamailio(unittest.TestCase):
    def relay(self, ports, more=(), ng_port=None):
        relay = Relay.under_test(ports=ports, more=("--delete-delay=0", *more), ng_port=ng_port)
        self.addCleanup(relay.__exit__)
        return relay

    def stage(self, *relays):
        stage = Stage(relays)
        self.addCleanup(stage.stop)
        return stage

    def ear(self, stage):
        ear = Ear(stage.ear_base + EAR_OFFSET)
        self.addCleanup(ear.stop)
        return ear

    def explain(self, stage):
        errors = "".join(path.read_text(errors="replace")[:1500] for path in stage.directory.glob("*errors.log"))
        return f"{errors}\n{stage.said('kamailio')}"

    def test_thousand_calls_are_answered_heard_both_ways_and_released(self):
        relay = self.relay((47300, 48299))
        stage = self.stage((relay, 1))
        ear = self.ear(stage)
        begun = time.monotonic()
        answered, failed = stage.placed(CALLS)
        self.assertEqual((answered, failed), (CALLS, 0), self.explain(stage))
        until(lambda: sessions(relay) == 0, "all sessions to be released")
        ear.stop()
        print(f"figure: {answered} calls in {time.monotonic() - begun:.1f} s, {ear.packets} of {CALLS * PACKETS} packets heard both ways")
        self.assertEqual(ear.streams, CALLS, "calls whose first packet went both ways")
        self.assertGreaterEqual(ear.packets, CALLS * PACKETS * 0.999)
        client = relay.client()
        self.addCleanup(client.close)
        current = client.ask("statistics")["statistics"]["currentstatistics"]
        self.assertEqual(int(current["sessionstotal"]), 0, current)

    def test_relay_that_goes_away_is_disabled_and_taken_again_when_it_is_back(self):
        relay = self.relay((47300, 47399))
        stage = self.stage((relay, 1))
        self.assertEqual(stage.nodes(), {relay.ng_port: True})
        self.assertIn("success", stage.ping(relay))
        self.assertEqual(stage.placed(5), (5, 0), self.explain(stage))
        stage.enable(relay, False)
        self.assertEqual(stage.nodes(), {relay.ng_port: False})
        self.assertEqual(stage.placed(2), (0, 2), "calls went through a relay that was taken out by hand")
        stage.enable(relay, True)
        self.assertEqual(stage.placed(5), (5, 0), self.explain(stage))
        status, took_s = relay.stop()
        self.assertEqual(status, 0)
        self.assertLess(took_s, 5)
        self.assertEqual(stage.placed(2), (0, 2), "calls went through a relay that is gone")
        self.assertIn("fail", stage.ping(relay))
        self.assertEqual(stage.nodes(), {relay.ng_port: False}, "Kamailio did not notice")
        again = self.relay((47300, 47399), ng_port=relay.ng_port)
        self.assertIn("success", stage.ping(again))
        until(lambda: stage.placed(1) == (1, 0), "Kamailio to take the relay again")
        self.assertEqual(stage.nodes(), {relay.ng_port: True})
        self.assertEqual(stage.placed(5), (5, 0), self.explain(stage))
        until(lambda: sessions(again) == 0, "all sessions to be released")

    def test_second_relay_takes_the_calls_that_the_first_has_no_room_for(self):
        small = self.relay((47300, 47399), more=("--max-sessions=5",))
        large = self.relay((47400, 47599))
        # By its weight the first is asked first for nearly all calls.
        stage = self.stage((small, 100), (large, 1))
        ear = self.ear(stage)
        caller = stage.callers(20, 40, talk_ms=4000)
        until(lambda: sessions(small) + sessions(large) == 20, "twenty calls at once")
        self.assertEqual(sessions(small), 5)
        self.assertEqual(sessions(large), 15)
        caller.wait(PATIENCE_S)
        self.assertEqual(stage.figures(), (20, 0), self.explain(stage))
        self.assertEqual(stage.nodes(), {small.ng_port: True, large.ng_port: True}, "a full relay is not a dead one")
        until(lambda: sessions(small) + sessions(large) == 0, "all sessions to be released")
        self.assertEqual(ear.streams, 20)


if __name__ == "__main__":
    unittest.main()
