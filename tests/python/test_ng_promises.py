"""What a stranger can do to calls through the ng relay: nothing.

    Party a ─ RTP | SDES | DTLS ─ relay ─ RTP ─ Party b          a, b at 127.0.0.1
                                    ↑
                     Stranger at 127.0.0.9: sprays the range of media ports, replays, shakes hands first

Promise P5, and the rules about learning, DTLS, ports that rest and SDP that points where it may not. Some of these rtpengine does
not keep; those are skipped when it is the relay (NG_RELAY=rtpengine).
"""

import os
import socket
import subprocess
import time
import unittest

from ng_client import RELAY, Relay
from ng_parties import DTLS, SDES_80, SDES_GCM, Call, Dtls, Party, await_packet, outbound, rtp, sender_report
from OpenSSL import SSL

PORTS = range(47200, 47280)
STRANGER_SSRC = 0x0BADBAD0
LEARNING_WINDOW_S = 3.0
QUIET_S = 0.15
ours_only = unittest.skipIf(RELAY == "rtpengine", "rtpengine does not keep this")


class Stranger:
    """Somebody who was told nothing. What he is sent, he keeps; nothing should be."""

    def __init__(self, host="127.0.0.9"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.sequence_number = 30000

    def spray(self, to="127.0.0.1", ports=PORTS, rounds=3):
        for _ in range(rounds):
            self.sequence_number += 1
            for port in ports:
                even = port % 2 == 0
                packet = rtp(self.sequence_number, STRANGER_SSRC, b"\x66" * 160) if even else sender_report(STRANGER_SSRC)
                self.socket.sendto(packet, (to, port))

    def send(self, datagram, to):
        self.socket.sendto(datagram, to)

    def media(self):
        """RTP that came: answers to a handshake are no media."""
        got = []
        while True:
            try:
                datagram = self.socket.recv(65536)
            except BlockingIOError:
                return got
            if datagram and datagram[0] >> 6 == 2:
                got.append(datagram)


class Promises(unittest.TestCase):
    interfaces, more = ("127.0.0.1",), ()

    @classmethod
    def setUpClass(cls):
        cls.relay = Relay.under_test(ports=(PORTS[0], PORTS[-1]), interfaces=cls.interfaces, more=cls.more)
        cls.addClassCleanup(cls.relay.__exit__)

    def setUp(self):
        self.client = self.relay.client()
        self.addCleanup(self.client.close)
        self.stranger = Stranger()
        self.addCleanup(self.stranger.socket.close)

    def call(self, a, b, **options):
        call = Call(self.client, a, b, **options)
        self.addCleanup(call.close)
        return call

    def established(self, a=None, b=None, **options):
        call = self.call(a or Party(), b or Party(), **options).join()
        self.talk(call, 0.2)
        return call

    def talk(self, call, for_s, reports=True):
        """Both speak and report, every 20 ms, for a time; returns what each heard."""
        heard, end = {call.a: [], call.b: []}, time.monotonic() + for_s
        while (now := time.monotonic()) < end:
            for party in heard:
                party.send()
                if reports:
                    party.send_report()
            for party in heard:
                heard[party] += party.receive_all(max(0.0, min(0.01, end - now)))
        for party in heard:
            heard[party] += party.receive_all(QUIET_S)
        return heard

    def assert_undisturbed(self, call):
        """Each hears the other, only the other, and in full; the stranger hears nobody."""
        for sender, receiver in ((call.a, call.b), (call.b, call.a)):
            receiver.drain()
            for number in range(10):
                payload = bytes([number]) * 160
                sender.send(payload)
                came = receiver.receive()
                self.assertIsNotNone(came, f"{sender.kind} is no longer heard")
                self.assertEqual(came[12:], payload)
            self.assertEqual(receiver.receive_all(QUIET_S), [])
        self.assertEqual(self.stranger.media(), [], "the stranger is sent media")

    def assert_not_heard(self, party, what):
        """No packet with a mark of the stranger."""
        for packet in party.receive_all(QUIET_S):
            self.assertNotIn(b"\x66" * 8, packet, what)
        self.assertEqual(party.refused, [], what)

    # ---- SRTP: nothing unauthenticated is heard or followed -----------------------------------------------------------

    def forged(self, party):
        """What somebody might send who sees the packets of a party, but has no key."""
        other_key = os.urandom(30)
        packet = rtp(party.sequence_number + 1, party.ssrc, b"\x66" * 160)
        return [
            packet,
            packet + os.urandom(10),
            outbound(1, other_key).protect(packet),
            sender_report(party.ssrc),
            sender_report(party.ssrc) + os.urandom(14),
            os.urandom(200),
            b"\x80",
            b"",
        ]

    def test_forged_packets_on_an_sdes_leg_are_neither_heard_nor_followed(self):
        for kind in (SDES_80, SDES_GCM):
            with self.subTest(kind=kind):
                call = self.established(Party(kind), offer={"SDES": ["off"]})
                self.assert_undisturbed(call)
                self.disturb(call)
                call.delete()

    def test_forged_packets_on_a_dtls_leg_are_neither_heard_nor_followed(self):
        call = self.established(Party(DTLS), offer={"SDES": ["off"], "DTLS": "off"})
        self.assert_undisturbed(call)
        self.disturb(call)

    def disturb(self, call):
        for datagram in self.forged(call.a):
            for to in (call.a.rtp_to, call.a.rtcp_to):
                self.stranger.send(datagram, to)
                call.a.rtp_socket.sendto(datagram, to)
        self.assert_not_heard(call.b, "a packet without a key was heard")
        self.assert_undisturbed(call)
        if RELAY == "rtpengine":
            return  # It hears repetitions.
        # A good packet, repeated from elsewhere.
        packet = call.a.protects.protect(call.a.next_packet(b"\x12" * 160))
        call.a.rtp_socket.sendto(packet, call.a.rtp_to)
        self.assertEqual(call.b.receive()[12:], b"\x12" * 160)
        for _ in range(5):
            self.stranger.send(packet, call.a.rtp_to)
        self.assertEqual(call.b.receive_all(QUIET_S), [], "a repeated packet was heard")
        self.assert_undisturbed(call)

    def test_nothing_sprayed_is_heard_before_the_peer_of_an_sdes_leg_is_known(self):
        call = self.call(Party(SDES_80), Party(), offer={"SDES": ["off"]})
        call.offer()
        self.stranger.spray()
        self.assert_not_heard(call.b, "heard between offer and answer")
        call.answer()
        self.stranger.spray(ports=[call.a.rtp_to[1], call.a.rtcp_to[1]])
        self.assert_not_heard(call.b, "heard before the first packet of the peer")
        self.assert_undisturbed_from_the_first(call)

    def test_nothing_sprayed_is_heard_before_the_handshake_of_a_dtls_leg(self):
        call = self.call(Party(DTLS), Party(), offer={"SDES": ["off"], "DTLS": "off"})
        call.offer()
        self.stranger.spray()
        call.answer()
        for port in (call.a.rtp_to[1], call.a.rtcp_to[1]):
            self.stranger.spray(ports=[port])
            call.a.rtp_socket.sendto(rtp(1, call.a.ssrc, b"\x66" * 160), ("127.0.0.1", port))
        self.assert_not_heard(call.b, "heard before the handshake")
        # Nor does the leg send in the clear while it has no keys.
        for _ in range(5):
            call.b.send(b"\x77" * 160)
        self.assertFalse([got for got in iter(lambda: call.a._datagram(QUIET_S), None) if b"\x77" * 8 in got[0]])
        self.assertEqual(self.stranger.media(), [])
        call.a.secure()
        self.assert_undisturbed_from_the_first(call)

    def assert_undisturbed_from_the_first(self, call):
        await_packet(call.a, call.b)
        await_packet(call.b, call.a)
        self.assert_undisturbed(call)

    @ours_only
    def test_stranger_who_shakes_hands_first_gets_no_keys_and_keeps_nobody_out(self):
        call = self.call(Party(DTLS), Party(), offer={"SDES": ["off"], "DTLS": "off"}, answer={"DTLS": "passive"})
        call.offer()
        call.answer()
        self.assertTrue(call.a.is_active(), "the relay is not passive, as it was asked to be")
        early = Dtls.of_another()(active=True)
        early.step(None, lambda flight: self.stranger.send(flight, call.a.rtp_to))
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and not early.done:
            try:
                early.step(self.stranger.socket.recv(65536), lambda flight: self.stranger.send(flight, call.a.rtp_to))
            except BlockingIOError:
                call.b.receive(0.01)
        if early.done:
            # As far as the stranger can see the handshake is complete; his certificate is not that of the SDP.
            protects, _ = early.sessions()
            self.stranger.send(protects.protect(rtp(1, STRANGER_SSRC, b"\x66" * 160)), call.a.rtp_to)
        self.assert_not_heard(call.b, "the stranger is heard")
        call.a.secure()
        self.assert_undisturbed_from_the_first(call)

    @ours_only
    def test_dtls_peer_behind_nat_is_found_by_its_certificate_among_strangers(self):
        call = self.call(Party(DTLS), Party(), offer={"SDES": ["off"], "DTLS": "off"}, answer={"DTLS": "passive"})
        call.offer()
        call.answer()
        # The peer speaks from another port than its SDP says.
        said, call.a.rtp_socket = call.a.rtp_socket, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        call.a.rtp_socket.bind(("127.0.0.1", 0))
        self.addCleanup(said.close)
        another = Dtls.of_another()
        for _ in range(6):
            early = another(active=True)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.9", 0))
                early.step(None, lambda flight: stranger.sendto(flight, call.a.rtp_to))
        self.assert_not_heard(call.b, "a stranger is heard")
        call.a.secure()
        self.assert_undisturbed_from_the_first(call)

    def test_certificate_that_is_not_in_the_sdp_gets_no_media(self):
        call = self.call(Party(DTLS), Party(), offer={"SDES": ["off"], "DTLS": "off"})
        wrong = Dtls.fingerprint()[:-5] + ("00:00" if not Dtls.fingerprint().endswith("00:00") else "11:11")
        call.offer(call.a.describe().replace(Dtls.fingerprint(), wrong))
        call.answer()
        try:
            call.a.secure()
        except (AssertionError, SSL.Error):
            return  # The relay ended the handshake.
        for _ in range(5):
            call.a.send(b"\x66" * 160)
            call.b.send(b"\x77" * 160)
        self.assert_not_heard(call.b, "heard with a certificate that is not that of the SDP")
        self.assertEqual(call.a.receive_all(QUIET_S), [])

    # ---- plain legs: learning -------------------------------------------------------------------------------------------

    def test_stranger_does_not_take_over_an_established_stream(self):
        # rtpengine is taken over now and then with the other two.
        for flags in ([], ["strict source"], ["symmetric"], ["trust address"])[: 2 if RELAY == "rtpengine" else 4]:
            with self.subTest(flags=flags):
                call = self.established(offer={"flags": flags}, answer={"flags": flags})
                self.talk(call, LEARNING_WINDOW_S + 0.3)
                for _ in range(5):
                    self.stranger.spray(rounds=1)
                    self.talk(call, 0.1)
                call.b.receive_all(QUIET_S), call.a.receive_all(QUIET_S)
                self.assert_undisturbed(call)
                call.delete()

    def test_stranger_is_not_heard_where_the_source_is_strict(self):
        call = self.established(offer={"flags": ["strict source"]}, answer={"flags": ["strict source"]})
        self.talk(call, LEARNING_WINDOW_S + 0.3)
        self.stranger.spray()
        self.assert_not_heard(call.a, "a stranger is heard")
        self.assert_not_heard(call.b, "a stranger is heard")
        self.assert_undisturbed(call)

    @ours_only
    def test_stranger_does_not_take_over_the_reports_of_peers_who_send_none(self):
        call = self.established()
        call.reoffer()
        self.talk(call, LEARNING_WINDOW_S + 0.3, reports=False)
        self.stranger.spray()
        self.talk(call, 0.2, reports=False)
        self.assertEqual(self.stranger.media(), [], "the stranger is sent reports")

    @ours_only
    def test_stranger_is_not_heard_in_an_established_stream_by_default(self):
        call = self.established()
        self.talk(call, LEARNING_WINDOW_S + 0.3)
        self.stranger.spray()
        self.assert_not_heard(call.a, "a stranger is heard")
        self.assert_not_heard(call.b, "a stranger is heard")

    @ours_only
    def test_stranger_does_not_take_over_within_the_window_when_the_peer_speaks_from_where_it_said(self):
        call = self.established()
        for _ in range(20):
            self.stranger.spray(rounds=1)
            self.talk(call, 0.2)
        self.assertEqual(self.stranger.media(), [], "the stranger was sent media")
        self.assert_undisturbed(call)

    def test_peer_behind_nat_is_followed_within_the_window_and_not_after_it(self):
        """`a` speaks from another port than its SDP says, as behind NAT; later from a third."""
        call = self.established()
        before = call.a
        call.reoffer()
        behind_nat = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        behind_nat.bind(("127.0.0.1", 0))
        self.addCleanup(behind_nat.close)
        said, call.a.rtp_socket = call.a.rtp_socket, behind_nat
        self.addCleanup(said.close)
        self.talk(call, LEARNING_WINDOW_S + 0.7)
        await_packet(call.b, call.a, patience_s=0.3)
        later = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        later.bind(("127.0.0.1", 0))
        self.addCleanup(later.close)
        for _ in range(10):
            later.sendto(before.next_packet(), call.a.rtp_to)
            call.b.send()
            call.b.receive_all(0.02)
        later.setblocking(False)
        with self.assertRaises(BlockingIOError, msg="followed after the window"):
            later.recv(65536)
        call.a.drain()
        call.b.send(b"\x31" * 160)
        self.assertEqual(call.a.receive()[12:], b"\x31" * 160)

    def test_asymmetric_peer_is_sent_to_where_its_sdp_says(self):
        call = self.call(Party(), Party(), offer={"flags": ["asymmetric"]}, answer={"flags": ["asymmetric"]}).join()
        elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.setblocking(False)
        self.addCleanup(elsewhere.close)
        deadline = time.monotonic() + LEARNING_WINDOW_S + 0.7
        while time.monotonic() < deadline:
            elsewhere.sendto(call.a.next_packet(), call.a.rtp_to)
            call.b.send(b"\x41" * 160)
            came = call.a.receive(0.5)
            self.assertIsNotNone(came, "the port of the SDP is no longer sent to")
            self.assertEqual(came[12:], b"\x41" * 160)
            call.b.receive(0.02)
        with self.assertRaises(BlockingIOError, msg="an asymmetric peer was followed"):
            elsewhere.recv(65536)

    def test_media_handover_follows_the_peer_to_another_address(self):
        call = self.established(offer={"flags": ["media handover"]}, answer={"flags": ["media handover"]})
        self.talk(call, LEARNING_WINDOW_S + 0.3)
        moved = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        moved.bind(("127.0.0.1", 0))
        said, call.a.rtp_socket = call.a.rtp_socket, moved
        self.addCleanup(said.close)
        self.talk(call, 1.0)
        await_packet(call.b, call.a)

    # ---- ports ----------------------------------------------------------------------------------------------------------

    @ours_only
    def test_call_on_a_port_that_was_somebody_elses_does_not_hear_him(self):
        """The old peer speaks on after the hang-up, while new calls take half the ports there are: as long as others are free, a
        released pair rests."""
        old = self.established()
        ports = [old.a.rtp_to, old.b.rtp_to]
        self.assertEqual(old.delete()["result"], "ok")
        calls = []
        for _ in range(len(PORTS) // 8):
            call = Call(self.client, Party(), Party())
            reply = self.client.ask("offer", call_id=call.call_id, from_tag="a", sdp=call.a.describe())
            if reply["result"] == "error":
                self.assertEqual(reply["error-reason"], "Ran out of ports")
                call.a.close(), call.b.close()
                break
            self.addCleanup(call.close)
            call.b.hear(reply["sdp"])
            call.answer()
            calls.append(call)
            for party in (old.a, old.b):
                for to in ports:
                    party.rtp_socket.sendto(rtp(9, party.ssrc, b"\x66" * 160), to)
        self.assertEqual(len(calls), len(PORTS) // 8, "too few ports for the test to say anything")
        for party in (old.a, old.b):
            for to in ports:
                party.rtp_socket.sendto(rtp(10, party.ssrc, b"\x66" * 160), to)
        for call in calls:
            for party in (call.a, call.b):
                for packet in party.receive_all(0):
                    self.assertNotIn(b"\x66" * 8, packet, "a new call hears the old peer")
        old.a.drain()
        for call in calls:
            call.a.send()
            call.b.send()
        self.assertEqual(old.a.receive_all(QUIET_S), [], "the old peer hears a new call")

    @ours_only
    def test_released_port_rests(self):
        call = self.established()
        released = {call.a.rtp_to[1], call.b.rtp_to[1]}
        call.delete()
        for _ in range(5):
            following = self.call(Party(), Party()).join()
            self.assertFalse(released & {following.a.rtp_to[1], following.b.rtp_to[1]})
            following.delete()

    # ---- SDP that points where it may not -------------------------------------------------------------------------------

    def assert_refused_or_not_sent_to(self, address, port, listener):
        """An SDP with this address: refused, or no packet goes there."""
        call = self.call(Party(), Party())
        more = {"from-tag": "a", **call.offer_options}
        reply = self.client.ask("offer", call_id=call.call_id, sdp=call.a.describe(address=address, port=port), more=more)
        if reply["result"] == "error":
            return
        call.b.hear(reply["sdp"])
        reply = self.client.ask("answer", call_id=call.call_id, from_tag="a", to_tag="b", sdp=call.b.describe())
        for _ in range(10):
            call.b.send(b"\x55" * 160)
        for packet in listener(QUIET_S):
            self.assertNotIn(b"\x55" * 8, packet, f"media went to {address}:{port}")

    @ours_only
    def test_sdp_that_points_at_our_own_ports_makes_no_loop(self):
        victim = self.established(answer={"flags": []})
        for party in (victim.a, victim.b):
            host, port = party.rtp_to
            self.assert_refused_or_not_sent_to(host, port, lambda quiet: victim.a.receive_all(quiet) + victim.b.receive_all(quiet))
        self.assert_undisturbed(victim)

    @ours_only
    def test_call_whose_sdp_points_at_itself_makes_no_loop(self):
        call = self.call(Party(), Party())
        call.offer()
        reply = self.client.ask("answer", call_id=call.call_id, from_tag="a", to_tag="b",
                                sdp=call.b.describe(address=call.b.rtp_to[0], port=call.b.rtp_to[1]))
        if reply["result"] == "error":
            return
        call.a.hear(reply["sdp"])
        call.a.send()
        self.assertLess(len(call.a.receive_all(QUIET_S)) + len(call.b.receive_all(QUIET_S)), 3)

    @ours_only
    def test_sdp_that_points_at_a_multicast_group_is_refused_or_not_sent_to(self):
        group, listener = "224.0.0.251", socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind((group, 0))
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("127.0.0.1"))
        listener.settimeout(QUIET_S)

        def heard(_):
            try:
                return [listener.recv(65536)]
            except TimeoutError:
                return []

        self.assert_refused_or_not_sent_to(group, listener.getsockname()[1], heard)


def own_address():
    """An address of this machine that is not loopback; packets between it and itself do not leave the machine."""
    shown = subprocess.run(["ip", "-4", "-o", "addr", "show", "scope", "global"], capture_output=True, text=True).stdout
    return shown.split()[3].split("/")[0] if shown else None


@unittest.skipUnless(own_address(), "this machine has only loopback")
@ours_only
class PromisesElsewhere(unittest.TestCase):
    """A relay whose interface is not loopback: then SDP has no business to point at loopback, link-local addresses or groups."""

    @classmethod
    def setUpClass(cls):
        cls.host = own_address()
        cls.relay = Relay.under_test(ports=(PORTS[0], PORTS[-1]), interfaces=(cls.host,))
        cls.addClassCleanup(cls.relay.__exit__)

    def test_sdp_that_points_at_loopback_or_groups_or_nowhere_is_refused_or_not_sent_to(self):
        client = self.relay.client()
        self.addCleanup(client.close)
        for address in ("127.0.0.1", "127.0.0.9", "169.254.169.254", "224.0.0.251", "255.255.255.255", "::1", "::ffff:127.0.0.1", "fe80::1", "ff02::1"):
            with self.subTest(address):
                call = Call(client, Party(host="127.0.0.1"), Party(host=self.host))
                self.addCleanup(call.close)
                # As offered by the caller, who hears what the callee says to him.
                reply = client.ask("offer", call_id=call.call_id, from_tag="a", sdp=call.a.describe(address=address))
                if reply["result"] == "error":
                    continue
                call.b.hear(reply["sdp"])
                client.ask("answer", call_id=call.call_id, from_tag="a", to_tag="b", sdp=call.b.describe())
                for _ in range(10):
                    call.b.send()
                self.assertEqual(call.a.receive_all(QUIET_S), [], f"media went to {address}")


if __name__ == "__main__":
    unittest.main()
