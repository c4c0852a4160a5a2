/**
 * Calls between a browser and a client of another make: aiortc has an ICE, a DTLS (OpenSSL) and an SRTP (libsrtp) of its own.
 *
 *   Chromium 440 Hz, our SDK ── crosspoint ── aiortc 1000 Hz, in Python
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, afterEach, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client, closePages, openBrowser, Server, tokenFor, until } from './harness.mjs';
import { assertHears, assertReports } from './sound.mjs';

const BROWSER_HZ = 440;
const AIORTC_HZ = 1000;
const PROGRAM = fileURLToPath(new URL('../python/aiortc_phone.py', import.meta.url));
const PYTHON = fileURLToPath(new URL('../.tools/python/bin/python', import.meta.url));

let browser;
let server;
before(async () => {
  server = await Server.start();
  browser = await openBrowser(BROWSER_HZ);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

afterEach(() => closePages([browser]));

/** Starts the Python client; its lines collect in `events`. */
function aiortc(...options) {
  const child = spawn(PYTHON, [PROGRAM, `--url=ws://127.0.0.1:${server.http}/signal`, `--hz=${AIORTC_HZ}`, ...options], { stdio: ['pipe', 'pipe', 'pipe'] });
  const phone = { child, events: [], errors: '' };
  let rest = '';
  child.stdout.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    phone.events.push(...lines.map((line) => JSON.parse(line)));
  });
  child.stderr.on('data', (data) => { phone.errors += data; });
  phone.saw = (name) => until(
    () => `aiortc: ${name}; it saw ${JSON.stringify(phone.events)} and said ${phone.errors}; server:\n${server.log}`,
    () => phone.events.find(({ event }) => event === name),
  );
  return phone;
}

async function assertBothHear(alice, python) {
  const before = python.events.filter(({ event }) => event === 'heard').length;
  assertReports(await assertHears(alice.page, AIORTC_HZ, 10, 'alice'), 'alice');
  const byPython = python.events.filter(({ event }) => event === 'heard').slice(before).map(({ hz }) => hz);
  assert.ok(byPython.length >= 8, `aiortc heard only ${byPython}; ${python.errors}`);
  // The first of them may hold the end of the call's set-up.
  for (const hz of byPython.slice(1)) assert.ok(Math.abs(hz - BROWSER_HZ) < 12, `aiortc should hear ${BROWSER_HZ} Hz and hears ${byPython}`);
}

test('a browser calls aiortc, both hear the other for ten seconds, the browser hangs up', async () => {
  const python = aiortc(`--token=${tokenFor('python')}`);
  await python.saw('registered');
  const alice = await Client.open(browser, server, 'ours', 'alice');
  await alice.dial('python');
  await alice.saw('accept');
  await assertBothHear(alice, python);
  await alice.do('disconnect');
  assert.deepEqual(await python.saw('ended'), { event: 'ended', how: 'hangup', error: null });
  python.child.stdin.end();
});

test('aiortc calls a browser, both hear the other for ten seconds', async () => {
  const alice = await Client.open(browser, server, 'ours', 'alice');
  const python = aiortc(`--token=${tokenFor('python')}`, '--call=alice');
  await alice.saw('incoming');
  await alice.do('accept');
  await Promise.all([alice.saw('accept'), python.saw('accepted')]);
  await assertBothHear(alice, python);
  await alice.do('disconnect');
  await python.saw('ended');
  python.child.stdin.end();
});
