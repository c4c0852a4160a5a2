"""The relay's control plane is killed in the middle of calls and started anew; proxies go on as if nothing had been.

    Party a ── RTP | SRTP ── dataplane ── RTP | SRTP ── Party b
                                │ what the calls are is kept beside their legs
    client ── ng ── control ✗ … control

Ours only: rtpengine keeps its calls in Redis for this, and its media stops meanwhile.
"""

import time
import unittest

from ng_client import Relay, free_port
from ng_parties import DTLS, PLAIN, SDES_80, Call, Party, await_packet

QUIET_S = 0.1


class Restart(unittest.TestCase):
    def setUp(self):
        self.ng_port = free_port()
        self.relay = Relay.crosspoint(ports=(46000, 46499), ng_port=self.ng_port)
        self.addCleanup(lambda: self.relay.__exit__())
        self.client = self.relay.client()
        self.addCleanup(self.client.close)

    def call(self, a, b, **options):
        call = Call(self.client, a, b, **options)
        self.addCleanup(call.close)
        return call

    def kill(self):
        # What is known of a call goes to the dataplane just behind the reply; with the next reply it is there.
        self.client.ask("ping")
        self.relay.process.kill()
        self.relay.process.wait()
        self.relay.log.close()

    def start(self):
        self.relay = Relay.crosspoint(ports=(46000, 46499), ng_port=self.ng_port, data=self.relay.data)

    def assert_both_ways(self, call):
        for sender, receiver in ((call.a, call.b), (call.b, call.a)):
            await_packet(sender, receiver)
            receiver.receive_all(QUIET_S)
            for number in range(10):
                payload = bytes([number]) * 160
                sender.send(payload)
                self.assertEqual(receiver.receive()[12:], payload)
            self.assertEqual(receiver.refused, [])

    def test_calls_go_on_and_are_queried_offered_anew_and_deleted(self):
        for kind in (PLAIN, SDES_80, DTLS):
            with self.subTest(kind=kind):
                options = {"DTLS": "off"} if kind == DTLS else {}
                call = self.call(Party(kind), Party(), offer=options).join()
                self.assert_both_ways(call)
                before = self.client.ask("query", call_id=call.call_id)
                self.kill()
                self.assert_both_ways(call)
                self.start()
                self.assertIn(call.call_id, self.client.ask("list")["calls"])
                after = self.client.ask("query", call_id=call.call_id)
                self.assertEqual(set(after["tags"]), set(before["tags"]))
                self.assertEqual(after["created"], before["created"])
                self.assertGreater(after["totals"]["RTP"]["packets"], before["totals"]["RTP"]["packets"])
                self.assert_both_ways(call)
                told = call.a.rtp_to, call.b.rtp_to
                call.reoffer()
                self.assertEqual((call.a.rtp_to, call.b.rtp_to), told, "other ports")
                self.assert_both_ways(call)
                reply = call.delete()
                self.assertEqual((reply["result"], reply.get("warning")), ("ok", None))
                call.b.drain()
                call.a.send()
                self.assertIsNone(call.b.receive(QUIET_S))

    def test_hang_up_works_within_three_seconds_of_the_return(self):
        calls = [self.call(Party(), Party()).join() for _ in range(20)]
        self.kill()
        begun = time.monotonic()
        self.start()
        for call in calls:
            self.assertEqual(call.delete().get("warning"), None)
        self.assertLess(time.monotonic() - begun, 3)
        self.assertEqual(self.client.ask("list")["calls"], [])

    def test_offer_that_was_not_answered_yet_is_answered_after_the_restart(self):
        call = self.call(Party(SDES_80), Party())
        call.offer()
        self.kill()
        self.start()
        call.answer()
        self.assert_both_ways(call)

    def test_delete_under_way_is_carried_out_after_the_restart(self):
        call = self.call(Party(), Party()).join()
        self.client.ask("delete", call_id=call.call_id, from_tag="a", delete_delay=4)
        self.kill()
        self.start()
        self.assertIn(call.call_id, self.client.ask("list")["calls"])
        deadline = time.monotonic() + 6
        while call.call_id in self.client.ask("list")["calls"]:
            self.assertLess(time.monotonic(), deadline, "it is never carried out")
            call.a.receive(0.2)
        call.ended = True


if __name__ == "__main__":
    unittest.main()
