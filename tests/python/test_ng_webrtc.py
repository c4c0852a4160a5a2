"""A WebRTC client in front of the relay and a plain RTP phone behind it: ICE, DTLS-SRTP and RTCP mux on one side, none on the other.

    aiortc ─ UDP/TLS/RTP/SAVPF, ICE ─ relay ─ RTP/AVP ─ Party

Each plays a sine of its own and must hear the other's: 440 Hz goes to the phone, 700 Hz to the client.
"""

import array
import asyncio
import itertools
import math
import threading
import time
import unittest

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc_phone import Tone
from ng_client import Relay
from ng_parties import PCMU, PLAIN, Call, Party

CLIENT_HZ, PHONE_HZ = 440, 700
FRAME_SAMPLES, RATE_HZ = 160, 8000
HEARD_S = 1.0
PATIENCE_S = 20


def ulaw(sample):
    """ITU-T G.711 §3, from 16 bits."""
    sign, sample = (0x80, -sample) if sample < 0 else (0, sample)
    sample = min(sample, 32635) + 132
    exponent = sample.bit_length() - 8
    return ~(sign | exponent << 4 | sample >> exponent + 3 & 0x0F) & 0xFF


def linear(code):
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132 << (code >> 4 & 7)) - 132
    return -magnitude if code & 0x80 else magnitude


def frequency(samples, rate_hz):
    rises = sum(last < 0 <= sample for last, sample in zip(samples, samples[1:]))
    return rises * rate_hz / len(samples)


class Phone(threading.Thread):
    """Plays its tone in real time and keeps what it hears, until it heard enough."""

    def __init__(self, party):
        super().__init__(daemon=True)
        self.party, self.heard, self.over = party, [], threading.Event()

    def run(self):
        begun = time.monotonic()
        for frame in itertools.count():
            step = 2 * math.pi * PHONE_HZ / RATE_HZ
            first = frame * FRAME_SAMPLES
            self.party.send(bytes(ulaw(int(10000 * math.sin(step * (first + at)))) for at in range(FRAME_SAMPLES)), PCMU)
            while not self.over.is_set() and (left := begun + (frame + 1) * 0.02 - time.monotonic()) > 0:
                packet = self.party.receive(left)
                if packet and packet[1] & 0x7F == PCMU:
                    self.heard += map(linear, packet[12:])
            if self.over.is_set():
                return

    def hz(self):
        """Of the last second; None before there is one."""
        wanted = int(HEARD_S * RATE_HZ)
        return frequency(self.heard[-wanted:], RATE_HZ) if len(self.heard) >= wanted else None


class Client:
    """aiortc with a tone, and the frequency of what it hears."""

    def __init__(self):
        self.connection, self.hz, self.ears = RTCPeerConnection(), None, []
        self.connection.addTrack(Tone(CLIENT_HZ))
        self.connection.on("track", lambda track: self.ears.append(asyncio.ensure_future(self.listen(track))))

    async def listen(self, track):
        samples = []
        while True:
            frame = await track.recv()
            samples += array.array("h", bytes(frame.planes[0])[: frame.samples * len(frame.layout.channels) * 2])[:: len(frame.layout.channels)]
            if len(samples) >= HEARD_S * frame.sample_rate:
                self.hz, samples = frequency(samples, frame.sample_rate), []

    async def described(self, description):
        await self.connection.setLocalDescription(description)
        return self.connection.localDescription.sdp

    async def close(self):
        for ear in self.ears:
            ear.cancel()
        await self.connection.close()


async def hear_each_other(client, phone):
    phone.start()
    deadline = time.monotonic() + PATIENCE_S
    right = lambda hz, wanted: hz is not None and abs(hz - wanted) < 0.05 * wanted
    try:
        while not (right(client.hz, PHONE_HZ) and right(phone.hz(), CLIENT_HZ)):
            assert time.monotonic() < deadline, (
                f"the client ({client.connection.iceConnectionState}, {client.connection.connectionState}) heard {client.hz} Hz, "
                f"the phone {phone.hz()} Hz")
            await asyncio.sleep(0.05)
    finally:
        phone.over.set()
        phone.join(5)


class WebRtc(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.relay = Relay.under_test(ports=(29000, 29999))
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

    async def test_webrtc_client_calls_a_plain_phone(self):
        offer = {"ICE": "remove", "rtcp-mux": ["demux"], "DTLS": "off", "SDES": ["off"], "replace": ["origin"]}
        call = self.call(Party(), self.party, offer=offer)
        sdp = await self.client.described(await self.client.connection.createOffer())
        call.offer(sdp)
        for absent in ("a=candidate", "a=ice-", "a=fingerprint", "a=crypto", "a=rtcp-mux", "a=setup"):
            self.assertNotIn(absent, self.party.relay.sdp)
        call.answer()
        await self.client.connection.setRemoteDescription(RTCSessionDescription(call.a.relay.sdp, "answer"))
        await hear_each_other(self.client, Phone(self.party))

    async def test_plain_phone_calls_a_webrtc_client(self):
        offer = {"transport-protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "rtcp-mux": ["offer", "require"],
                 "SDES": ["off"], "flags": ["generate mid"]}
        answer = {"transport-protocol": "RTP/AVP", "ICE": "remove", "rtcp-mux": ["demux"]}
        call = self.call(self.party, Party(), offer=offer, answer=answer)
        call.offer()
        await self.client.connection.setRemoteDescription(RTCSessionDescription(call.b.relay.sdp, "offer"))
        call.answer(await self.client.described(await self.client.connection.createAnswer()))
        await hear_each_other(self.client, Phone(self.party))

    async def test_webrtc_client_is_heard_on_after_a_new_offer_that_changes_nothing(self):
        call = self.call(Party(), self.party, offer={"ICE": "remove", "rtcp-mux": ["demux"], "DTLS": "off", "SDES": ["off"]})
        sdp = await self.client.described(await self.client.connection.createOffer())
        call.offer(sdp)
        call.answer()
        await self.client.connection.setRemoteDescription(RTCSessionDescription(call.a.relay.sdp, "answer"))
        await hear_each_other(self.client, Phone(self.party))
        call.offer(sdp, tags=("a", "b"))
        call.answer()
        self.client.hz = None
        await hear_each_other(self.client, Phone(self.party))


if __name__ == "__main__":
    unittest.main()
