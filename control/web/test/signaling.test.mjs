/** The signaling connection against a fake socket on a virtual clock: liveness, back-off, tokens, the queue. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs, defaultSignalUrl, Signaling, signalUrlOf } from '../sdk/signaling.js';
import { FakeClock, fakeSockets } from './fakes.mjs';

function start(options = {}) {
  const clock = new FakeClock();
  const sockets = fakeSockets();
  const signaling = new Signaling('token-1', options.urls ?? ['ws://one/signal'], { clock, WebSocket: sockets.Socket, reconnectTimeoutMs: 30_000, version: 'test' });
  signaling.on('error', () => {});
  signaling.open();
  return { clock, sockets, signaling };
}

test('listen_is_the_first_message_and_carries_token_and_reconnect_time', () => {
  const { sockets } = start();
  sockets.last.open();
  const { type, payload, version } = sockets.last.sent[0];
  assert.equal(type, 'listen');
  assert.equal(version, '1.6');
  assert.equal(payload.token, 'token-1');
  assert.equal(payload.reconnectTimeout, 30);
});

test('heartbeat_is_echoed', () => {
  const { sockets } = start();
  sockets.last.open();
  sockets.last.frame('\n');
  assert.equal(sockets.last.raw.at(-1), '\n');
});

test('a_socket_that_does_not_open_within_five_seconds_is_given_up', () => {
  const { clock, sockets } = start();
  clock.advance(4_999);
  assert.equal(sockets.all.length, 1);
  clock.advance(1 + 100);
  assert.equal(sockets.all.length, 2);
});

test('fifteen_seconds_of_silence_reconnect_and_any_frame_prevents_it', () => {
  const { clock, sockets } = start();
  sockets.last.open();
  clock.advance(14_000);
  sockets.last.frame('\n');
  clock.advance(14_000);
  assert.equal(sockets.all.length, 1);
  clock.advance(1_000 + 100);
  assert.equal(sockets.all.length, 2);
});

test('attempts_back_off_and_start_over_after_a_good_listen', () => {
  const { clock, sockets } = start();
  const waits = [];
  for (let i = 0; i < 4; i++) {
    sockets.last.close(1006);
    waits.push(clock.next_ms());
    clock.advance(clock.next_ms());
  }
  assert.deepEqual(waits, [100, 200, 400, 800]);
  sockets.last.open();
  sockets.last.message('connected', {});
  sockets.last.close(1006);
  assert.equal(clock.next_ms(), 100);
});

test('back_off_is_bounded_and_faster_while_a_call_waits', () => {
  assert.equal(backoffMs(20, 20_000, 0.5), 20_000);
  const { clock, sockets, signaling } = start();
  signaling.inCall = true;
  for (let i = 0; i < 8; i++) {
    sockets.last.close(1006);
    clock.advance(clock.next_ms());
  }
  sockets.last.close(1006);
  assert.equal(clock.next_ms(), 1_000);
});

test('back_off_is_spread_by_forty_percent', () => {
  assert.equal(backoffMs(0, 20_000, 0), 60);
  assert.equal(backoffMs(0, 20_000, 1), 140);
});

test('retry_after_from_the_bridge_is_obeyed', () => {
  const { clock, sockets } = start();
  sockets.last.open();
  sockets.last.message('error', { error: { code: 31206, retryAfter: 7 } });
  sockets.last.close(1006);
  assert.equal(clock.next_ms(), 7_000);
});

test('a_refused_token_stops_reconnecting_until_another_comes', () => {
  const { clock, sockets, signaling } = start();
  sockets.last.open();
  sockets.last.message('error', { error: { code: 20104 } });
  sockets.last.close(1000);
  clock.advance(600_000);
  assert.equal(sockets.all.length, 1);
  signaling.setToken('token-2');
  sockets.last.open();
  assert.equal(sockets.last.sent[0].payload.token, 'token-2');
});

test('a_new_token_is_announced_on_the_open_connection', () => {
  const { sockets, signaling } = start();
  sockets.last.open();
  sockets.last.message('connected', {});
  signaling.setToken('token-2');
  assert.deepEqual(sockets.last.sent.map((each) => each.payload.token), ['token-1', 'token-2']);
});

test('the_name_of_the_instance_is_kept_over_reconnections', () => {
  const { clock, sockets } = start();
  sockets.last.open();
  sockets.last.message('connected', { instance: 'IN1' });
  sockets.last.close(1006);
  clock.advance(100);
  sockets.last.open();
  assert.equal(sockets.last.sent[0].payload.instance, 'IN1');
});

test('only_a_new_connection_is_reported_as_fresh', () => {
  const { sockets, signaling } = start();
  const fresh = [];
  signaling.on('connected', (_, isFresh) => fresh.push(isFresh));
  sockets.last.open();
  sockets.last.message('connected', {});
  signaling.setToken('token-2');
  sockets.last.message('connected', {});
  assert.deepEqual(fresh, [true, false]);
});

test('queued_messages_wait_for_connected_and_come_after_what_it_triggers', () => {
  const { sockets, signaling } = start();
  signaling.on('connected', () => signaling.resume('CA1', 'sdp', 'reconnect-token'));
  signaling.hangup('CA1');
  sockets.last.open();
  assert.deepEqual(sockets.last.sent.map((each) => each.type), ['listen']);
  sockets.last.message('connected', {});
  assert.deepEqual(sockets.last.sent.map((each) => each.type), ['listen', 'invite', 'hangup']);
});

test('close_from_the_bridge_ends_it_for_good', () => {
  const { clock, sockets, signaling } = start();
  sockets.last.open();
  sockets.last.message('close', {});
  clock.advance(600_000);
  assert.equal(signaling.status, 'closed');
  assert.equal(sockets.all.length, 1);
});

test('a_frame_that_is_no_message_is_ignored', () => {
  const { sockets, signaling } = start();
  sockets.last.open();
  for (const text of ['', '{', '[]', 'null', '{"type":7}']) sockets.last.frame(text);
  assert.equal(signaling.status, 'listening');
});

test('an_unreachable_bridge_is_followed_by_the_next_url', () => {
  const { clock, sockets } = start({ urls: ['ws://one/signal', 'ws://two/signal'] });
  sockets.last.close(1006);
  clock.advance(clock.next_ms());
  assert.equal(sockets.last.url, 'ws://two/signal');
});

test('the_signaling_url_follows_from_host_or_page', () => {
  assert.equal(signalUrlOf('bridge.example.com', { protocol: 'https:' }), 'wss://bridge.example.com/signal');
  assert.equal(signalUrlOf('127.0.0.1:8088', { protocol: 'http:' }), 'ws://127.0.0.1:8088/signal');
  assert.equal(signalUrlOf('https://bridge.example.com'), 'wss://bridge.example.com/signal');
  assert.equal(signalUrlOf('wss://h/other'), 'wss://h/other');
  assert.equal(defaultSignalUrl('http://127.0.0.1:8088/sdk/device.js'), 'ws://127.0.0.1:8088/signal');
  assert.equal(defaultSignalUrl('file:///app.js', { protocol: 'https:', host: 'app.example' }), 'wss://app.example/signal');
});
