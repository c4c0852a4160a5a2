/** Device and Call against a fake bridge: registration, tokens, each end of a call, reconnection, hold. */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import * as sdk from '../sdk/crosspoint.js';
import { FakeClock, FakeConnection, FakeStream, fakeSockets } from './fakes.mjs';

const { Device } = sdk;

/** Lets promises settle. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

function makeDevice(options = {}) {
  const clock = new FakeClock();
  const sockets = fakeSockets();
  const streams = [];
  const device = new Device('token-1', {
    signalUrl: 'ws://bridge/signal', clock, WebSocket: sockets.Socket, RTCPeerConnection: FakeConnection, logLevel: 'silent',
    enumerateDevices: async () => [],
    getUserMedia: async () => {
      streams.push(new FakeStream());
      return streams.at(-1);
    },
    ...options,
  });
  const events = [];
  for (const name of ['registering', 'registered', 'unregistered', 'error', 'tokenWillExpire']) {
    device.on(name, (argument) => events.push(name === 'error' ? `error ${argument.code}` : name));
  }
  return { clock, sockets, streams, device, events };
}

function welcome(socket, ttl = 3600) {
  socket.open();
  socket.message('connected', { region: 'local', gateway: 'gw-1', token: { identity: 'alice', ttl } });
}

async function registered(options) {
  const made = makeDevice(options);
  const done = made.device.register();
  welcome(made.sockets.last);
  made.sockets.last.message('ready', {});
  await done;
  return made;
}

/** @returns an outgoing call that waits for ringing */
async function dialled(options) {
  const made = await registered(options);
  const call = await made.device.connect({ params: { To: 'client:bob', room: '1 & 2' } });
  const events = record(call);
  await settle();
  return { ...made, call, callEvents: events, connection: FakeConnection.all.at(-1) };
}

async function answered(options) {
  const made = await dialled(options);
  made.sockets.last.message('ringing', { callsid: 'CA1' });
  made.sockets.last.message('answer', { callsid: 'CA1', sdp: 'v=0', reconnect: 'reconnect-token' });
  await settle();
  return made;
}

async function ringing(options) {
  const made = await registered(options);
  let call;
  made.device.once('incoming', (incoming) => { call = incoming; });
  made.sockets.last.message('invite', {
    callsid: 'CA2', sdp: 'v=0', reconnect: 'reconnect-token', parameters: { From: 'client:bob', To: 'client:alice', AccountSid: 'AC1', Params: 'room=1%20%26+2' },
  });
  return { ...made, call, callEvents: record(call) };
}

function record(call) {
  const events = [];
  for (const name of ['ringing', 'accept', 'cancel', 'reject', 'disconnect', 'error', 'reconnecting', 'reconnected', 'mute', 'hold', 'messageReceived', 'messageSent', 'warning']) {
    call.on(name, (argument) => events.push(name === 'error' ? `error ${argument.code}` : name));
  }
  return events;
}

test('the_entry_exports_what_the_types_promise', () => {
  assert.deepEqual(Object.keys(sdk).sort(), ['Call', 'CrosspointError', 'Device', 'InvalidArgumentError', 'InvalidStateError', 'NotSupportedError', 'PreflightTest', 'knownErrors']);
});

test('register_resolves_when_the_bridge_is_ready', async () => {
  const { device, events, sockets } = await registered();
  assert.deepEqual(events, ['registering', 'registered']);
  assert.deepEqual(sockets.last.sentOf('register'), [{ media: { audio: true } }]);
  assert.deepEqual([device.identity, device.region, device.gateway], ['alice', 'local', 'gw-1']);
  device.destroy();
});

test('register_rejects_when_the_token_is_refused_and_works_again_with_a_new_one', async () => {
  const { device, sockets } = makeDevice();
  const refused = assert.rejects(device.register(), { code: 20104, name: 'AccessTokenExpired' });
  sockets.last.open();
  sockets.last.message('error', { error: { code: 20104, message: 'expired' } });
  await refused;
  device.updateToken('token-2');
  const done = device.register();
  sockets.last.message('connected', { token: { identity: 'alice', ttl: 60 } });
  sockets.last.message('ready', {});
  await done;
  device.destroy();
});

test('a_token_is_taken_without_the_line_end_that_it_was_pasted_with', () => {
  const { device } = makeDevice();
  device.updateToken(' token-2\n');
  assert.equal(device.token, 'token-2');
});

test('register_rejects_when_the_token_does_not_allow_incoming_calls', async () => {
  const { device, sockets } = makeDevice();
  const refused = assert.rejects(device.register(), { code: 31201 });
  welcome(sockets.last);
  sockets.last.message('error', { error: { code: 31201, message: 'The token does not allow incoming calls' } });
  await refused;
  assert.equal(device.state, 'unregistered');
  device.destroy();
});

test('register_goes_on_trying_while_the_bridge_is_away', async () => {
  const { clock, device, events, sockets } = makeDevice();
  const done = device.register();
  sockets.last.close(1006);
  clock.advance(100);
  welcome(sockets.last);
  sockets.last.message('ready', {});
  await done;
  assert.deepEqual(events, ['registering', 'unregistered', 'error 31005', 'registering', 'registered']);
  device.destroy();
});

test('an_expired_token_ends_the_registration_and_a_new_one_brings_it_back', async () => {
  const { device, sockets } = await registered();
  sockets.last.message('error', { error: { code: 20104 } });
  assert.equal(device.state, 'unregistered');
  device.updateToken('token-2');
  sockets.last.message('connected', { token: { identity: 'alice', ttl: 60 } });
  sockets.last.message('ready', {});
  assert.equal(device.state, 'registered');
  device.destroy();
});

test('token_will_expire_comes_ten_seconds_before_and_is_moved_by_a_new_token', async () => {
  const { clock, device, events, sockets } = makeDevice();
  const done = device.register();
  welcome(sockets.last, 60);
  sockets.last.message('ready', {});
  await done;
  const alive = (ms) => { for (let i = 0; i < ms; i += 1_000) { sockets.last.frame('\n'); clock.advance(1_000); } };
  alive(49_000);
  assert.equal(events.includes('tokenWillExpire'), false);
  device.updateToken('token-2');
  sockets.last.message('connected', { token: { identity: 'alice', ttl: 60 } });
  alive(49_000);
  assert.equal(events.includes('tokenWillExpire'), false);
  alive(1_000);
  assert.equal(events.includes('tokenWillExpire'), true);
  device.destroy();
});

test('a_lost_registration_is_made_again', async () => {
  const { clock, device, events, sockets } = await registered();
  sockets.last.close(1006);
  assert.equal(device.state, 'unregistered');
  clock.advance(100);
  welcome(sockets.last);
  sockets.last.message('ready', {});
  assert.equal(device.state, 'registered');
  assert.deepEqual(events, ['registering', 'registered', 'unregistered', 'error 31005', 'registering', 'registered']);
  device.destroy();
});

test('unregister_tells_the_bridge_and_stays_connected', async () => {
  const { device, sockets } = await registered();
  const done = device.unregister();
  sockets.last.message('offline', {});
  await done;
  assert.deepEqual(sockets.last.sentOf('register').at(-1), { media: { audio: false } });
  assert.equal(device.state, 'unregistered');
  assert.equal(sockets.all.length, 1);
  device.destroy();
});

test('an_outgoing_call_rings_opens_and_hangs_up', async () => {
  const { call, callEvents, device, sockets } = await answered();
  const [invite] = sockets.last.sentOf('invite');
  assert.match(invite.callsid, /^TJS/);
  assert.deepEqual(Object.fromEntries(new URLSearchParams(invite.twilio.params)), { To: 'client:bob', room: '1 & 2' });
  assert.equal(call.parameters.CallSid, 'CA1');
  assert.deepEqual([call.status(), device.isBusy], ['open', true]);
  call.disconnect();
  assert.deepEqual(sockets.last.sentOf('hangup'), [{ callsid: 'CA1' }]);
  assert.deepEqual(callEvents, ['ringing', 'accept', 'disconnect']);
  assert.equal(device.isBusy, false);
  device.destroy();
});

test('a_call_that_had_its_length_says_so_and_any_other_does_not', async () => {
  for (const [reason, isLimit] of [['length_limit', true], [undefined, false]]) {
    const { call, callEvents, device, sockets } = await answered();
    sockets.last.message('hangup', { callsid: 'CA1', reason });
    assert.deepEqual([callEvents.at(-1), call.isLengthLimitReached], ['disconnect', isLimit]);
    device.destroy();
  }
});

test('a_refused_call_ends_with_the_code_of_the_bridge', async () => {
  const { call, callEvents, device, sockets, streams } = await dialled();
  sockets.last.message('hangup', { callsid: call.outboundConnectionId, error: { code: 31486, message: 'busy' } });
  assert.deepEqual(callEvents, ['error 31486', 'disconnect']);
  assert.deepEqual(sockets.last.sentOf('hangup'), []);
  assert.equal(streams[0].tracks[0].isStopped, true);
  device.destroy();
});

test('a_denied_microphone_ends_the_call_with_31401', async () => {
  const { callEvents, device, sockets } = await dialled({ getUserMedia: async () => { throw Object.assign(new Error('no'), { name: 'NotAllowedError' }); } });
  assert.deepEqual(callEvents, ['error 31401', 'disconnect']);
  assert.deepEqual(sockets.last.sentOf('invite'), []);
  device.destroy();
});

test('an_incoming_call_is_accepted_with_our_answer', async () => {
  const { call, callEvents, device, sockets } = await ringing();
  assert.equal(call.status(), 'pending');
  assert.equal(call.customParameters.get('room'), '1 & 2');
  assert.equal(call.parameters.CallSid, 'CA2');
  call.accept();
  await settle();
  assert.deepEqual(sockets.last.sentOf('answer'), [{ callsid: 'CA2', sdp: 'answer' }]);
  assert.deepEqual(callEvents, ['accept']);
  sockets.last.message('hangup', { callsid: 'CA2' });
  assert.deepEqual(callEvents, ['accept', 'disconnect']);
  device.destroy();
});

test('a_rejected_call_tells_the_bridge', async () => {
  const { call, callEvents, device, sockets } = await ringing();
  call.reject();
  assert.deepEqual(sockets.last.sentOf('reject'), [{ callsid: 'CA2' }]);
  assert.deepEqual([callEvents, device.calls], [['reject'], []]);
  device.destroy();
});

test('a_call_answered_elsewhere_is_cancelled', async () => {
  const { call, callEvents, device, sockets } = await ringing();
  sockets.last.message('cancel', { callsid: 'CA2', reason: 'answered_elsewhere' });
  assert.deepEqual([callEvents, call.status(), device.calls], [['cancel'], 'closed', []]);
  assert.equal(call.isAnsweredElsewhere, true);
  device.destroy();
});

test('a_ringing_call_is_cancelled_when_the_connection_is_lost', async () => {
  const { callEvents, device, sockets } = await ringing();
  sockets.last.close(1006);
  assert.deepEqual(callEvents, ['cancel']);
  device.destroy();
});

test('the_cancel_of_another_call_does_not_touch_a_call_without_id_yet', async () => {
  const { call, device, sockets } = await dialled();
  sockets.last.message('cancel', { callsid: 'CA9' });
  sockets.last.message('hangup', { callsid: 'CA9' });
  assert.equal(call.status(), 'connecting');
  device.destroy();
});

test('incoming_calls_are_withheld_in_a_call_unless_allowed', async () => {
  for (const allowIncomingWhileBusy of [false, true]) {
    const { device, sockets } = await answered({ allowIncomingWhileBusy });
    let incoming = 0;
    device.on('incoming', () => { incoming += 1; });
    sockets.last.message('invite', { callsid: 'CA3', sdp: 'v=0', parameters: {} });
    assert.equal(incoming, allowIncomingWhileBusy ? 1 : 0);
    device.destroy();
  }
});

test('a_call_in_progress_is_resumed_with_its_reconnect_token', async () => {
  const { call, callEvents, clock, device, sockets } = await answered();
  sockets.last.close(1006);
  assert.equal(call.status(), 'reconnecting');
  clock.advance(100);
  welcome(sockets.last);
  assert.deepEqual(sockets.last.sentOf('invite'), [{ callsid: 'CA1', sdp: 'offer sendrecv', reconnect: 'reconnect-token', twilio: {} }]);
  sockets.last.message('answer', { callsid: 'CA1', reconnect: 'second-token' });
  await settle();
  assert.deepEqual(callEvents.slice(2), ['reconnecting', 'reconnected']);
  assert.equal(call.status(), 'open');
  device.destroy();
});

test('a_hang_up_without_connection_resumes_the_call_to_end_it', async () => {
  const { call, clock, device, sockets } = await answered();
  sockets.last.close(1006);
  call.disconnect();
  clock.advance(100);
  welcome(sockets.last);
  assert.deepEqual(sockets.last.sent.map((each) => each.type), ['listen', 'register', 'invite', 'hangup']);
  device.destroy();
});

test('a_new_token_in_a_call_does_not_resume_it', async () => {
  const { device, sockets } = await answered();
  device.updateToken('token-2');
  sockets.last.message('connected', { token: { identity: 'alice', ttl: 60 } });
  assert.equal(sockets.last.sentOf('invite').length, 1);
  device.destroy();
});

test('a_call_whose_media_flows_outlives_its_signaling', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { call, callEvents, device, sockets } = await answered({ maxCallSignalingTimeoutMs: 5_000 });
    const connection = FakeConnection.all.at(-1);
    connection.become('connected');
    sockets.last.close(1006);
    mock.timers.tick(3_600_000);
    assert.equal(call.status(), 'reconnecting');
    connection.connectionState = 'closed';
    mock.timers.tick(5_000);
    assert.deepEqual(callEvents.slice(-2), ['error 53001', 'disconnect']);
    device.destroy();
  } finally {
    mock.timers.reset();
  }
});

test('a_call_that_cannot_be_resumed_in_time_ends_with_53001', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { callEvents, device, sockets } = await answered({ maxCallSignalingTimeoutMs: 5_000 });
    sockets.last.close(1006);
    mock.timers.tick(5_000);
    assert.deepEqual(callEvents.slice(2), ['reconnecting', 'error 53001', 'disconnect']);
    device.destroy();
  } finally {
    mock.timers.reset();
  }
});

test('failed_media_restarts_ice_and_comes_back', async () => {
  const { call, callEvents, connection, device, sockets } = await answered();
  connection.become('connected');
  connection.become('failed');
  await settle();
  assert.equal(connection.restarts, 1);
  assert.deepEqual(sockets.last.sentOf('reinvite'), [{ callsid: 'CA1', sdp: 'offer sendrecv', offer: 1 }]);
  sockets.last.message('answer', { callsid: 'CA1', sdp: 'v=0' });
  connection.become('connected');
  await settle();
  assert.deepEqual(callEvents.slice(2), ['warning', 'reconnecting', 'reconnected']);
  assert.equal(call.status(), 'open');
  device.destroy();
});

test('what_the_app_changes_on_the_peer_connection_is_offered', async () => {
  const { call, connection, device, sockets } = await answered();
  assert.equal(call.peerConnection, connection);
  connection.onnegotiationneeded();
  connection.onnegotiationneeded();
  await settle();
  assert.equal(sockets.last.sentOf('reinvite').length, 1);
  device.destroy();
});

test('hold_offers_sendonly_and_resume_offers_sendrecv', async () => {
  const { call, callEvents, device, sockets, streams } = await answered();
  const reply = async () => {
    await settle();
    sockets.last.message('answer', { callsid: 'CA1', sdp: 'v=0' });
  };
  await Promise.all([call.hold(), reply()]);
  assert.deepEqual([call.isOnHold(), streams[0].tracks[0].enabled], [true, false]);
  await Promise.all([call.resume(), reply()]);
  assert.deepEqual([call.isOnHold(), streams[0].tracks[0].enabled], [false, true]);
  assert.deepEqual(sockets.last.sentOf('reinvite').map((each) => each.sdp), ['offer sendonly', 'offer sendrecv']);
  assert.deepEqual(callEvents.slice(2), ['hold', 'hold']);
  device.destroy();
});

test('a_hold_that_the_bridge_refuses_fails_at_once_and_the_voice_goes_on', async () => {
  const { call, device, sockets, streams } = await answered();
  const refuse = async () => {
    await settle();
    sockets.last.message('error', { callsid: 'CA1', error: { code: 53405, message: 'no room' }, offer: 0 });
    sockets.last.message('error', { callsid: 'CA1', error: { code: 31206, message: 'no room' }, offer: 1 });
  };
  await Promise.all([assert.rejects(call.hold(), { code: 31206 }), refuse()]);
  assert.deepEqual([call.isOnHold(), streams[0].tracks[0].enabled, call.status()], [false, true, 'open']);
  device.destroy();
});

test('mute_silences_the_track_and_is_told_once', async () => {
  const { call, callEvents, device, streams } = await answered();
  call.mute();
  call.mute();
  assert.deepEqual([call.isMuted(), streams[0].tracks[0].enabled], [true, false]);
  call.mute(false);
  assert.deepEqual([streams[0].tracks[0].enabled, callEvents.slice(2)], [true, ['mute', 'mute']]);
  device.destroy();
});

test('digits_go_by_rtp_and_wrong_ones_are_refused', async () => {
  const { call, connection, device } = await answered();
  call.sendDigits('12#');
  assert.deepEqual(connection.senders[0].dtmf.inserted, ['12#']);
  assert.throws(() => call.sendDigits('12a'), { name: 'InvalidArgumentError' });
  device.destroy();
});

test('messages_are_acknowledged_and_received', async () => {
  const { call, callEvents, device, sockets } = await answered();
  const voiceeventsid = call.sendMessage({ content: { a: 1 }, messageType: 'user-defined-message' });
  assert.deepEqual(sockets.last.sentOf('message')[0], {
    callsid: 'CA1', content: { a: 1 }, contenttype: 'application/json', messagetype: 'user-defined-message', voiceeventsid,
  });
  sockets.last.message('ack', { acktype: 'message', callsid: 'CA1', voiceeventsid });
  sockets.last.message('message', { callsid: 'CA1', content: 'hello', contenttype: 'text/plain', messagetype: 'user-defined-message', voiceeventsid: 'KX2' });
  assert.deepEqual(callEvents.slice(2), ['messageSent', 'messageReceived']);
  device.destroy();
});

test('what_is_too_large_for_the_bridge_is_refused_before_it_is_sent', async () => {
  const { call, callEvents, device, sockets } = await answered();
  const send = (content) => call.sendMessage({ content, messageType: 'user-defined-message' });
  send('ä'.repeat(5_120));
  await settle();
  assert.equal(callEvents.at(-1), 'error 31212');
  assert.equal(sockets.last.sentOf('message').length, 0);
  send('ä'.repeat(5_119));
  call.disconnect();
  await assert.rejects(device.connect({ params: { To: 'client:bob', note: 'x'.repeat(4_100) } }), { code: 31103 });
  assert.equal(sockets.last.sentOf('invite').length, 1);
  device.destroy();
});

test('a_connect_token_carries_the_call_to_another_page', async () => {
  const { call, device } = await answered();
  const { connectToken } = call;
  const second = await registered();
  await second.device.connect({ connectToken });
  await settle();
  const [invite] = second.sockets.last.sentOf('invite');
  assert.deepEqual([invite.callsid, invite.reconnect, invite.twilio], ['CA1', 'reconnect-token', {}]);
  device.destroy();
  second.device.destroy();
});

test('connect_rejects_when_the_bridge_is_not_reached_in_ten_seconds', async () => {
  const { clock, device } = makeDevice();
  const rejected = assert.rejects(device.connect({ params: { To: 'client:bob' } }), { code: 31009 });
  clock.advance(10_000);
  await rejected;
  device.destroy();
});

test('destroy_hangs_up_and_ends_the_connection', async () => {
  const { call, device, sockets } = await answered();
  device.destroy();
  assert.deepEqual([call.status(), device.state, sockets.last.readyState], ['closed', 'destroyed', 3]);
  assert.equal(sockets.last.sentOf('hangup').length, 1);
  await assert.rejects(device.connect(), { name: 'InvalidStateError' });
});
