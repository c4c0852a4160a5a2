"""Figures of a call in progress, as exporters and operators read them, beside those of rtpengine.

    Party a ── RTP ── rtpengine  ── RTP ── Party b
    Party a ── RTP ── crosspoint ── RTP ── Party b      statistics · list counters · list sessions · GET /metrics
"""

import re
import socket
import time
import unittest
import urllib.request

from ng_client import Relay, free_port
from ng_parties import Call, Party

TALK_S = 3.5


class Observed:
    """One relay with a call that talks for a while, and what it said meanwhile."""

    def __init__(self, start, ports):
        http = free_port(socket.SOCK_STREAM)
        with start(ports=ports, more=(f"--listen-http=127.0.0.1:{http}",)) as relay:
            client = relay.client()
            call = Call(client, Party(), Party(), call_id="observed").join()
            end = time.monotonic() + TALK_S
            while time.monotonic() < end:
                for sender, receiver in ((call.a, call.b), (call.b, call.a)):
                    sender.send()
                    receiver.receive(0.02)
            client.ask("query", call_id="observed")
            self.statistics = client.ask("statistics")["statistics"]
            self.counters = relay.cli("list counters")
            self.session = relay.cli("list sessions observed")
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=5) as reply:
                self.content_type = reply.headers["content-type"].split(";")[0]
                self.metrics = reply.read().decode()
            call.close()
            client.close()


def keys(value, path=""):
    if isinstance(value, dict):
        return {key for name, item in value.items() for key in keys(item, f"{path}/{name}")}
    if isinstance(value, list):
        return {key for item in value for key in keys(item, f"{path}[]")}
    return {path}


def samples(text):
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


class Figures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.theirs = Observed(Relay.rtpengine, (30000, 30999))
        cls.ours = Observed(Relay.crosspoint, (31000, 31999))

    def test_statistics_have_the_keys_of_rtpengine(self):
        # What rtpengine counts by type of transcoder or recording has no place where there is none of it.
        self.assertEqual(keys(self.theirs.statistics) - keys(self.ours.statistics), set())

    def test_rates_and_totals_count_what_is_relayed_now(self):
        for name, relay in (("rtpengine", self.theirs), ("crosspoint", self.ours)):
            with self.subTest(name):
                current, totals = relay.statistics["currentstatistics"], relay.statistics["totalstatistics"]
                self.assertGreater(current["packetrate"], 20)
                self.assertEqual(current["packetrate"], current["packetrate_user"])
                self.assertGreater(current["byterate"], 20 * 160)
                self.assertGreater(totals["relayedpackets"], 50)
                self.assertGreater(totals["relayedbytes"], 50 * 160)

    def test_counters_and_sessions_of_the_command_line_have_the_lines_of_rtpengine(self):
        def shape(text):
            return [re.sub(r"\b[0-9a-f]*[0-9][0-9a-f.:]*\b|, SSRC \S+|, \S+ ts$", "N", line).rstrip(" N") for line in text.splitlines()]

        self.assertEqual(shape(self.ours.counters), shape(self.theirs.counters))
        labels = [[re.split(r"[:,<]", line)[0].split("127")[0].rstrip() for line in relay.session.splitlines()] for relay in (self.ours, self.theirs)]
        self.assertEqual(labels[0], labels[1][: len(labels[0])])

    def test_metrics_have_the_names_and_labels_of_rtpengine(self):
        self.assertEqual(self.ours.content_type, self.theirs.content_type)
        ours, theirs = samples(self.ours.metrics), samples(self.theirs.metrics)
        self.assertEqual(set(theirs) - set(ours), set())
        for name in ("rtpengine_packets_total", "rtpengine_bytes_total"):
            self.assertGreater(int(ours[name + '{type="userspace"}']), 50)
        types = {line for line in self.theirs.metrics.splitlines() if line.startswith("# TYPE")}
        self.assertEqual(types - set(self.ours.metrics.splitlines()), set())


if __name__ == "__main__":
    unittest.main()
