"""A client made of aiortc (libsrtp, OpenSSL, its own ICE) and nothing of ours.

Input: command line; the test ends it by closing its standard input. Output: one line of JSON for each thing that happened, on
standard output: registered, incoming, accepted, heard (the tone, each second), ended. It speaks the client protocol itself.
"""

import argparse
import array
import asyncio
import fractions
import json
import math
import sys

import aioice.ice
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame
from websockets.asyncio.client import connect

RATE_HZ = 48000
FRAME_SAMPLES = 960

# The library leaves loopback out of its candidates; here there is nothing else.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


class Tone(MediaStreamTrack):
    """A sine of `hz`, in real time."""

    kind = "audio"

    def __init__(self, hz):
        super().__init__()
        self.hz = hz
        self.sample = 0
        self.begun = None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.begun = self.begun or loop.time()
        await asyncio.sleep(max(0, self.begun + self.sample / RATE_HZ - loop.time()))
        step = 2 * math.pi * self.hz / RATE_HZ
        samples = array.array("h", (int(10000 * math.sin(step * (self.sample + i))) for i in range(FRAME_SAMPLES)))
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(samples.tobytes())
        frame.pts, frame.sample_rate, frame.time_base = self.sample, RATE_HZ, fractions.Fraction(1, RATE_HZ)
        self.sample += FRAME_SAMPLES
        return frame


async def listen(track):
    """Tells the frequency heard in each second, by the rising zero crossings of the first channel."""
    rises, last, counted = 0, 0, 0
    while True:
        frame = await track.recv()
        channels = len(frame.layout.channels)
        for sample in array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])[::channels]:
            rises += last < 0 <= sample
            last = sample
        counted += frame.samples
        if counted >= frame.sample_rate:
            say("heard", hz=rises * frame.sample_rate / counted)
            rises, counted = 0, 0


class Phone:
    def __init__(self, socket, options):
        self.socket = socket
        self.options = options
        self.connection = RTCPeerConnection()
        self.connection.addTrack(Tone(options.hz))
        self.connection.on("track", lambda track: setattr(self, "ear", asyncio.ensure_future(listen(track))))

    async def send(self, kind, **payload):
        await self.socket.send(json.dumps({"type": kind, "payload": payload, "version": "1.6"}))

    async def run(self):
        await self.send("listen", token=self.options.token, browserinfo={}, reconnectTimeout=0)
        async for text in self.socket:
            if not text.strip():
                await self.socket.send("\n")
                continue
            frame = json.loads(text)
            if await self.handle(frame["type"], frame.get("payload") or {}):
                return

    async def handle(self, kind, payload):
        if kind == "connected":
            await self.send("register", media={"audio": True})
        elif kind == "ready":
            say("registered")
            if self.options.call:
                await self.place()
        elif kind == "invite":
            say("incoming", sender=payload["parameters"]["From"])
            await self.connection.setRemoteDescription(RTCSessionDescription(payload["sdp"], "offer"))
            await self.connection.setLocalDescription(await self.connection.createAnswer())
            await self.send("answer", callsid=payload["callsid"], sdp=self.connection.localDescription.sdp)
            say("accepted")
        elif kind == "answer":
            await self.connection.setRemoteDescription(RTCSessionDescription(payload["sdp"], "answer"))
            say("accepted")
        elif kind in ("hangup", "cancel", "error"):
            say("ended", how=kind, error=payload.get("error"))
            return True
        return False

    async def place(self):
        await self.connection.setLocalDescription(await self.connection.createOffer())
        await self.send("invite", callsid="TJSaiortc", sdp=self.connection.localDescription.sdp,
                        twilio={"params": "To=client%3A" + self.options.call})


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--hz", type=int, required=True)
    parser.add_argument("--call", help="the client to call; without it, calls are awaited and accepted")
    options = parser.parse_args()
    async with connect(options.url) as socket:
        phone = Phone(socket, options)
        talking = asyncio.ensure_future(phone.run())
        closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.wait([talking, closed], return_when=asyncio.FIRST_COMPLETED)
        await phone.connection.close()
        if talking.done():
            talking.result()


if __name__ == "__main__":
    asyncio.run(main())
