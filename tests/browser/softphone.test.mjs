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
