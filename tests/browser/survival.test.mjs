/**
 * Control is killed during a call of two browsers, and comes back.
 *
 *   Chromium 440 Hz ── ws ── control (kill -9, started again) ── ws ── Chromium 1000 Hz
 *        └────────── SRTP ── dataplane (lives on) ───────────── SRTP ──────┘
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, openBrowser, Server, until } from './harness.mjs';
import { assertHears } from './sound.mjs';

let browsers = [];
let server;
before(async () => {
  server = await Server.start();
  browsers = [await openBrowser(440), await openBrowser(1000)];
});
after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await server?.stop();
});

const assertBothHear = (alice, bob, seconds) => Promise.all([
  assertHears(alice.page, 1000, seconds, 'alice'), assertHears(bob.page, 440, seconds, 'bob'),
]);

test('both keep hearing each other without control, and hang-up works when it is back', async () => {
  const alice = await Client.open(browsers[0], server, 'ours', 'alice');
  const bob = await Client.open(browsers[1], server, 'ours', 'bob');
  await alice.dial('bob');
  await bob.saw('incoming');
  await bob.do('accept');
  await Promise.all([alice.saw('accept'), bob.saw('accept')]);
  const dataplane = server.dataplanePid();

  await server.killControl();
  await assertBothHear(alice, bob, 5);

  await server.spawn();
  assert.equal(server.dataplanePid(), dataplane);
  await Promise.all([alice.saw('reconnected'), bob.saw('reconnected')]);
  await assertBothHear(alice, bob, 2);

  await bob.do('disconnect');
  await alice.saw('disconnect');
  const records = await until(() => 'a call record', () => { const calls = server.calls(); return calls.length && calls; });
  assert.equal(records.length, 1);
  assert.equal(records[0].end_reason, 'completed');
});
