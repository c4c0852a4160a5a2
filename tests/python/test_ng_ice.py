"""The relay as a full ICE agent: towards lite parties, and towards aiortc when asked; dual stack; trickled candidates.

    LiteParty ◀─ checks ─ relay ─ RTP ─ Party              aiortc ◀─ checks, both ways ─▶ relay ─ RTP ─ Party
"""

import re
import socket
import time
import unittest

from aiortc import RTCSessionDescription
from ng_client import Relay
from ng_ice import LiteParty
from ng_parties import DTLS, PCMU, PLAIN, SDES_80, Call, Party, await_packet
from test_ng_webrtc import Client, Phone, hear_each_other

TO_PLAIN = {"ICE": "remove", "rtcp-mux": ["demux"]}


class Joining(unittest.TestCase):
    interfaces, ports = ("127.0.0.1",), (26000, 26999)

    @classmethod
    def setUpClass(cls):
        cls.relay = Relay.under_test(ports=cls.ports, interfaces=cls.interfaces)
        cls.addClassCleanup(cls.relay.__exit__)

    def call(self, a, b, **options):
        client = self.relay.client()
        call = Call(client, a, b, **options)
        self.addCleanup(client.close)
        self.addCleanup(call.close)
        return call

    def join(self, call, lite):
        call.offer()
        call.answer()
        self.assertTrue(lite.serve(lambda: lite.nominated), f"no nomination; {len(lite.checks)} checks came")
        call.a.secure()
        call.b.secure()

    def hear(self, call):
        for sender, receiver in ((call.a, call.b), (call.b, call.a)):
            sent, came = await_packet(sender, receiver)
            self.assertEqual(came[12:], sent[12:])


class Checking(Joining):
    def test_lite_party_calls_a_plain_phone(self):
        lite = LiteParty(PLAIN)
        call = self.call(lite, Party(), offer=TO_PLAIN)
        self.join(call, lite)
        self.assertNotIn("a=ice-lite", lite.relay.sdp)
        self.hear(call)
        attributes = [attributes for _, attributes in lite.checks]
        self.assertTrue(all("ICE-CONTROLLING" in each for each in attributes), "beside a lite party the other controls")

    def test_plain_phone_calls_a_lite_party(self):
        lite = LiteParty(PLAIN)
        call = self.call(Party(), lite, offer={"ICE": "force", "rtcp-mux": ["offer"]}, answer=TO_PLAIN)
        self.join(call, lite)
        self.hear(call)

    def test_keys_of_both_kinds_behind_checks(self):
        for kind in (SDES_80, DTLS):
            with self.subTest(kind):
                lite = LiteParty(kind)
                call = self.call(lite, Party(), offer={**TO_PLAIN, "transport-protocol": "RTP/AVP"})
                self.join(call, lite)
                self.hear(call)

    def test_no_media_before_a_check_was_answered_rightly(self):
        for fault in ("mute", "password", "transaction"):
            with self.subTest(fault):
                lite, phone = LiteParty(PLAIN), Party()
                lite.fault = fault
                call = self.call(lite, phone, offer=TO_PLAIN)
                call.offer()
                call.answer()
                begun = time.monotonic()
                while time.monotonic() - begun < 1.5:
                    phone.send()
                    self.assertIsNone(lite.receive(0.05), "media to an address that has proved nothing")
                self.assertTrue(lite.checks)
                self.assertLess(len(lite.checks), 12, "checks are few while nobody answers")
                lite.fault = None
                self.assertTrue(lite.serve(lambda: lite.nominated, 12))

    def test_only_named_places_are_checked(self):
        """Nothing comes to other ports of the party, nor to the relay's own."""
        lite = LiteParty(PLAIN)
        call = self.call(lite, Party(), offer=TO_PLAIN)
        call.offer()
        call.answer()
        lite.serve(lambda: lite.nominated)
        self.assertEqual({place.fileno() for place, _ in lite.checks}, {lite.rtp_socket.fileno()})
        self.assertIsNone(Party._datagram(lite, 0))

    def test_checks_are_few_and_far_between(self):
        """A description that names twenty places of others makes the relay send a packet each 50 ms, four to a place in 3 s."""
        lite = LiteParty(PLAIN, candidate_hosts=["127.0.0.1"] + ["127.0.0.2"] * 19)
        lite.fault = "mute"
        call = self.call(lite, Party(), offer=TO_PLAIN)
        call.offer()
        begun = time.monotonic()
        call.answer()
        lite.serve(lambda: time.monotonic() > begun + 3, 4)
        took = time.monotonic() - begun
        places = [place.getsockname() for place, _ in lite.checks]
        self.assertTrue(lite.checks)
        self.assertLessEqual(len(places), took / 0.05 + 1)
        self.assertLessEqual(max(map(places.count, places)), 4)
        self.assertLessEqual(len(set(places)), 16)

    def test_candidates_that_are_trickled_after_the_answer(self):
        lite, phone = LiteParty(PLAIN), Party()
        lite.named = False
        call = self.call(lite, phone, offer=TO_PLAIN)
        call.offer()
        call.answer()
        self.assertFalse(lite.serve(lambda: lite.checks, 0.5), "nobody said where")
        reply = call.ask("offer", from_tag="a", sdp=lite.fragment(), flags=["fragment"])
        self.assertNotIn("sdp", reply)
        self.assertTrue(lite.serve(lambda: lite.nominated))
        self.hear(call)

    def test_candidates_that_overtake_their_offer(self):
        lite, phone = LiteParty(PLAIN), Party()
        lite.named = False
        call = self.call(lite, phone, offer=TO_PLAIN)
        call.ask("offer", from_tag="a", sdp=lite.fragment(), flags=["fragment", "trickle ICE"])
        self.join(call, lite)
        self.hear(call)

    def test_restart_by_a_new_offer(self):
        lite = LiteParty(PLAIN)
        call = self.call(lite, Party(), offer=TO_PLAIN)
        self.join(call, lite)
        self.hear(call)
        before = re.findall(r"a=ice-ufrag:(\S+)", lite.relay.sdp)
        lite.restart()
        lite.nominated = None
        call.reoffer()
        self.assertNotEqual(re.findall(r"a=ice-ufrag:(\S+)", lite.relay.sdp), before)
        self.assertTrue(lite.serve(lambda: lite.nominated), "checks with the new credentials")
        self.hear(call)


class DualStack(Joining):
    """An interface with both families: the party takes whichever it likes."""

    interfaces, ports = ("127.0.0.1", "::1"), (27000, 27999)

    def test_offer_names_both_families_and_the_line_one(self):
        lite = LiteParty(PLAIN)
        call = self.call(Party(), lite, offer={"ICE": "force"})
        call.offer()
        hosts = re.findall(r"a=candidate:\S+ 1 UDP \d+ (\S+) ", lite.relay.sdp)
        self.assertEqual(hosts, ["127.0.0.1", "::1"])
        self.assertEqual(lite.relay.host, "127.0.0.1")

    def test_party_that_answers_in_the_other_family_only(self):
        lite = LiteParty(PLAIN, candidate_hosts=["::1"])
        call = self.call(lite, Party(), offer=TO_PLAIN)
        self.join(call, lite)
        self.assertEqual(lite.nominated[0].family, socket.AF_INET6)
        self.hear(call)


class TwoFullAgents(unittest.IsolatedAsyncioTestCase):
    """aiortc checks us, and we check it: `ICE-lite=off`, which is what rtpengine is by default."""

    @classmethod
    def setUpClass(cls):
        cls.relay = Relay.under_test(ports=(28000, 28999), interfaces=("127.0.0.1", "::1"))
        cls.addClassCleanup(cls.relay.__exit__)

    async def asyncSetUp(self):
        self.requests = self.relay.client()
        self.addCleanup(self.requests.close)
        self.client, self.party = Client(), Party(PLAIN, payload_types=(PCMU,))
        self.addAsyncCleanup(self.client.close)

    def call(self, a, b, **options):
        call = Call(self.requests, a, b, **options)
        self.addCleanup(call.close)
        return call

    async def test_webrtc_client_calls(self):
        offer = {"ICE": "remove", "rtcp-mux": ["demux"], "DTLS": "off", "SDES": ["off"], "ICE-lite": "off"}
        call = self.call(Party(), self.party, offer=offer)
        call.offer(await self.client.described(await self.client.connection.createOffer()))
        call.answer()
        self.assertNotIn("a=ice-lite", call.a.relay.sdp)
        await self.client.connection.setRemoteDescription(RTCSessionDescription(call.a.relay.sdp, "answer"))
        await hear_each_other(self.client, Phone(self.party))

    async def test_webrtc_client_is_called(self):
        offer = {"transport-protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "rtcp-mux": ["offer", "require"],
                 "SDES": ["off"], "flags": ["generate mid"], "ICE-lite": "off"}
        answer = {"transport-protocol": "RTP/AVP", "ICE": "remove", "rtcp-mux": ["demux"]}
        call = self.call(self.party, Party(), offer=offer, answer=answer)
        call.offer()
        self.assertNotIn("a=ice-lite", call.b.relay.sdp)
        await self.client.connection.setRemoteDescription(RTCSessionDescription(call.b.relay.sdp, "offer"))
        call.answer(await self.client.described(await self.client.connection.createAnswer()))
        await hear_each_other(self.client, Phone(self.party))

    async def test_roles_that_conflict_are_settled(self):
        """RFC 8445 §7.3.1.1: aiortc offers, so it controls; told otherwise, one of the two gives in."""
        offer = {"ICE": "remove", "rtcp-mux": ["demux"], "DTLS": "off", "SDES": ["off"], "ICE-lite": "off"}
        call = self.call(Party(), self.party, offer=offer)
        call.offer(await self.client.described(await self.client.connection.createOffer()))
        call.answer()
        await self.client.connection.setRemoteDescription(RTCSessionDescription(call.a.relay.sdp, "answer"))
        for transceiver in self.client.connection.getTransceivers():
            transceiver.sender.transport.transport._connection.ice_controlling = False
        await hear_each_other(self.client, Phone(self.party))


if __name__ == "__main__":
    unittest.main()
