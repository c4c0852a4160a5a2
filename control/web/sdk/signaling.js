/**
 * The signaling connection: one WebSocket that is kept alive, and the JSON messages on it.
 *
 * Input: frames of the bridge; orders of device.js and call.js. Output: events named like the message types
 * (`connected`, `ready`, `invite`, `ringing`, `answer`, `cancel`, `hangup`, `message`, `ack`, `error`, …), and `transportClose`
 * when the socket is gone. Owns: the socket, its heartbeat, the back-off, the queue of messages that wait for a connection.
 * Not here: what a message means for a device or a call.
 *
 *   closed --open()--> connecting --socket opens--> listening --`connected`--> ready
 *                          ^                            |                        |
 *                          +------- back-off <----------+------------------------+   socket lost, or 15 s without a frame
 *
 * A token that the bridge refuses stops the circle until `setToken` brings another one.
 */

import { CrosspointError, TOKEN_CODES } from './errors.js';
import { EventEmitter } from './events.js';

export const PROTOCOL_VERSION = '1.6';
export const CONNECT_MS_MAX = 5_000;
export const SILENCE_MS_MAX = 15_000;
export const RECONNECT_TIMEOUT_S_MAX = 30;

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 20_000;
/** While calls wait to be resumed, attempts come faster. */
const BACKOFF_IN_CALL_MS_MAX = 1_000;
const BACKOFF_JITTER = 0.4;
const QUEUED_MESSAGES_MAX = 100;

/** What the bridge takes of a message's content as JSON, and of the form-encoded parameters of a call, in bytes. */
export const CONTENT_BYTES_MAX = 10 * 1024;
export const PARAMS_BYTES_MAX = 4 * 1024;

/** @param {string} text @returns {number} its length on the wire */
export function bytesOf(text) {
  return new TextEncoder().encode(text).length;
}

/**
 * @typedef {object} Clock what timers are made of; tests pass their own
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random from 0 up to 1
 */

/** @type {Clock} */
export const browserClock = {
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/**
 * Milliseconds to wait before an attempt: doubling from 100 ms, spread by ± 40 % so that a restarted bridge is not met by all
 * clients at once.
 * @param {number} attempt from 0
 * @param {number} ms_max
 * @param {number} random from 0 up to 1
 */
export function backoffMs(attempt, ms_max, random) {
  const spread = 1 + BACKOFF_JITTER * (2 * random - 1);
  return Math.round(Math.min(BACKOFF_MS_MIN * 2 ** attempt * spread, ms_max));
}

/**
 * `host[:port]` or a full URL → the URL of the signaling endpoint. A bare host gets the scheme that suits the page.
 * @param {string} target
 * @param {{ protocol: string }} [page]
 */
export function signalUrlOf(target, page = globalThis.location) {
  if (/^wss?:\/\//.test(target)) return target;
  if (/^https?:\/\//.test(target)) return new URL('/signal', target).href.replace(/^http/, 'ws');
  return `${page?.protocol === 'http:' ? 'ws' : 'wss'}://${target}/signal`;
}

/**
 * The bridge that served this module, or else the page's own host.
 * @param {string} moduleUrl
 * @param {{ protocol: string, host: string }} [page]
 */
export function defaultSignalUrl(moduleUrl, page = globalThis.location) {
  if (/^https?:/.test(moduleUrl)) return signalUrlOf(moduleUrl);
  if (page?.host) return signalUrlOf(page.host, page);
  throw new CrosspointError(31009, 'Pass the option signalUrl: this module was not loaded from a bridge.');
}

/**
 * @typedef {object} SignalingOptions
 * @property {number} [reconnectTimeoutMs] how long the bridge should keep calls of a lost socket
 * @property {string} [version] announced in `listen`
 * @property {typeof WebSocket} [WebSocket]
 * @property {Clock} [clock]
 */

export class Signaling extends EventEmitter {
  /** @type {'closed' | 'connecting' | 'listening' | 'ready'} */
  status = 'closed';
  /** @type {string | null} */
  gateway = null;
  /** @type {string | null} */
  region = null;
  /** The bridge's name for this device, which is kept over reconnections. @type {string | undefined} */
  instance;
  /** Set by the device while calls exist that a reconnect should save. */
  inCall = false;

  /** @type {WebSocket | null} */
  #socket = null;
  #urls;
  #urlIndex = 0;
  #token;
  #options;
  /** @type {Clock} */
  #clock;
  #attempt = 0;
  #retryAfterMs = 0;
  #tokenRefused = false;
  /** @type {any} */
  #timer = null;
  /** @type {string[]} */
  #queue = [];

  /** @param {string} token @param {string[]} urls tried in turn @param {SignalingOptions} [options] */
  constructor(token, urls, options = {}) {
    super();
    this.#token = token;
    this.#urls = urls;
    this.#options = options;
    this.#clock = options.clock ?? browserClock;
  }

  get url() {
    return this.#urls[this.#urlIndex];
  }

  get isReady() {
    return this.status === 'ready';
  }

  /** Whether the bridge refused the token and waits for `setToken`. */
  get isTokenRefused() {
    return this.#tokenRefused;
  }

  open() {
    if (this.status !== 'closed') return;
    this.#connect();
  }

  /** Ends the connection for good. */
  close() {
    this.status = 'closed';
    this.#arm(null, 0);
    this.#queue.length = 0;
    this.#dropSocket();
  }

  /** Announces a new token on the open connection, or revives one that stopped at a refused token. @param {string} token */
  setToken(token) {
    this.#token = token;
    const stopped = this.#tokenRefused;
    this.#tokenRefused = false;
    if (this.status === 'listening' || this.status === 'ready') this.#listen();
    else if (stopped && this.status === 'connecting' && !this.#socket) this.#connect();
  }

  /** @param {boolean} audio whether this device takes calls */
  register(audio) {
    this.send('register', { media: { audio } });
  }

  /** @param {string} callsid @param {string} sdp @param {string} params form-encoded */
  invite(callsid, sdp, params) {
    this.queue('invite', { callsid, sdp, twilio: params ? { params } : {} });
  }

  /** Resumes a call after a lost socket. @param {string} callsid @param {string} sdp @param {string} reconnect */
  resume(callsid, sdp, reconnect) {
    this.queue('invite', { callsid, sdp, reconnect, twilio: {} });
  }

  /** @param {string} callsid @param {string} sdp */
  answer(callsid, sdp) {
    this.queue('answer', { callsid, sdp });
  }

  /** @param {string} callsid @param {string} sdp @param {number} offer a number of ours, which the answer repeats */
  reinvite(callsid, sdp, offer) {
    return this.send('reinvite', { callsid, sdp, offer });
  }

  /** @param {string} callsid @param {string} digits */
  dtmf(callsid, digits) {
    this.queue('dtmf', { callsid, dtmf: digits });
  }

  /** @param {string} callsid @param {string} [message] */
  hangup(callsid, message) {
    this.queue('hangup', message ? { callsid, message } : { callsid });
  }

  /** @param {string} callsid */
  reject(callsid) {
    this.queue('reject', { callsid });
  }

  /** @param {Record<string, unknown>} payload callsid, content, contenttype, messagetype, voiceeventsid */
  message(payload) {
    this.queue('message', payload);
  }

  /** Sends now or not at all. @param {string} type @param {object} payload @returns {boolean} */
  send(type, payload) {
    if (this.status !== 'ready') return false;
    return this.#write(type, payload);
  }

  /** Sends now, or after the next good `listen`. @param {string} type @param {object} payload */
  queue(type, payload) {
    if (this.send(type, payload)) return;
    if (this.status === 'closed' || this.#queue.length >= QUEUED_MESSAGES_MAX) {
      this.emit('error', { error: { code: 31009 } });
      return;
    }
    this.#queue.push(frame(type, payload));
  }

  #connect() {
    this.status = 'connecting';
    this.#arm(() => this.#lost(), CONNECT_MS_MAX);
    const Socket = this.#options.WebSocket ?? WebSocket;
    const socket = new Socket(this.url);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#closed(event);
  }

  #opened() {
    this.status = 'listening';
    this.#expectFrames();
    this.emit('transportOpen');
    this.#listen();
  }

  #listen() {
    const seconds = Math.ceil((this.#options.reconnectTimeoutMs ?? 0) / 1000);
    const { platform = 'unknown', userAgent = 'unknown' } = globalThis.navigator ?? {};
    this.#write('listen', {
      token: this.#token,
      browserinfo: { p: 'browser', v: this.#options.version ?? '', plugin: 'rtc', browser: { platform, userAgent } },
      reconnectTimeout: Math.min(seconds, RECONNECT_TIMEOUT_S_MAX),
      instance: this.instance,
    });
  }

  /** @param {unknown} text */
  #received(text) {
    this.#expectFrames();
    if (text === '\n') {
      this.#socket?.send('\n');
      return;
    }
    const message = parse(text);
    if (!message) return;
    const { type, payload } = message;
    this.gateway = payload.gateway ?? this.gateway;
    this.region = payload.region ?? this.region;
    if (type === 'connected') return this.#accepted(payload);
    if (type === 'error') this.#refused(payload);
    if (type === 'close') this.close();
    this.emit(type, payload);
  }

  /** @param {any} payload */
  #accepted(payload) {
    const fresh = this.status === 'listening';
    this.status = 'ready';
    this.instance = payload.instance ?? this.instance;
    this.#attempt = 0;
    this.#tokenRefused = false;
    // Calls are resumed by this event, so that what was queued for them finds them.
    this.emit('connected', payload, fresh);
    for (const text of this.#queue.splice(0)) this.#socket?.send(text);
  }

  /** @param {any} payload */
  #refused(payload) {
    const { code, retryAfter } = payload.error ?? {};
    if (typeof retryAfter === 'number') this.#retryAfterMs = retryAfter * 1000;
    if (!payload.callsid && TOKEN_CODES.has(code)) this.#tokenRefused = true;
  }

  #expectFrames() {
    this.#arm(() => this.#lost(), SILENCE_MS_MAX);
  }

  /** @param {{ code: number, reason: string }} event */
  #closed(event) {
    // 1006: ended without a closing handshake; 1015: TLS failed. Both mean that the bridge or the way to it is down.
    const abnormal = event.code === 1006 || event.code === 1015;
    const wasOpen = this.status !== 'connecting';
    this.#lost();
    if (!abnormal) return;
    const message = wasOpen ? 'The signaling connection was lost.' : `No signaling connection to ${this.url}.`;
    this.emit('error', { error: { code: 31005, message: event.reason || message } });
  }

  #lost() {
    if (this.status === 'closed') return;
    if (this.status === 'connecting') this.#urlIndex = (this.#urlIndex + 1) % this.#urls.length;
    this.status = 'connecting';
    this.#dropSocket();
    this.#arm(null, 0);
    if (!this.#tokenRefused) this.#arm(() => this.#connect(), this.#nextDelayMs());
  }

  #nextDelayMs() {
    const ms_max = this.inCall ? BACKOFF_IN_CALL_MS_MAX : BACKOFF_MS_MAX;
    const ms = Math.max(backoffMs(this.#attempt++, ms_max, this.#clock.random()), this.#retryAfterMs);
    this.#retryAfterMs = 0;
    return ms;
  }

  #dropSocket() {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.emit('transportClose');
  }

  /** One timer serves connecting, silence and back-off: they never overlap. @param {(() => void) | null} run @param {number} ms */
  #arm(run, ms) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = run && this.#clock.setTimeout(run, ms);
  }

  /** @param {string} type @param {object} payload */
  #write(type, payload) {
    if (!this.#socket || this.#socket.readyState !== 1) return false;
    this.#socket.send(frame(type, payload));
    return true;
  }
}

/** @param {string} type @param {object} payload */
function frame(type, payload) {
  return JSON.stringify({ type, payload, version: PROTOCOL_VERSION });
}

/** A frame that is not a message of ours is ignored. @param {unknown} text @returns {{ type: string, payload: any } | null} */
function parse(text) {
  if (typeof text !== 'string') return null;
  try {
    const { type, payload } = JSON.parse(text);
    return typeof type === 'string' ? { type, payload: payload ?? {} } : null;
  } catch {
    return null;
  }
}
