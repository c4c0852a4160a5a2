/**
 * Calls with pictures between two browsers: frames both ways, key frames on request, and each way of them switched off and on.
 *
 *   Chromium, fake camera, 440 Hz ── ws, SRTP ── crosspoint ── ws, SRTP ── Chromium, fake camera, 1000 Hz
 *   (a bare RTCPeerConnection: the SDKs are for voice)
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { closePages, openBrowser, openPage, Server, tokenFor, until } from './harness.mjs';
import { assertHears } from './sound.mjs';

const HZ = { alice: 440, bob: 1000 };
/** The fake camera gives 20 frames a second; a busy machine encodes fewer. */
const FRAMES_PER_SECOND_MIN = 5;
/** Frames under way when their sender stops. */
const FRAMES_LATE_MAX = 3;

let browsers;
let server;
before(async () => {
  server = await Server.start();
  browsers = { alice: await openBrowser(HZ.alice), bob: await openBrowser(HZ.bob) };
});
after(async () => {
  await Promise.all(Object.values(browsers ?? {}).map((browser) => browser.close()));
  await server?.stop();
});

afterEach(() => closePages(Object.values(browsers)));

/**
 * Runs in the page: a client without an SDK. Calls are made by `phone.dial`, answered at once; `phone.face` sets what this side does
 * with its pictures and describes itself anew. What was said is in `phone.said`.
 */
async function startPhone([url, token, camera, takesOffers]) {
  const phone = { said: [], callsid: 'TJS-video', camera };
  window.phone = phone;
  const socket = new WebSocket(url);
  const send = (type, payload) => {
    phone.said.push(`> ${type}`);
    socket.send(JSON.stringify({ type, payload, version: '1.6' }));
  };
  const await_ = (type) => new Promise((resolve) => { phone.awaited = { type, resolve }; });
  const connect = async () => {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240, frameRate: 20 } });
    phone.connection = new RTCPeerConnection();
    phone.track = media.getVideoTracks()[0];
    phone.connection.addTrack(media.getAudioTracks()[0], media);
    if (phone.camera) phone.connection.addTrack(phone.track, media);
    // A browser that nobody watches or listens to does not decode.
    phone.connection.ontrack = ({ track }) => {
      const screen = document.body.appendChild(Object.assign(document.createElement(track.kind), { muted: true, autoplay: true }));
      screen.srcObject = new MediaStream([track]);
    };
    return phone.connection;
  };
  const answer = async ({ callsid, sdp }) => {
    const connection = phone.connection ?? await connect();
    await connection.setRemoteDescription({ type: 'offer', sdp });
    await connection.setLocalDescription();
    send('answer', { callsid, sdp: connection.localDescription.sdp });
  };
  const hear = {
    invite: (payload) => { phone.callsid = payload.callsid; return answer(payload); },
    // An offer that crosses ours is not answered; ours is.
    reinvite: (payload) => (phone.connection.signalingState === 'stable' ? answer(payload) : undefined),
    answer: ({ callsid, sdp }) => { phone.callsid = callsid; return phone.connection.setRemoteDescription({ type: 'answer', sdp }); },
  };
  socket.onmessage = async ({ data }) => {
    if (data.trim() === '') { socket.send(data); return; }
    const { type, payload } = JSON.parse(data);
    phone.said.push(`< ${type}${payload.error ? ` ${JSON.stringify(payload.error)}` : ''}`);
    await hear[type]?.(payload);
    if (phone.awaited?.type === type) phone.awaited.resolve();
  };
  const describe = async (type, more) => {
    await phone.connection.setLocalDescription();
    const answered = await_('answer');
    send(type, { callsid: phone.callsid, sdp: phone.connection.localDescription.sdp, ...more });
    await answered;
  };
  phone.dial = async (to) => { await connect(); await describe('invite', { twilio: { params: `To=client:${to}` } }); };
  const pictures = () => phone.connection.getTransceivers().find(({ receiver }) => receiver.track.kind === 'video');
  phone.face = (direction) => { pictures().direction = direction; return describe('reinvite'); };
  phone.direction = () => pictures().currentDirection;
  phone.hangUp = () => { send('hangup', { callsid: phone.callsid }); socket.close(); phone.connection.close(); };
  phone.statistics = async () => {
    const all = [...(await phone.connection.getStats()).values()].filter(({ kind }) => kind === 'video');
    const of = (type) => all.filter((each) => each.type === type).reduce((sum, each) => ({
      frames: sum.frames + (each.framesDecoded ?? each.framesEncoded ?? 0), plis: sum.plis + (each.pliCount ?? 0),
      keyFrames: sum.keyFrames + (each.keyFramesDecoded ?? each.keyFramesEncoded ?? 0),
    }), { frames: 0, plis: 0, keyFrames: 0 });
    return { received: of('inbound-rtp'), sent: of('outbound-rtp') };
  };
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
  const ready = await_('ready');
  send('listen', { token, reconnectTimeout: 10, reinvite: takesOffers });
  send('register', { media: { audio: true } });
  await ready;
}

class Phone {
  static async open(name, { camera = true, takesOffers = true } = {}) {
    const phone = Object.assign(new Phone(), { name, page: await openPage(browsers[name], { permissions: ['microphone', 'camera'] }) });
    await phone.page.goto(`${server.url}/healthz`);
    await phone.page.evaluate(startPhone, [`ws://127.0.0.1:${server.http}/signal`, tokenFor(name), camera, takesOffers]);
    return phone;
  }

  do(method, ...parameters) {
    return this.page.evaluate(([name, list]) => window.phone[name](...list), [method, parameters]);
  }

  async story() {
    return `${this.name} said ${JSON.stringify(await this.page.evaluate(() => window.phone.said))} ${JSON.stringify(this.page.said)}; server:\n${server.log}`;
  }

  /** Waits until this many more frames have been decoded than `since` says. */
  async sees(frames, since) {
    const { received: before } = since ?? await this.do('statistics');
    await until(
      async () => `${frames} frames after ${JSON.stringify(before)}; ${JSON.stringify(await this.do('statistics'))}; ${await this.story()}`,
      async () => (await this.do('statistics')).received.frames - before.frames >= frames,
    );
  }

  /** Waits until both ends of the leg agree on this direction for pictures. */
  faces(direction) {
    return until(
      async () => `pictures ${direction}, not ${await this.do('direction')}; ${await this.story()}`,
      async () => await this.do('direction') === direction,
    );
  }
}

async function call(options = {}) {
  const bob = await Phone.open('bob', options.bob);
  const alice = await Phone.open('alice', options.alice);
  await alice.do('dial', 'bob');
  return { alice, bob };
}

/** Frames that each decodes in this many seconds. */
async function framesOf(phones, seconds) {
  const count = () => Promise.all(phones.map(async (phone) => (await phone.do('statistics')).received.frames));
  const earlier = await count();
  await pause(1000 * seconds);
  return (await count()).map((frames, each) => frames - earlier[each]);
}

async function assertVoices(alice, bob, seconds) {
  await Promise.all([assertHears(alice.page, HZ.bob, seconds, 'alice'), assertHears(bob.page, HZ.alice, seconds, 'bob')]);
}

test('both see the other for several seconds', async () => {
  const { alice, bob } = await call();
  await Promise.all([alice.sees(1), bob.sees(1)]);
  const frames = await framesOf([alice, bob], 5);
  for (const each of frames) assert.ok(each >= 5 * FRAMES_PER_SECOND_MIN, `only ${frames} frames in five seconds`);
  await assertVoices(alice, bob, 2);
  console.log(`figure: ${frames.join(' and ')} frames decoded in five seconds`);
});

test('a request for a key frame reaches the camera on the other side and is answered', async () => {
  // Alice is not told that bob looks away, and sends on; when he looks again he is in the middle of her stream.
  const { alice, bob } = await call({ alice: { takesOffers: false } });
  await Promise.all([alice.sees(10), bob.sees(10)]);
  const { sent: before } = await alice.do('statistics');
  await bob.do('face', 'sendonly');
  await alice.sees(10);
  await bob.do('face', 'sendrecv');
  await bob.sees(10);
  const { sent: after } = await alice.do('statistics');
  assert.ok(after.plis > before.plis, `her camera was not asked: ${JSON.stringify({ before, after })}`);
  assert.ok(after.keyFrames > before.keyFrames, `it gave no key frame: ${JSON.stringify({ before, after })}`);
});

const MIRRORED = { sendrecv: 'sendrecv', sendonly: 'recvonly', recvonly: 'sendonly', inactive: 'inactive' };

for (const side of ['alice', 'bob']) {
  test(`${side === 'alice' ? 'the caller' : 'the callee'} turns pictures to recvonly, inactive, sendonly and back, and the voices go on`, async () => {
    const phones = await call();
    const [who, other] = side === 'alice' ? [phones.alice, phones.bob] : [phones.bob, phones.alice];
    await Promise.all([who.sees(1), other.sees(1)]);
    const voices = assertVoices(phones.alice, phones.bob, 10);
    for (const direction of ['recvonly', 'inactive', 'sendonly', 'sendrecv']) {
      await who.do('face', direction);
      await Promise.all([who.faces(direction), other.faces(MIRRORED[direction])]);
      const [receives, sends] = [/recv/.test(direction), /send/.test(direction)];
      await Promise.all([receives && who.sees(10), sends && other.sees(10)]);
      const [seen, shown] = await framesOf([who, other], 1);
      assert.equal(seen > FRAMES_LATE_MAX, receives, `${side} ${direction}: it sees ${seen} frames; ${await who.story()}`);
      assert.equal(shown > FRAMES_LATE_MAX, sends, `${side} ${direction}: the other sees ${shown} frames; ${await other.story()}`);
    }
    await voices;
  });
}

test('a callee without a camera is seen to have none and sees the caller', async () => {
  const { alice, bob } = await call({ bob: { camera: false } });
  await Promise.all([alice.faces('sendonly'), bob.faces('recvonly')]);
  await bob.sees(10);
  assert.equal((await alice.do('statistics')).received.frames, 0);
  await assertVoices(alice, bob, 2);
});
