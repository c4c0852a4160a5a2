/**
 * What the browser tests share: the crosspoint binary under test, and Chromium processes whose microphone is a tone.
 *
 * Input: the built binary (CROSSPOINT_BIN or target/release/crosspoint), Debian's chromium, sox, the packages of tests/package.json in
 * tests/.tools. Output: servers and clients that a test drives. Not here: assertions about calls (calls.mjs).
 */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../.tools/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const BINARY = process.env.CROSSPOINT_BIN ?? fileURLToPath(new URL('../../target/release/crosspoint', import.meta.url));
const PATIENCE_MS = 20_000;

/** The placeholder account of dev mode. */
const ACCOUNT = 'AC00000000000000000000000000000001';
const KEY = 'SK00000000000000000000000000000001';
const SECRET = 'crosspoint-dev-secret-for-loopback-only';

/** Waits until `probe` gives something true, and gives that. */
export async function until(what, probe, patienceMs = PATIENCE_MS) {
  const begun = Date.now();
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() - begun > patienceMs) assert.fail(`awaited in vain: ${await what()}`);
    await pause(20);
  }
}

// ---- the server

export class Server {
  /** @param {string[]} flags */
  static async start(flags = []) {
    const server = new Server();
    server.http = await freePort();
    server.tls = await freePort();
    server.dataDir = mkdtempSync(join(tmpdir(), 'crosspoint-test-'));
    server.flags = [
      `--signal-listen=127.0.0.1:${server.http}`, `--signal-tls-listen=127.0.0.1:${server.tls}`, `--data-dir=${server.dataDir}`,
      '--media-port-base=0', '--media-workers=1', ...flags,
    ];
    await server.spawn();
    return server;
  }

  log = '';

  get url() {
    return `http://127.0.0.1:${this.http}`;
  }

  /** Starts the program, again after `killControl`, and waits until it is ready. */
  async spawn() {
    const child = spawn(BINARY, this.flags, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { this.log += data; });
    await until(() => `crosspoint to become ready; its log:\n${this.log}`, async () => {
      assert.equal(child.exitCode, null, `crosspoint ended at once:\n${this.log}`);
      return fetch(`${this.url}/healthz`).then((reply) => reply.ok, () => false);
    });
  }

  async killControl() {
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }

  /** The dataplane's process, whoever its parent is: its command line names our data directory. */
  dataplanePid() {
    const isOurs = (pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return line.includes('dataplane\0') && line.includes(this.dataDir);
      } catch {
        return false;
      }
    };
    return Number(readdirSync('/proc').find((name) => /^\d+$/.test(name) && isOurs(name)) ?? 0);
  }

  /** A token of the command line. @param {string[]} flags */
  token(flags) {
    return execFileSync(BINARY, ['token', `--data-dir=${this.dataDir}`, ...flags], { encoding: 'utf8' }).trim();
  }

  /** Records of ended calls. */
  calls() {
    const text = execFileSync(BINARY, ['calls', '--json', `--data-dir=${this.dataDir}`], { encoding: 'utf8' }).trim();
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line)).filter((call) => call.ended_unix_ms !== undefined);
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGINT');
      await Promise.race([once(this.child, 'exit'), pause(10_000, null, { ref: false }).then(() => this.child.kill('SIGKILL'))]);
    }
    const orphan = this.dataplanePid();
    if (orphan) process.kill(orphan, 'SIGKILL');
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

/** A token that may receive and place calls. */
export function tokenFor(identity) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const grants = { identity, voice: { incoming: { allow: true }, outgoing: { application_sid: 'AP00000000000000000000000000000001' } } };
  const claims = { jti: `${KEY}-${now}`, iss: KEY, sub: ACCOUNT, iat: now, exp: now + 3600, grants };
  const input = `${part({ cty: 'twilio-fpa;v=1', typ: 'JWT', alg: 'HS256' })}.${part(claims)}`;
  return `${input}.${createHmac('sha256', SECRET).update(input).digest('base64url')}`;
}

// ---- browsers

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', '--ignore-certificate-errors',
  '--autoplay-policy=no-user-gesture-required', '--disable-features=WebRtcHideLocalIpsWithMdns', '--allow-loopback-in-peer-connection',
];

/** A Chromium process that hears a sine of `hz` as its microphone. */
export async function openBrowser(hz) {
  const folder = mkdtempSync(join(tmpdir(), 'crosspoint-tone-'));
  const tone = join(folder, 'tone.wav');
  // Whole periods in whole seconds: the browser repeats the file without a click.
  execFileSync('sox', ['-n', '-r', '48000', '-c', '1', '-b', '16', tone, 'synth', '10', 'sine', String(hz), 'vol', '0.3']);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [...FLAGS, `--use-file-for-fake-audio-capture=${tone}`],
  });
  browser.on('disconnected', () => rmSync(folder, { recursive: true, force: true }));
  return browser;
}

/**
 * Runs in each page before its scripts. A steady tone is what a browser's voice processing takes for noise, so it is switched off;
 * the connections are kept where a test can read their statistics.
 */
function prepare() {
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) {
      super(...options);
      window.connections.push(this);
    }
  };
  const devices = navigator.mediaDevices;
  const open = devices.getUserMedia.bind(devices);
  devices.getUserMedia = ({ audio, ...others }) => open({
    ...others, audio: { ...(audio === true ? {} : audio), echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
}

/** Closes every page, so that a test which failed leaves no client to ring in the next one. */
export async function closePages(browsers) {
  await Promise.all(browsers.flatMap((browser) => browser.contexts()).map((context) => context.close()));
}

/** A page in this browser on which nothing reaches any host but the server. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ['microphone'], ...options });
  await context.addInitScript(prepare);
  const page = await context.newPage();
  page.said = [];
  page.on('console', (message) => page.said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => page.said.push(`uncaught: ${error.stack}`));
  await page.route((url) => !['127.0.0.1', 'localhost'].includes(url.hostname), (route) => route.abort());
  return page;
}

const STOCK_SDK = readFileSync(new URL('../.tools/node_modules/@twilio/voice-sdk/dist/twilio.min.js', import.meta.url));

/** An app's own server, on an origin that is not the bridge's: one page that loads the stock SDK. */
async function serveStockApp() {
  const app = createHttpServer((request, reply) => {
    const isScript = request.url === '/stock.js';
    reply.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    reply.end(isScript ? STOCK_SDK : '<!doctype html><script src="/stock.js"></script>');
  });
  app.listen(0, '127.0.0.1').unref();
  await once(app, 'listening');
  return `http://localhost:${app.address().port}/`;
}

let stockApp;

/** How each SDK gets into a page. Both have the same names, so the rest of a test is the same for both. */
const LOADERS = {
  ours: async (page, server) => {
    await page.goto(`${server.url}/docs`);
    await page.evaluate(async () => { window.Device = (await import('/sdk/crosspoint.js')).Device; });
    return {};
  },
  stock: async (page, server) => {
    stockApp ??= await serveStockApp();
    await page.goto(stockApp);
    await page.evaluate(() => { window.Device = window.Twilio.Device; });
    return { chunderw: `127.0.0.1:${server.tls}` };
  },
};

/** Runs in the page: a device whose calls tell their events to `window.events`. */
function startDevice([token, options]) {
  window.events = [];
  window.watch = (call) => {
    window.call = call;
    for (const name of ['ringing', 'accept', 'cancel', 'disconnect', 'reject', 'reconnecting', 'reconnected', 'error', 'messageReceived']) {
      call.on(name, (detail) => window.events.push({ name, at: Date.now(), code: detail?.code, content: detail?.content }));
    }
  };
  window.device = new window.Device(token, { logLevel: 'error', codecPreferences: ['opus', 'pcmu'], ...options });
  window.device.on('incoming', (call) => { window.watch(call); window.events.push({ name: 'incoming', at: Date.now() }); });
  window.device.on('error', (error) => window.events.push({ name: 'device error', at: Date.now(), code: error.code }));
  return window.device.register();
}

/** A registered client with this SDK ('ours' or 'stock'), to be driven by the methods below. */
export class Client {
  static async open(browser, server, sdk, identity, options = {}) {
    const client = new Client();
    Object.assign(client, { server, sdk, identity, page: await openPage(browser) });
    const found = await LOADERS[sdk](client.page, server);
    const started = client.page.evaluate(startDevice, [tokenFor(identity), { ...found, ...options }]);
    const late = async () => assert.fail(`${identity} does not register: ${await client.story()}`);
    await Promise.race([started, pause(PATIENCE_MS, null, { ref: false }).then(late)]);
    return client;
  }

  dial(to) {
    return this.page.evaluate(async (params) => window.watch(await window.device.connect({ params })), { To: `client:${to}` });
  }

  /** Calls a method of the call. */
  do(method, ...parameters) {
    return this.page.evaluate(([name, list]) => { window.call[name](...list); }, [method, parameters]);
  }

  events() {
    return this.page.evaluate(() => window.events);
  }

  /** Waits for an event and gives it. */
  saw(name) {
    return until(async () => `${this.identity}: ${name}; ${await this.story()}`, async () => (await this.events()).find((event) => event.name === name));
  }

  async story() {
    return `saw ${JSON.stringify(await this.events())}, said ${JSON.stringify(this.page.said)}; server:\n${this.server.log}`;
  }
}
