/**
 * The softphone page, as a person uses it, on a desk and on a phone.
 *
 *   Chromium 440 Hz, page "alice" ── crosspoint ── Chromium 1000 Hz, page "bob"
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { closePages, openBrowser, openPage, Server, until } from './harness.mjs';
import { assertHears, hears } from './sound.mjs';

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

afterEach(() => closePages(browsers));

const by = (page, name) => page.locator(`[data-test="${name}"]`);

/** Signed in with a token of the command line. */
async function withToken(browser, flags, state) {
  const page = await openPage(browser, { viewport: { width: 1280, height: 800 } });
  await page.goto(`${server.url}/`);
  await page.locator('#token-details summary').click();
  await by(page, 'token').fill(server.token(['--identity=alice', ...flags]));
  await by(page, 'signin').click();
  await by(page, 'desk').waitFor({ state: 'visible' });
  await until(() => `the pill to say ${state}`, async () => await by(page, 'registration').innerText() === state);
  return page;
}

async function signedIn(browser, name, viewport) {
  const page = await openPage(browser, { viewport });
  await page.goto(`${server.url}/`);
  await by(page, 'identity').fill(name);
  await by(page, 'signin').click();
  await inState(page, 'registration', 'state', 'registered');
  return page;
}

/** Waits until an element's data attribute has this value. */
function inState(page, name, attribute, value) {
  const what = async () => `${name} to be ${value}; page: ${await page.locator('main').innerText()}; ${page.said.join('\n')}; server:\n${server.log}`;
  return until(what, async () => await by(page, name).getAttribute(`data-${attribute}`) === value);
}

const inCall = (page) => inState(page, 'stage', 'status', 'open');

async function assertNoSidewaysScroll(page) {
  const [content, view] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= view, `the page is ${content} wide in a view of ${view}`);
}

for (const [name, viewport] of [['a desk', { width: 1280, height: 800 }], ['a phone of 360 pixels', { width: 360, height: 740 }]]) {
  test(`sign in, call, accept, mute, keypad and hang up by mouse on ${name}`, async () => {
    const alice = await signedIn(browsers[0], 'alice', viewport);
    const bob = await signedIn(browsers[1], 'bob', viewport);
    await by(alice, 'to').fill('bob');
    await by(alice, 'call').click();
    await by(bob, 'accept').click();
    await Promise.all([inCall(alice), inCall(bob)]);
    await Promise.all([assertNoSidewaysScroll(alice), assertNoSidewaysScroll(bob)]);

    await Promise.all([assertHears(alice, 1000, 3, 'alice'), assertHears(bob, 440, 3, 'bob')]);
    await until(() => 'the live figures', async () => /opus/i.test(await by(bob, 'live-codec').innerText()) && /ms/.test(await by(bob, 'live-rtt').innerText()));
    assert.match(await by(bob, 'live-pair').innerText(), /127\.0\.0\.1/);

    await by(alice, 'mute').click();
    assert.equal(await by(alice, 'mute').getAttribute('aria-pressed'), 'true');
    const silence = await hears(bob, 1);
    assert.ok(silence.readings.at(-1).db < -60, `muted, and bob still hears ${JSON.stringify(silence.readings)}`);
    await by(alice, 'mute').click();
    await assertHears(bob, 440, 2, 'bob');

    await by(alice, 'keypad-toggle').click();
    for (const key of ['1', '2', '#']) await alice.locator(`[data-key="${key}"]`).click();
    assert.equal(await by(alice, 'digits').innerText(), '12#');

    await by(alice, 'hangup').click();
    await Promise.all([alice, bob].map((page) => by(page, 'to').waitFor({ state: 'visible' })));
  });
}

test('a call by keyboard alone, declined', async () => {
  const viewport = { width: 1280, height: 800 };
  const bob = await signedIn(browsers[1], 'bob', viewport);
  const alice = await openPage(browsers[0], { viewport });
  await alice.goto(`${server.url}/`);
  await alice.keyboard.type('alice');
  await alice.keyboard.press('Enter');
  await inState(alice, 'registration', 'state', 'registered');
  await until(() => 'the focus on the destination', () => alice.evaluate(() => document.activeElement.id === 'to'));
  await alice.keyboard.type('bob');
  await alice.keyboard.press('Enter');
  await inState(bob, 'stage', 'status', 'pending');
  await bob.keyboard.press('Escape');
  await by(alice, 'error').waitFor({ state: 'visible' });
  assert.equal(await by(alice, 'error').getAttribute('data-code'), '31603');
});

test('hold silences both sides and resuming brings them back', async () => {
  const viewport = { width: 1280, height: 800 };
  const [alice, bob] = [await signedIn(browsers[0], 'alice', viewport), await signedIn(browsers[1], 'bob', viewport)];
  await by(alice, 'to').fill('bob');
  await by(alice, 'call').click();
  await by(bob, 'accept').click();
  await Promise.all([inCall(alice), inCall(bob)]);
  await assertHears(bob, 440, 2, 'bob');
  await by(alice, 'hold').click();
  await inState(alice, 'stage', 'held', 'true');
  const silence = await hears(bob, 1);
  assert.ok(silence.readings.at(-1).db < -60, `held, and bob still hears ${JSON.stringify(silence.readings)}`);
  await by(alice, 'hold').click();
  await inState(alice, 'stage', 'held', 'false');
  await assertHears(bob, 440, 2, 'bob');
  await by(bob, 'hangup').click();
  await by(alice, 'to').waitFor({ state: 'visible' });
});

test('a token that may only place calls keeps its page and calls, and an end by the length that it allows is said on both sides', async () => {
  const viewport = { width: 1280, height: 800 };
  const bob = await signedIn(browsers[1], 'bob', viewport);
  const alice = await withToken(browsers[0], ['--no-incoming', '--max-call-seconds=1'], 'calls out only');
  await by(alice, 'to').fill('bob');
  await by(alice, 'call').click();
  await by(bob, 'accept').click();
  for (const page of [alice, bob]) {
    await by(page, 'to').waitFor({ state: 'visible' });
    assert.match(await by(page, 'last').innerText(), /lasted 0:0\d\. The bridge ended it: it had the length/);
    assert.equal(await by(page, 'error').isVisible(), false);
  }
});

test('Enter accepts a call only once its user has stopped typing, and says so only then', async () => {
  const viewport = { width: 1280, height: 800 };
  const [alice, bob] = [await signedIn(browsers[0], 'alice', viewport), await signedIn(browsers[1], 'bob', viewport)];
  await by(alice, 'to').fill('bob');
  const typing = (async () => {
    while (await by(bob, 'stage').getAttribute('data-status') === 'closed') await bob.keyboard.type('c');
  })();
  await alice.keyboard.press('Enter');
  await typing;
  await bob.keyboard.press('Enter');
  assert.equal(await bob.locator('#enter-hint').isVisible(), false, 'promised to who is typing');
  assert.equal(await by(bob, 'stage').getAttribute('data-status'), 'pending', 'taken by who was typing');
  await bob.locator('#enter-hint').waitFor({ state: 'visible' });
  await bob.keyboard.press('Enter');
  await Promise.all([inCall(alice), inCall(bob)]);
});
