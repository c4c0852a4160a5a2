"""Media through the relay, packet by packet, each side checked by libsrtp and OpenSSL, and by aiortc as a browser would.

    Party a ─ RTP | SDES | DTLS ─ relay ─ RTP | SDES | DTLS ─ Party b
      127.0.0.1 or ::1              │        127.0.0.1 or ::1
                                    └─ RTP ─ Party s (a subscriber)
    Party a ─ UDPTL ─ relay ─ UDPTL ─ Party b
    aiortc (ICE, DTLS, mux) ─ relay ─ RTP ─ Party b
"""

import itertools
import unittest

from ng_client import Relay
from ng_parties import DTLS, KINDS, PCMA, PCMU, PLAIN, SDES_80, SDES_GCM, Call, Party, await_packet, sequence_number_of

PACKETS = 20
QUIET_S = 0.1


class Media(unittest.TestCase):
    more = ()

    @classmethod
    def setUpClass(cls):
        cls.relay = Relay.under_test(ports=(47000, 47999), interfaces=("127.0.0.1", "::1"), more=cls.more)
        cls.addClassCleanup(cls.relay.__exit__)

    def setUp(self):
        self.client = self.relay.client()
        self.addCleanup(self.client.close)

    def call(self, a, b, **options):
        call = Call(self.client, a, b, **options)
        self.addCleanup(call.close)
        return call

    def assert_heard(self, sender, receiver):
        """Every packet once, in order, as it was sent."""
        await_packet(sender, receiver)
        receiver.receive_all(QUIET_S)
        refused = len(receiver.refused)
        for number in range(PACKETS):
            payload = bytes((number + at) & 0xFF for at in range(160))
            sent = sender.send(payload)
            came = receiver.receive()
            self.assertIsNotNone(came, f"packet {number} from {sender.kind} to {receiver.kind}")
            self.assertEqual(came[12:], payload)
            self.assertEqual(came[1] & 0x7F, sent[1] & 0x7F)
        self.assertEqual(receiver.receive_all(QUIET_S), [], "more came than was sent")
        self.assertEqual(len(receiver.refused), refused, "what came does not authenticate")

    def assert_both_ways(self, call):
        self.assert_heard(call.a, call.b)
        self.assert_heard(call.b, call.a)

    # ---- ports and RTCP -------------------------------------------------------------------------------------------------

    def assert_reported(self, sender, receiver):
        for _ in range(10):
            report = sender.send_report()
            came = receiver.receive(0.5, rtcp=True)
            if came:
                return self.assertEqual(came[4:8], report[4:8], "the report is not of the sender's SSRC")
        self.fail(f"no report from {sender.kind} reached {receiver.kind}; refused {[why for why, _ in receiver.refused]}")

    def test_rtcp_has_a_port_of_its_own_on_both_legs(self):
        call = self.call(Party(), Party()).join()
        self.assertEqual((call.a.rtcp_to[1], call.b.rtcp_to[1]), (call.a.rtp_to[1] + 1, call.b.rtp_to[1] + 1))
        self.assert_both_ways(call)
        self.assert_reported(call.a, call.b)
        self.assert_reported(call.b, call.a)

    def test_rtcp_is_muxed_on_both_legs(self):
        call = self.call(Party(mux=True), Party(mux=True)).join()
        self.assertTrue(call.a.relay.mux and call.b.relay.mux)
        self.assert_both_ways(call)
        self.assert_reported(call.a, call.b)
        self.assert_reported(call.b, call.a)

    def test_rtcp_is_muxed_on_one_leg_only(self):
        for a, b, offer in [(True, False, ["demux"]), (False, True, ["offer"])]:
            with self.subTest(a=a, b=b):
                call = self.call(Party(mux=a), Party(mux=b), offer={"rtcp-mux": offer}).join()
                self.assertEqual((call.a.relay.mux, call.b.relay.mux), (a, b))
                self.assert_both_ways(call)
                self.assert_reported(call.a, call.b)
                self.assert_reported(call.b, call.a)

    def test_rtcp_is_encrypted_anew_between_srtp_and_plain(self):
        # Over DTLS a port of its own would need a handshake of its own (RFC 5764 §5.1.2): there it is muxed, as everywhere in use.
        for kind in (SDES_80, SDES_GCM, DTLS):
            with self.subTest(kind=kind):
                offer = {"SDES": ["off"], "DTLS": "off", "rtcp-mux": ["demux"]}
                call = self.call(Party(kind, mux=kind == DTLS), Party(PLAIN), offer=offer).join()
                self.assert_both_ways(call)
                self.assert_reported(call.a, call.b)
                self.assert_reported(call.b, call.a)

    # ---- address families -----------------------------------------------------------------------------------------------

    def test_ipv4_and_ipv6_hear_each_other(self):
        for a, b, family in [("127.0.0.1", "::1", "IP6"), ("::1", "127.0.0.1", "IP4"), ("::1", "::1", "IP6")]:
            with self.subTest(a=a, b=b):
                call = self.call(Party(host=a), Party(host=b), offer={"address-family": family}).join()
                self.assertEqual((call.a.relay.host, call.b.relay.host), (a, b))
                self.assert_both_ways(call)

    def test_ipv6_in_srtp_and_ipv4_in_the_clear_hear_each_other(self):
        call = self.call(Party(SDES_GCM, host="::1"), Party(PLAIN), offer={"address-family": "IP4"}).join()
        self.assert_both_ways(call)

    # ---- the rollover counter -------------------------------------------------------------------------------------------

    def sent_over(self, call, count):
        """What the other side has of `count` packets each way, by their plain payload; all must arrive and authenticate."""
        for sender, receiver in ((call.a, call.b), (call.b, call.a)):
            for number in range(count):
                payload = bytes([number]) * 160
                sent = sender.send(payload)
                came = receiver.receive()
                self.assertIsNotNone(
                    came, f"{sender.kind} to {receiver.kind}, sequence number {sequence_number_of(sent)}; "
                    f"refused {[why for why, _ in receiver.refused]}")
                self.assertEqual(came[12:], payload)
            self.assertEqual(receiver.refused, [])

    def rolled_over(self, kind, b_kind=PLAIN):
        """A call in which both streams went past 65535."""
        call = self.call(Party(kind), Party(b_kind))
        call.a.sequence_number = call.b.sequence_number = 65500
        call.join()
        await_packet(call.a, call.b)
        await_packet(call.b, call.a)
        for party in (call.a, call.b):
            party.receive_all(QUIET_S)
            party.sequence_number = 65530
        self.sent_over(call, 12)
        return call

    def test_rollover_counter_is_kept_when_an_offer_repeats_the_keys(self):
        for kind in (SDES_80, SDES_GCM):
            with self.subTest(kind=kind):
                call = self.rolled_over(kind)
                call.reoffer()
                self.sent_over(call, 12)

    def test_rollover_counter_is_reset_when_an_offer_brings_a_new_key(self):
        for kind in (SDES_80, SDES_GCM):
            with self.subTest(kind=kind):
                call = self.rolled_over(kind)
                # RFC 4568 §6.4, §7.1.4: a new key begins a new cryptographic context, whose counter is zero.
                call.a.rekey()
                call.reoffer()
                await_packet(call.a, call.b)
                call.b.receive_all(QUIET_S)
                self.sent_over(call, 12)

    def test_rollover_counter_is_kept_over_dtls_when_nothing_changes(self):
        # RFC 8842 §5.5: an offer that changes nothing says actpass, or repeats the role; neither is a new association.
        for repeats in (False, True):
            with self.subTest(repeats=repeats):
                call = self.rolled_over(DTLS)
                if repeats:
                    call.a.setup = "active" if call.a.is_active() else "passive"
                call.reoffer()
                self.assertEqual(call.a.is_active(), call.a.dtls.active, "the relay changed roles")
                self.sent_over(call, 12)

    def test_stream_near_the_rollover_survives_an_offer_before_it(self):
        call = self.call(Party(SDES_80), Party(PLAIN))
        call.a.sequence_number = call.b.sequence_number = 65510
        call.join()
        await_packet(call.a, call.b)
        await_packet(call.b, call.a)
        for party in (call.a, call.b):
            party.receive_all(QUIET_S)
            party.sequence_number = 65533
        call.reoffer()
        self.sent_over(call, 12)

    # ---- orders about media ---------------------------------------------------------------------------------------------

    def test_subscriber_hears_the_party_it_subscribed_to(self):
        call = self.call(Party(), Party()).join()
        self.assert_both_ways(call)
        subscriber = Party()
        self.addCleanup(subscriber.close)
        subscribed = call.ask("subscribe request", more={"from-tag": "a", "to-tag": "s"})
        subscriber.hear(subscribed["sdp"], offered=True)
        call.ask("subscribe answer", more={"to-tag": subscribed["to-tag"]}, sdp=subscriber.describe("recvonly"))
        await_packet(call.a, subscriber)
        subscriber.receive_all(QUIET_S)
        call.b.receive_all(QUIET_S)
        for number in range(PACKETS):
            payload = bytes([number]) * 160
            call.a.send(payload)
            for receiver in (call.b, subscriber):
                came = receiver.receive()
                self.assertIsNotNone(came, "the subscriber" if receiver is subscriber else "the other party")
                self.assertEqual(came[12:], payload)
        call.b.send(b"\x11" * 160)
        self.assertEqual(call.a.receive()[12:], b"\x11" * 160)
        self.assertEqual(subscriber.receive_all(QUIET_S), [], "the subscriber hears whom it did not subscribe to")
        call.ask("unsubscribe", more={"to-tag": subscribed["to-tag"]})
        call.a.send()
        self.assertIsNotNone(call.b.receive())
        self.assertEqual(subscriber.receive_all(QUIET_S), [], "the subscriber hears after it left")

    def test_subscriber_in_srtp_hears_a_plain_party(self):
        call = self.call(Party(), Party()).join()
        subscriber = Party(SDES_80)
        self.addCleanup(subscriber.close)
        subscribed = call.ask("subscribe request", more={"from-tag": "a", "to-tag": "s", "transport-protocol": "RTP/SAVP"})
        subscriber.hear(subscribed["sdp"], offered=True)
        call.ask("subscribe answer", more={"to-tag": subscribed["to-tag"]}, sdp=subscriber.describe("recvonly"))
        self.assert_heard(call.a, subscriber)

    def test_blocked_media_is_not_heard_until_it_is_unblocked(self):
        call = self.call(Party(), Party()).join()
        self.assert_both_ways(call)
        call.ask("block media", more={"from-tag": "a", "flags": ["directional"]})
        for _ in range(PACKETS):
            call.a.send()
        self.assertEqual(call.b.receive_all(QUIET_S), [])
        self.assert_heard(call.b, call.a)
        call.ask("unblock media", more={"from-tag": "a", "flags": ["directional"]})
        self.assert_both_ways(call)

    def test_blocked_media_of_all_is_heard_by_nobody(self):
        call = self.call(Party(), Party()).join()
        self.assert_both_ways(call)
        call.ask("block media", all="all")
        for sender, receiver in ((call.a, call.b), (call.b, call.a)):
            for _ in range(PACKETS):
                sender.send()
            self.assertEqual(receiver.receive_all(QUIET_S), [])
        call.ask("unblock media", all="all")
        self.assert_both_ways(call)

    def test_silenced_media_arrives_as_silence(self):
        for payload_type, silence in ((PCMU, 0xFF), (PCMA, 0xD5)):
            with self.subTest(payload_type=payload_type):
                call = self.call(Party(payload_types=(payload_type,)), Party(payload_types=(payload_type,))).join()
                self.assert_both_ways(call)
                call.ask("silence media", more={"from-tag": "a", "flags": ["directional"]})
                for _ in range(PACKETS):
                    call.a.send()
                    self.assertEqual(set(call.b.receive()[12:]), {silence})
                self.assert_heard(call.b, call.a)
                call.ask("unsilence media", more={"from-tag": "a", "flags": ["directional"]})
                self.assert_both_ways(call)

    def test_held_party_is_heard_again_after_resume(self):
        call = self.call(Party(), Party()).join()
        self.assert_both_ways(call)
        call.offer(call.a.describe("sendonly"), tags=("a", "b"))
        call.answer(call.b.describe("recvonly"))
        self.assert_heard(call.a, call.b)
        call.reoffer()
        self.assert_both_ways(call)

    # ---- the relay twice ------------------------------------------------------------------------------------------------

    def passed_twice(self, a, b):
        """As a proxy between two calls would have it: the callee of the first is the caller of the second."""
        first, second = self.call(a, Party()), self.call(Party(), b)
        offered = first.ask("offer", sdp=a.describe(), more={"from-tag": "a"})["sdp"]
        b.hear(second.ask("offer", sdp=offered, more={"from-tag": "m"})["sdp"], offered=True)
        answered = second.ask("answer", sdp=b.describe(), more={"from-tag": "m", "to-tag": "b"})["sdp"]
        a.hear(first.ask("answer", sdp=answered, more={"from-tag": "a", "to-tag": "m"})["sdp"])

    def test_call_passes_the_relay_twice(self):
        a, b = Party(), Party()
        for _ in range(2):
            self.passed_twice(a, b)
            self.assert_heard(a, b)
            self.assert_heard(b, a)
            self.assert_reported(a, b)
            self.assert_reported(b, a)

    # ---- what is not RTP ------------------------------------------------------------------------------------------------

    FAX = ["m=image {} udptl t38", "a=T38FaxVersion:0", "a=T38FaxUdpEC:t38UDPRedundancy"]

    def fax_of(self, party):
        """The party's description with a line of fax in place of its line of audio."""
        head = party.describe().split("m=audio")[0]
        return head + "\r\n".join(self.FAX).format(party.port) + "\r\n"

    def assert_fax_passes(self, call):
        # ITU-T T.38 §9.1: sequence numbers begin with zero, so that the first datagrams look like STUN, later ones like DTLS and RTP.
        for sender, receiver in ((call.a, call.b), (call.b, call.a)):
            receiver.drain()
            for number in (0, 1, 0x0101, 0x1600, 0x7F00, 0x8000, 0x80C8):
                datagram = number.to_bytes(2, "big") + b"\x01\x06\xc0\x01\x80\x00\x00" + bytes([number & 0xFF]) * 40
                sender._send_rtp(datagram)
                came = receiver._datagram(5)
                self.assertIsNotNone(came, f"datagram {number:#06x} from {sender.kind} to {receiver.kind}")
                self.assertEqual(came[0], datagram)
                self.assertFalse(came[2], "it came to the port of RTCP")

    def test_fax_passes_datagram_by_datagram(self):
        call = self.call(Party(), Party())
        call.offer(self.fax_of(call.a))
        self.assertEqual(call.b.relay.protocol, "udptl")
        call.answer(self.fax_of(call.b))
        self.assert_fax_passes(call)

    def test_call_goes_from_speech_to_fax_and_back(self):
        for kind in (PLAIN, SDES_80):
            with self.subTest(kind=kind):
                call = self.call(Party(), Party(kind)).join()
                self.assert_both_ways(call)
                kind_of_b, call.b.kind = call.b.kind, PLAIN
                protects, call.b.protects = call.b.protects, None
                call.offer(self.fax_of(call.a), tags=("a", "b"))
                call.answer(self.fax_of(call.b))
                self.assert_fax_passes(call)
                call.b.kind, call.b.protects = kind_of_b, protects
                call.reoffer()
                self.assert_both_ways(call)

    def test_party_that_moves_to_another_port_is_heard_there(self):
        call = self.call(Party(), Party()).join()
        self.assert_both_ways(call)
        call.a.close()
        call.a = Party()
        call.reoffer()
        self.assert_both_ways(call)

    def test_three_receivers_of_a_forked_call_and_the_one_that_answers(self):
        a, losers, winner = Party(), [Party(), Party()], Party()
        for loser in losers:
            self.addCleanup(loser.close)
        call = self.call(a, winner)
        for number, party in enumerate([*losers, winner]):
            call.offer_options["via-branch"] = f"z9hG4bK{number}"
            call.offer(b=party)
        call.answer_options = {"via-branch": "z9hG4bK2"}
        call.answer()
        self.assert_both_ways(call)
        for loser in losers:
            self.assertEqual(loser.receive_all(0), [], "a party that did not answer hears the call")


def _pair_test(a_kind, b_kind):
    def test(self):
        options = {}
        if a_kind == DTLS and b_kind != DTLS:
            options["DTLS"] = "off"
        call = self.call(Party(a_kind), Party(b_kind), offer=options).join()
        self.assert_both_ways(call)

    test.__doc__ = f"{a_kind} and {b_kind} hear each other"
    return test


for _a, _b in itertools.product(KINDS, KINDS):
    _name = f"{_a} and {_b} hear each other".lower().replace(" ", "_").replace("-", "_")
    setattr(Media, f"test_{_name}", _pair_test(_a, _b))


if __name__ == "__main__":
    unittest.main()
