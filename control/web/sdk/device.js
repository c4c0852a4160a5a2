/**
 * A client device: signs in with a token, makes and receives calls.
 *
 * Input: the app's methods, messages of the bridge. Output: events for the app, `Call` objects. Owns: the signaling connection, the
 * registration, the list of calls, the ringing sounds, the token's expiry timer. Not here: the life of one call (call.js).
 *
 *                 register()                `ready`
 *   unregistered ------------> registering ---------> registered
 *        ^                        |  connection lost      |
 *        +------------------------+-----------------------+        any ---destroy()---> destroyed
 *
 * A registration that was lost with the connection is made again by itself.
 */

import { AudioHelper, GestureGate } from './audio.js';
import { Call } from './call.js';
import { CrosspointError, errorFromWire, InvalidArgumentError, InvalidStateError, NotSupportedError, TOKEN_CODES } from './errors.js';
import { EventEmitter } from './events.js';
import { Log } from './log.js';
import { PreflightTest } from './preflight.js';
import { browserClock, defaultSignalUrl, PARAMS_BYTES_MAX, Signaling, signalUrlOf } from './signaling.js';
import { audioContext, Sounds } from './sounds.js';

export const VERSION = '0.1.0';

const CONNECT_MS_MAX = 10_000;
/** The connection is lost or not there yet: the SDK goes on trying. */
const PASSING_CODES = new Set([31005, 31009]);
const UNREGISTER_MS_MAX = 2_000;

/** @typedef {'destroyed' | 'unregistered' | 'registering' | 'registered'} DeviceState */

/**
 * @typedef {object} DeviceOptions
 * @property {string | string[]} [signalUrl] `wss://HOST/signal`, `https://HOST` or `HOST[:PORT]`; default: the host that served the SDK
 * @property {string | string[]} [chunderw] the stock SDK's name for the same
 * @property {boolean} [allowIncomingWhileBusy]
 * @property {boolean | string} [closeProtection] ask before the page is left in a call; a string is the question
 * @property {string[]} [codecPreferences] default `['opus', 'pcmu']`
 * @property {number} [maxAverageBitrate] bits a second for Opus, 6000 to 510000
 * @property {number} [maxCallSignalingTimeoutMs] how long the bridge keeps a call of a lost signaling connection, default and at most 30000; here the call ends after it only if its media is gone too
 * @property {number} [tokenRefreshMs] how long before its expiry `tokenWillExpire` comes, default 10000
 * @property {boolean} [dscp] mark audio as high priority, default true
 * @property {string | number} [logLevel] default `error`
 * @property {Record<string, string | boolean>} [sounds] by name: false = silent, a string = URL to play instead
 * @property {RTCConfiguration} [rtcConfiguration]
 * @property {MediaStream} [fileInputStream] sent instead of a microphone
 * @property {(constraints: MediaStreamConstraints) => Promise<MediaStream>} [getUserMedia]
 * @property {() => Promise<MediaDeviceInfo[]>} [enumerateDevices]
 * @property {typeof RTCPeerConnection} [RTCPeerConnection]
 * @property {typeof WebSocket} [WebSocket]
 * @property {import('./signaling.js').Clock} [clock]
 */

/**
 * @typedef {object} ConnectOptions
 * @property {Record<string, string>} [params] `To` is the destination; everything else reaches the callee as custom parameters
 * @property {string} [connectToken] of a call to take over
 * @property {MediaStreamConstraints} [rtcConstraints]
 * @property {RTCConfiguration} [rtcConfiguration]
 */

/** @type {DeviceOptions} */
const DEFAULTS = {
  allowIncomingWhileBusy: false,
  closeProtection: false,
  codecPreferences: ['opus', 'pcmu'],
  dscp: true,
  maxCallSignalingTimeoutMs: 30_000,
  tokenRefreshMs: 10_000,
  sounds: {},
};

export class Device extends EventEmitter {
  static State = Object.freeze({
    Destroyed: 'destroyed', Unregistered: 'unregistered', Registering: 'registering', Registered: 'registered',
  });
  static EventName = Object.freeze({
    Error: 'error', Incoming: 'incoming', Destroyed: 'destroyed', Unregistered: 'unregistered',
    Registering: 'registering', Registered: 'registered', TokenWillExpire: 'tokenWillExpire',
  });

  static get isSupported() {
    return typeof RTCPeerConnection !== 'undefined' && typeof WebSocket !== 'undefined'
      && Boolean(globalThis.navigator?.mediaDevices?.getUserMedia);
  }

  static get version() {
    return VERSION;
  }

  static get packageName() {
    return 'crosspoint';
  }

  static get audioContext() {
    return audioContext() ?? undefined;
  }

  /** Makes a test call and judges the way to the bridge. @param {string} token @param {import('./preflight.js').PreflightOptions} [options] */
  static runPreflight(token, options = {}) {
    return new PreflightTest((deviceOptions) => new Device(token, deviceOptions), options);
  }

  /** @type {DeviceOptions} */
  #options = { ...DEFAULTS };
  #token = '';
  /** @type {DeviceState} */
  #state = 'unregistered';
  /** @type {Signaling | null} */
  #signaling = null;
  /** @type {string[]} */
  #urls = [];
  /** Waiting for `connected`. @type {Promise<Signaling> | null} */
  #connecting = null;
  #wantsRegistration = false;
  /** @type {Call[]} */
  #calls = [];
  /** @type {Call | null} */
  #activeCall = null;
  #isConnectingCall = false;
  #identity = /** @type {string | null} */ (null);
  #edge = /** @type {string | null} */ (null);
  #home = /** @type {string | null} */ (null);
  #region = /** @type {string | null} */ (null);
  /** @type {any} */
  #expiryTimer = null;
  #log = new Log();
  #sounds = new Sounds();
  #gate = new GestureGate();
  #audio;
  #onBeforeUnload = (/** @type {BeforeUnloadEvent} */ event) => this.#confirmLeaving(event);
  #onPageHide = (/** @type {PageTransitionEvent} */ event) => this.#leavePage(event);
  #onPageShow = (/** @type {PageTransitionEvent} */ event) => this.#returnToPage(event);

  /** @param {string} token @param {DeviceOptions} [options] */
  constructor(token, options = {}) {
    super();
    this.updateToken(token);
    this.#audio = new AudioHelper({
      inputChanged: async (stream) => { if (stream) await this.#activeCall?._setInput(stream); },
      outputsChanged: (kind, ids) => this.#outputsChanged(kind, ids),
      isBusy: () => this.isBusy,
      getUserMedia: (constraints) => this.#getUserMedia(constraints),
      enumerateDevices: () => this.#enumerateDevices(),
    });
    this.#gate.on('change', (isShut) => this.emit('userGesture', isShut));
    globalThis.addEventListener?.('pagehide', this.#onPageHide);
    globalThis.addEventListener?.('pageshow', this.#onPageShow);
    this.updateOptions(options);
  }

  get audio() {
    return this.#audio;
  }

  /** Incoming calls that have been neither accepted nor ended. */
  get calls() {
    return this.#calls;
  }

  get edge() {
    return this.#edge;
  }

  get home() {
    return this.#home;
  }

  /** The gateway that holds our connection. */
  get gateway() {
    return this.#signaling?.gateway ?? null;
  }

  get region() {
    return this.#region;
  }

  get identity() {
    return this.#identity;
  }

  get isBusy() {
    return this.#activeCall !== null;
  }

  get state() {
    return this.#state;
  }

  get token() {
    return this.#token;
  }

  /** Whether the browser keeps calls silent until the user clicks or types anywhere. Changes come as `userGesture`. */
  get needsUserGesture() {
    return this.#gate.isShut;
  }

  /** Places a call. @param {ConnectOptions} [options] @returns {Promise<Call>} */
  async connect(options = {}) {
    this.#refuseIfDestroyed('connect');
    if (this.#activeCall || this.#isConnectingCall) throw new InvalidStateError('A call is already active.');
    const origin = originOf(options);
    this.#isConnectingCall = true;
    try {
      const signaling = await this.#connected(CONNECT_MS_MAX);
      this.#calls.slice().forEach((call) => call.ignore());
      const call = this.#makeCall(signaling, origin);
      this.#activeCall = call;
      call.accept(options);
      return call;
    } finally {
      this.#isConnectingCall = false;
    }
  }

  /** Starts to receive calls. Rejects when the bridge refuses; keeps trying while it cannot be reached. */
  async register() {
    if (this.#state !== 'unregistered') throw new InvalidStateError(`A device in state "${this.#state}" cannot register.`);
    this.#wantsRegistration = true;
    this.#setState('registering');
    const done = this.#registrationSettled();
    // A connection that is already up gets the request now; otherwise `connected` sends it.
    this.#connection();
    this.#signaling?.register(true);
    try {
      await done;
    } catch (error) {
      this.#wantsRegistration = false;
      throw error;
    }
  }

  /** Stops receiving calls; calls in progress go on. */
  async unregister() {
    if (this.#state !== 'registered') throw new InvalidStateError(`A device in state "${this.#state}" cannot unregister.`);
    this.#wantsRegistration = false;
    await this.#unregistered();
    this.#setState('unregistered');
  }

  /** Hangs up everything. */
  disconnectAll() {
    this.#calls.slice().forEach((call) => call.reject());
    this.#activeCall?.disconnect();
  }

  /** @param {string} token */
  updateToken(token) {
    this.#refuseIfDestroyed('updateToken');
    if (typeof token !== 'string') throw new InvalidArgumentError('The token must be a string.');
    // Whoever reads it from a file reads its line end too.
    this.#token = token.trim();
    this.#signaling?.setToken(this.#token);
  }

  /** @param {DeviceOptions} [options] merged into those given before */
  updateOptions(options = {}) {
    this.#refuseIfDestroyed('updateOptions');
    const merged = { ...this.#options, ...options };
    const urls = urlsOf(merged);
    const moved = urls.join() !== this.#urls.join();
    if (moved && this.isBusy) throw new InvalidStateError('The bridge cannot be changed in a call.');
    this.#options = merged;
    this.#urls = urls;
    this.#log.setLevel(merged.logLevel);
    this.#sounds.options = merged.sounds ?? {};
    globalThis.removeEventListener?.('beforeunload', this.#onBeforeUnload);
    if (merged.closeProtection) globalThis.addEventListener?.('beforeunload', this.#onBeforeUnload);
    if (moved && this.#signaling) this.#reconnect();
  }

  /** Ends everything; the object cannot be used again. */
  destroy() {
    if (this.#state === 'destroyed') return;
    this.disconnectAll();
    this.#dropSignaling();
    this.#sounds.stopAll();
    this.#audio.destroy();
    globalThis.removeEventListener?.('beforeunload', this.#onBeforeUnload);
    globalThis.removeEventListener?.('pagehide', this.#onPageHide);
    globalThis.removeEventListener?.('pageshow', this.#onPageShow);
    this.#setState('destroyed');
    this.removeAllListeners();
  }

  // ---- the connection

  /** @returns {Promise<Signaling>} resolves with the first `connected`, rejects when the token is refused */
  #connection() {
    if (this.#connecting) return this.#connecting;
    const signaling = this.#openSignaling();
    this.#connecting = new Promise((resolve, reject) => {
      signaling.once('connected', () => resolve(signaling));
      signaling.once('close', () => reject(new CrosspointError(53001)));
      signaling.on('error', ({ error, callsid }) => { if (!callsid && TOKEN_CODES.has(error?.code)) reject(errorFromWire(error)); });
    });
    // Whoever waits learns of it; nobody waiting is no fault.
    this.#connecting.catch(() => { if (this.#signaling === signaling) this.#connecting = null; });
    return this.#connecting;
  }

  #openSignaling() {
    const present = this.#signaling;
    if (present && present.status !== 'closed') {
      if (present.isTokenRefused) present.setToken(this.#token);
      return present;
    }
    const { maxCallSignalingTimeoutMs, WebSocket: Socket, clock } = this.#options;
    const signaling = new Signaling(this.#token, this.#urls, {
      reconnectTimeoutMs: maxCallSignalingTimeoutMs, version: VERSION, WebSocket: Socket, clock,
    });
    this.#signaling = signaling;
    signaling.on('connected', (payload) => this.#onConnected(payload));
    signaling.on('ready', () => this.#onReady());
    signaling.on('offline', () => this.#onOffline());
    signaling.on('transportClose', () => this.#onOffline());
    signaling.on('close', () => this.#onClose());
    signaling.on('error', (payload) => this.#onError(payload));
    signaling.on('invite', (payload) => this.#onInvite(payload));
    signaling.open();
    return signaling;
  }

  /** @param {number} ms_max @returns {Promise<Signaling>} */
  async #connected(ms_max) {
    const clock = this.#options.clock ?? browserClock;
    /** @type {any} */
    let timer;
    const late = new Promise((_, reject) => { timer = clock.setTimeout(() => reject(new CrosspointError(31009)), ms_max); });
    try {
      const signaling = await Promise.race([this.#connection(), /** @type {Promise<never>} */ (late)]);
      if (!signaling.isReady) await Promise.race([new Promise((resolve) => signaling.once('connected', resolve)), late]);
      return signaling;
    } finally {
      clock.clearTimeout(timer);
    }
  }

  #reconnect() {
    this.#dropSignaling();
    if (this.#wantsRegistration) void this.register().catch((error) => this.#log.warn('registering at the new bridge failed', error));
  }

  #dropSignaling() {
    const clock = this.#options.clock ?? browserClock;
    clock.clearTimeout(this.#expiryTimer);
    const signaling = this.#signaling;
    this.#signaling = null;
    this.#connecting = null;
    signaling?.removeAllListeners();
    signaling?.close();
    this.#edge = this.#region = null;
    if (this.#state !== 'destroyed') this.#setState('unregistered');
  }

  // ---- messages of the bridge

  /** @param {any} payload */
  #onConnected({ region = null, edge, home = null, token }) {
    this.#region = region;
    this.#edge = edge ?? region;
    this.#home = home;
    this.#identity = token?.identity ?? this.#identity;
    this.#watchExpiry(token?.ttl);
    if (!this.#wantsRegistration || this.#state === 'registered') return;
    this.#setState('registering');
    this.#signaling?.register(true);
  }

  /** @param {unknown} ttl_s */
  #watchExpiry(ttl_s) {
    const clock = this.#options.clock ?? browserClock;
    clock.clearTimeout(this.#expiryTimer);
    if (typeof ttl_s !== 'number') return;
    // More than 24 days would overflow the browser's timer and fire at once.
    const ms = Math.min(Math.max(0, ttl_s * 1000 - (this.#options.tokenRefreshMs ?? 0)), 2 ** 31 - 1);
    this.#expiryTimer = clock.setTimeout(() => this.emit('tokenWillExpire', this), ms);
  }

  #onReady() {
    if (this.#wantsRegistration) this.#setState('registered');
  }

  #onOffline() {
    this.#edge = this.#region = null;
    this.#setState('unregistered');
  }

  #onClose() {
    this.#wantsRegistration = false;
    this.#signaling = null;
    this.#connecting = null;
    this.#setState('unregistered');
  }

  /** @param {any} payload */
  #onError({ error, callsid, voiceeventsid }) {
    // What concerns a message is told by its call.
    if (voiceeventsid) return;
    const known = errorFromWire(error);
    if (PASSING_CODES.has(known.code)) this.#log.warn(known.message);
    else this.#log.error(known.message);
    const isRefused = TOKEN_CODES.has(known.code) || (this.#state === 'registering' && !PASSING_CODES.has(known.code));
    if (!callsid && isRefused) this.#setState('unregistered');
    this.emit('error', known, this.#findCall(callsid));
  }

  /** @param {any} payload */
  #onInvite({ callsid, sdp, parameters = {}, reconnect }) {
    if (this.#activeCall && !this.#options.allowIncomingWhileBusy) return;
    if (!callsid || !sdp || !this.#signaling) {
      this.emit('error', new CrosspointError(31400, 'An invitation of the bridge lacks its id or description.'));
      return;
    }
    const call = this.#makeCall(this.#signaling, {
      direction: 'INCOMING',
      parameters: { ...parameters, CallSid: parameters.CallSid ?? callsid },
      customParameters: Object.fromEntries(new URLSearchParams(parameters.Params ?? '')),
      offer: sdp,
      reconnectToken: reconnect,
    });
    this.#calls.push(call);
    if (this.#audio.incoming() && !this.isBusy) this.#sounds.play('incoming');
    this.emit('incoming', call);
  }

  // ---- calls

  /** @param {Signaling} signaling @param {import('./call.js').CallOrigin} origin */
  #makeCall(signaling, origin) {
    const { rtcConfiguration, RTCPeerConnection: Connection, codecPreferences, maxAverageBitrate, dscp, fileInputStream } = this.#options;
    const call = new Call({
      signaling,
      log: this.#log,
      sounds: this.#sounds,
      mediaOptions: { gate: this.#gate, rtcConfiguration, RTCPeerConnection: Connection, codecPreferences, maxAverageBitrate, dscp },
      openInput: async (constraints) => (fileInputStream ? { stream: fileInputStream, owned: false } : this.#audio.openInput(constraints)),
      sinkIds: () => this.#audio.speakerDevices.ids,
      signalingTimeoutMs: this.#options.maxCallSignalingTimeoutMs ?? 0,
      accepting: (each) => this.#callAccepting(each),
      opened: (each) => this.#callOpened(each),
      ended: (each) => this.#callEnded(each),
    }, origin);
    call.on('ringing', (hasEarlyMedia) => { if (!hasEarlyMedia) this.#sounds.play('ringback'); });
    signaling.inCall = true;
    return call;
  }

  /** Accepting a second call ends the first. @param {Call} call */
  #callAccepting(call) {
    if (this.#activeCall && this.#activeCall !== call) this.#activeCall.disconnect();
    this.#calls = this.#calls.filter((each) => each !== call);
    this.#activeCall = call;
    if (!this.#calls.length || call.direction === 'INCOMING') this.#sounds.stop('incoming');
  }

  /** @param {Call} call */
  #callOpened(call) {
    this.#sounds.stop('ringback');
    if (call.direction === 'OUTGOING' && this.#audio.outgoing()) this.#sounds.play('outgoing');
  }

  /** @param {Call} call */
  #callEnded(call) {
    const wasActive = this.#activeCall === call;
    this.#calls = this.#calls.filter((each) => each !== call);
    if (wasActive) this.#activeCall = null;
    if (!this.#calls.length) this.#sounds.stop('incoming');
    if (this.#signaling) this.#signaling.inCall = this.isBusy || this.#calls.length > 0;
    if (!wasActive) return;
    this.#sounds.stop('ringback');
    if (this.#audio.disconnect()) this.#sounds.play('disconnect');
  }

  /** @param {string | undefined} callsid @returns {Call | undefined} */
  #findCall(callsid) {
    const isIt = (/** @type {Call} */ call) => call.parameters.CallSid === callsid || call.outboundConnectionId === callsid;
    return callsid ? [...this.#calls, ...(this.#activeCall ? [this.#activeCall] : [])].find(isIt) : undefined;
  }

  // ---- registration

  /** @param {DeviceState} state */
  #setState(state) {
    if (this.#state === state || this.#state === 'destroyed') return;
    this.#state = state;
    this.emit(state, this);
  }

  /** Resolves with `registered`; rejects when the bridge refuses or the device is closed meanwhile. @returns {Promise<void>} */
  #registrationSettled() {
    return new Promise((resolve, reject) => {
      const settle = (/** @type {() => void} */ end) => {
        this.off('registered', registered);
        this.off('error', failed);
        this.off('destroyed', destroyed);
        end();
      };
      const registered = () => settle(resolve);
      const destroyed = () => settle(() => reject(new InvalidStateError('The device was destroyed.')));
      const failed = (/** @type {CrosspointError} */ error, /** @type {Call | undefined} */ call) => {
        if (!call && this.#state === 'unregistered' && !PASSING_CODES.has(error.code)) settle(() => reject(error));
      };
      this.on('registered', registered);
      this.on('error', failed);
      this.on('destroyed', destroyed);
    });
  }

  /** Some bridges acknowledge it and some do not. */
  async #unregistered() {
    const signaling = this.#signaling;
    if (!signaling) return;
    const clock = this.#options.clock ?? browserClock;
    await new Promise((resolve) => {
      const timer = clock.setTimeout(() => resolve(undefined), UNREGISTER_MS_MAX);
      const acknowledged = () => {
        clock.clearTimeout(timer);
        resolve(undefined);
      };
      signaling.once('offline', acknowledged);
      signaling.once('ready', acknowledged);
      signaling.register(false);
    });
  }

  // ---- the page

  /** @param {'speaker' | 'ringtone'} kind @param {string[]} ids */
  #outputsChanged(kind, ids) {
    if (kind === 'ringtone') this.#sounds.sinkIds = ids;
    else this.#activeCall?._setSinkIds(ids);
  }

  /** @param {MediaStreamConstraints} constraints */
  async #getUserMedia(constraints) {
    if (this.#options.getUserMedia) return this.#options.getUserMedia(constraints);
    const devices = globalThis.navigator?.mediaDevices;
    if (!devices) throw new NotSupportedError('The browser gives the microphone only to pages served by https or from loopback.');
    return devices.getUserMedia(constraints);
  }

  async #enumerateDevices() {
    if (this.#options.enumerateDevices) return this.#options.enumerateDevices();
    return globalThis.navigator?.mediaDevices?.enumerateDevices() ?? [];
  }

  /** @param {BeforeUnloadEvent} event */
  #confirmLeaving(event) {
    if (!this.isBusy) return;
    event.preventDefault();
    const { closeProtection } = this.#options;
    event.returnValue = typeof closeProtection === 'string' ? closeProtection : 'Leaving this page ends the call.';
  }

  /** A page put aside by the browser may come back, unless it was in a call. @param {PageTransitionEvent} event */
  #leavePage(event) {
    if (event.persisted && !this.isBusy && !this.#calls.length) this.#dropSignaling();
    else this.destroy();
  }

  /** @param {PageTransitionEvent} event */
  #returnToPage(event) {
    if (!event.persisted || !this.#wantsRegistration || this.#state !== 'unregistered') return;
    this.register().catch((error) => this.#log.warn('registering again failed', error));
  }

  /** @param {string} method */
  #refuseIfDestroyed(method) {
    if (this.#state === 'destroyed') throw new InvalidStateError(`${method}: the device has been destroyed.`);
  }
}

/** @param {DeviceOptions} options @returns {string[]} */
function urlsOf({ signalUrl, chunderw }) {
  const targets = [signalUrl ?? chunderw ?? []].flat();
  return targets.length ? targets.map((target) => signalUrlOf(target)) : [defaultSignalUrl(import.meta.url)];
}

/** @param {ConnectOptions} options @returns {import('./call.js').CallOrigin} */
function originOf({ params = {}, connectToken }) {
  if (!connectToken) {
    const params_bytes = new URLSearchParams(params).toString().length;
    if (params_bytes > PARAMS_BYTES_MAX) {
      throw new CrosspointError(31103, `The parameters have ${params_bytes} bytes form-encoded; at most ${PARAMS_BYTES_MAX} are allowed.`);
    }
    return { direction: 'OUTGOING', parameters: {}, customParameters: params };
  }
  try {
    const { customParameters, parameters, signalingReconnectToken } = JSON.parse(decodeURIComponent(atob(connectToken)));
    if (!parameters.CallSid || !signalingReconnectToken) throw new Error('incomplete');
    return { direction: 'OUTGOING', parameters, customParameters: customParameters ?? {}, reconnectToken: signalingReconnectToken, isResumed: true };
  } catch {
    throw new InvalidArgumentError('The connectToken cannot be read.');
  }
}
