"""Calls in which nobody speaks any more end, whatever keeps them quiet: on hold, listened to, forked, without keys.

    client ── ng ── relay: --timeout=3 --silent-timeout=6 --offer-timeout=9          no media from anybody

The same of both relays (NG_RELAY=rtpengine): each line of a call has its patience, and the call that of the most patient one.
"""

import time
import unittest

from ng_client import Relay

TIMEOUT_S, SILENT_S, OFFER_S = 3, 6, 9
SLACK_S = 2.5
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


def description(port, *lines, protocol="RTP/AVP"):
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    return "\r\n".join([*head, f"m=audio {port} {protocol} 0", *lines]) + "\r\n"


class Timeouts(unittest.TestCase):
    def setUp(self):
        more = (f"--timeout={TIMEOUT_S}", f"--silent-timeout={SILENT_S}", f"--offer-timeout={OFFER_S}")
        relay = Relay.under_test(ports=(46500, 46899), more=more)
        self.addCleanup(lambda: relay.__exit__())
        self.client = relay.client()
        self.addCleanup(self.client.close)

    def ask(self, command, call, **options):
        reply = self.client.ask(command, call_id=call, **options)
        self.assertEqual(reply["result"], "ok", reply)
        return reply

    def offer(self, call, *lines, **options):
        self.ask("offer", call, from_tag="a", sdp=description(4000, *lines), **options)

    def answer(self, call, sdp, **options):
        self.ask("answer", call, from_tag="a", to_tag="b", sdp=sdp, **options)

    def record(self, call, **sources):
        offered = self.ask("subscribe request", call, to_tag="r", **sources)["sdp"]
        lines = "".join(f"m=audio {7000 + 2 * n} RTP/AVP 0\r\na=recvonly\r\n" for n in range(offered.count("m=audio")))
        self.ask("subscribe answer", call, to_tag="r", sdp=description(0).split("m=")[0] + lines)

    def test_silent_calls_end_after_the_time_of_their_most_patient_line(self):
        self.offer("plain")
        self.answer("plain", description(5000))
        self.offer("without keys", more={"transport-protocol": "UDP/TLS/RTP/SAVP", "ICE": "remove"})
        secure = description(5000, "a=setup:passive", FINGERPRINT, protocol="UDP/TLS/RTP/SAVP")
        self.answer("without keys", secure)
        self.ask("publish", "published", from_tag="p", sdp=description(4000, "a=sendonly"))
        self.offer("held", "a=sendonly")
        self.answer("held", description(5000, "a=recvonly"))
        self.offer("recorded")
        self.answer("recorded", description(5000))
        self.record("recorded", more={"from-tags": ["a", "b"]})
        self.ask("publish", "listened to", from_tag="p", sdp=description(4000, "a=sendonly"))
        self.record("listened to", from_tag="p")
        self.offer("without lines")
        self.answer("without lines", description(0))
        self.offer("unanswered")
        self.offer("forked", via_branch="z9hG4bK1")
        self.offer("forked", via_branch="z9hG4bK2")
        self.answer("forked", description(5000), via_branch="z9hG4bK1")
        waits = {
            TIMEOUT_S: ["plain", "without keys", "published"],
            SILENT_S: ["held", "recorded", "listened to", "without lines"],
            OFFER_S: ["unanswered", "forked"],
        }
        begun, ended = time.monotonic(), {}
        every = [call for calls in waits.values() for call in calls]
        while len(ended) < len(every) and time.monotonic() < begun + OFFER_S + SLACK_S:
            for call in every:
                if call not in ended and self.client.ask("query", call_id=call)["result"] == "error":
                    ended[call] = time.monotonic() - begun
            time.sleep(0.1)
        for wait, calls in waits.items():
            for call in calls:
                self.assertIn(call, ended, "it never ends")
                self.assertAlmostEqual(ended[call], wait, delta=SLACK_S, msg=call)


if __name__ == "__main__":
    unittest.main()
