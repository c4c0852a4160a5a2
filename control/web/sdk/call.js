/**
 * One call, as the app sees it.
 *
 * Input: the app's methods, signaling messages with this call's id, events of its media. Output: events for the app, messages to the
 * bridge. Owns: the call's state, its media session, its statistics. Not here: registration, ringing sounds of calls nobody has
 * accepted (device.js).
 *
 *             accept()               ringing            answer
 *   pending ----------> connecting ----------> ringing --------> open <---> reconnecting
 *      |  cancel, reject(), ignore()  |  hang-up, error, disconnect()  |        |
 *      +------------------------------+-----------> closed <-----------+--------+
 */

import { errorFromWire, CrosspointError, InvalidArgumentError, InvalidStateError, NotSupportedError } from './errors.js';
import { EventEmitter } from './events.js';
import { MediaSession } from './media.js';
import { bytesOf, CONTENT_BYTES_MAX } from './signaling.js';
import { StatsMonitor } from './stats.js';

/** A connection that ICE calls disconnected often recovers by itself within this time. */
const DISCONNECTED_GRACE_MS = 2_000;
const ICE_RESTART_INTERVAL_MS = 2_000;
const MEDIA_RECONNECT_MS_MAX = 30_000;
const ANSWER_MS_MAX = 10_000;
/** What `w` means among digits. */
const DIGIT_PAUSE_MS = 500;
const KEY_INTERVAL_MS = 200;

/** @typedef {'closed' | 'connecting' | 'open' | 'pending' | 'reconnecting' | 'ringing'} CallState */

/**
 * @typedef {object} CallMessage
 * @property {any} content
 * @property {string} [contentType]
 * @property {string} messageType
 * @property {string} [voiceEventSid]
 */

/**
 * @typedef {object} CallHost what the device lends to each call
 * @property {import('./signaling.js').Signaling} signaling
 * @property {import('./log.js').Log} log
 * @property {import('./sounds.js').Sounds} sounds
 * @property {import('./media.js').MediaOptions} mediaOptions
 * @property {(constraints?: MediaTrackConstraints | boolean) => Promise<{ stream: MediaStream, owned: boolean }>} openInput
 * @property {() => string[]} sinkIds
 * @property {number} signalingTimeoutMs how long a call survives without signaling
 * @property {(call: Call) => void} accepting called before a call takes the microphone
 * @property {(call: Call) => void} opened
 * @property {(call: Call) => void} ended
 */

/**
 * @typedef {object} CallOrigin
 * @property {'INCOMING' | 'OUTGOING'} direction
 * @property {Record<string, string>} parameters
 * @property {Record<string, string>} customParameters
 * @property {string} [offer] of an incoming call
 * @property {string} [reconnectToken]
 * @property {boolean} [isResumed] an outgoing call taken over from another page
 */

/** @param {string} prefix @returns {string} prefix + 32 hex digits */
function randomSid(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Call extends EventEmitter {
  static State = Object.freeze({
    Closed: 'closed', Connecting: 'connecting', Open: 'open', Pending: 'pending', Reconnecting: 'reconnecting', Ringing: 'ringing',
  });
  static CallDirection = Object.freeze({ Incoming: 'INCOMING', Outgoing: 'OUTGOING' });
  static Codec = Object.freeze({ Opus: 'opus', PCMU: 'pcmu' });
  static FeedbackScore = Object.freeze({ One: 1, Two: 2, Three: 3, Four: 4, Five: 5 });
  static FeedbackIssue = Object.freeze({
    AudioLatency: 'audio-latency', ChoppyAudio: 'choppy-audio', DroppedCall: 'dropped-call',
    Echo: 'echo', NoisyCall: 'noisy-call', OneWayAudio: 'one-way-audio',
  });

  /** `CallSid`, `From`, `To`, `AccountSid`, … as the bridge names them. @type {Record<string, string>} */
  parameters;
  /** @type {Map<string, string>} */
  customParameters;
  /** @type {{ isVerified: boolean } | null} */
  callerInfo;
  /** The id of an outgoing call until the bridge has given one. @type {string} */
  outboundConnectionId = `TJS${crypto.randomUUID()}`;
  codec = '';
  /** Whether it was cancelled because another device of ours answered it. */
  isAnsweredElsewhere = false;
  /** Whether it ended because it had the length that the caller's token allows. */
  isLengthLimitReached = false;

  #host;
  #origin;
  /** @type {CallState} */
  #status = 'pending';
  /** @type {MediaSession | null} */
  #media = null;
  #monitor = new StatsMonitor();
  #reconnectToken;
  #isAnswered = false;
  #inviteSent = false;
  #signalingLost = false;
  #mediaLost = false;
  #isMuted = false;
  #isHeld = false;
  #mediaLostAt_ms = 0;
  /** @type {Set<any>} */
  #timers = new Set();
  /** @type {any} */
  #signalingTimer = null;
  /** @type {any} */
  #graceTimer = null;
  /** Messages without acknowledgement. @type {Map<string, CallMessage>} */
  #messages = new Map();
  /** One offer at a time. @type {Promise<unknown>} */
  #negotiation = Promise.resolve();
  #offersPending = 0;
  /** Of the last offer after the first; an answer to an earlier one is told from its answer by it. */
  #offerNumber = 0;
  /** @type {((payload: any) => void) | null} */
  #answerArrived = null;
  /** @type {((offer: number, error: CrosspointError) => void) | null} */
  #offerRefused = null;
  /** @type {(() => void)[]} */
  #unlisten = [];

  /** @param {CallHost} host @param {CallOrigin} origin */
  constructor(host, origin) {
    super();
    this.#host = host;
    this.#origin = origin;
    this.#reconnectToken = origin.reconnectToken;
    this.parameters = origin.parameters;
    this.customParameters = new Map(Object.entries(origin.customParameters).map(([name, value]) => [name, String(value)]));
    const { StirStatus } = origin.parameters;
    this.callerInfo = StirStatus ? { isVerified: StirStatus === 'TN-Validation-Passed-A' } : null;
    this.#listenToSignaling();
    this.#listenToMonitor();
  }

  get direction() {
    return this.#origin.direction;
  }

  /** Lets another page of the same identity take this call over: `device.connect({ connectToken })`. @returns {string | undefined} */
  get connectToken() {
    const { CallSid } = this.parameters;
    if (!this.#reconnectToken || !CallSid) return undefined;
    return btoa(encodeURIComponent(JSON.stringify({
      customParameters: Object.fromEntries(this.customParameters),
      parameters: this.parameters,
      signalingReconnectToken: this.#reconnectToken,
    })));
  }

  /** Whether the browser keeps the call silent until the user clicks or types. */
  get needsUserGesture() {
    return this.#host.mediaOptions.gate.isShut;
  }

  /** For diagnostics; null before the call has media. @returns {RTCPeerConnection | null} */
  get peerConnection() {
    return this.#media?.connection ?? null;
  }

  /** @returns {CallState} */
  status() {
    return this.#status;
  }

  /** Answers an incoming call. @param {{ rtcConstraints?: MediaStreamConstraints, rtcConfiguration?: RTCConfiguration }} [options] */
  accept(options = {}) {
    if (this.#status !== 'pending') return;
    this.#host.accepting(this);
    this.#status = 'connecting';
    this.#start(options).catch((error) => this.#fail(error));
  }

  /** Declines an incoming call. */
  reject() {
    if (this.#status !== 'pending') return;
    this.#host.signaling.reject(this.parameters.CallSid);
    this.#close();
    this.emit('reject');
  }

  /** Stops ringing here, without telling the caller. */
  ignore() {
    if (this.#status !== 'pending') return;
    this.#close();
  }

  /** Hangs up. */
  disconnect() {
    if (this.#status === 'pending' || this.#status === 'closed') return;
    this.#hangUp();
    this.#close();
    this.emit('disconnect', this);
  }

  isMuted() {
    return this.#isMuted;
  }

  /** @param {boolean} [shouldMute] */
  mute(shouldMute = true) {
    if (this.#isMuted === shouldMute) return;
    this.#isMuted = shouldMute;
    this.#media?.setMuted(shouldMute);
    this.emit('mute', shouldMute, this);
  }

  isOnHold() {
    return this.#isHeld;
  }

  /** Neither side hears the other until `resume()`. */
  async hold() {
    await this.#setHeld(true);
  }

  async resume() {
    await this.#setHeld(false);
  }

  /** @param {string} to @returns {Promise<void>} */
  async transfer(to) {
    throw new NotSupportedError(`This bridge does not transfer calls yet (asked for: ${to}).`);
  }

  /** @param {string} digits 0-9, *, # and w for a pause of half a second */
  sendDigits(digits) {
    if (/[^0-9*#w]/.test(digits)) throw new InvalidArgumentError('sendDigits takes 0-9, *, # and w only.');
    this.#playKeys(digits);
    const runs = digits.split('w');
    if (this.#media?.insertTones(runs[0])) {
      runs.slice(1).forEach((run, i) => this.#later((i + 1) * DIGIT_PAUSE_MS, () => run && this.#media?.insertTones(run)));
    } else {
      this.#host.signaling.dtmf(this.#callSid(), digits);
    }
  }

  /** @param {CallMessage} message @returns {string} its id, which comes back in `messageSent` */
  sendMessage(message) {
    const { content, contentType = 'application/json', messageType } = message;
    if (content === undefined || content === null) throw new InvalidArgumentError('A message needs content.');
    if (typeof messageType !== 'string' || !messageType) throw new InvalidArgumentError('messageType must be a non-empty string.');
    const callsid = this.parameters.CallSid;
    if (!callsid || this.#status === 'closed') throw new InvalidStateError('This call cannot carry messages now.');
    const content_bytes = bytesOf(JSON.stringify(content) ?? '');
    const voiceEventSid = randomSid('KX');
    if (content_bytes > CONTENT_BYTES_MAX) {
      // Told as the bridge would tell it; a message far over the bound would cost the connection.
      const why = `The content has ${content_bytes} bytes as JSON; at most ${CONTENT_BYTES_MAX} are allowed.`;
      queueMicrotask(() => this.emit('error', new CrosspointError(31212, why)));
      return voiceEventSid;
    }
    this.#messages.set(voiceEventSid, { content, contentType, messageType, voiceEventSid });
    this.#host.signaling.message({ callsid, content, contenttype: contentType, messagetype: messageType, voiceeventsid: voiceEventSid });
    return voiceEventSid;
  }

  /** Checks the rating and emits `feedback`; the app stores it. @param {number} [score] 1 to 5 @param {string} [issue] */
  async postFeedback(score, issue) {
    if (score !== undefined && !Object.values(Call.FeedbackScore).some((each) => each === score)) {
      throw new InvalidArgumentError('The score must be 1, 2, 3, 4 or 5.');
    }
    if (issue !== undefined && !Object.values(Call.FeedbackIssue).some((each) => each === issue)) {
      throw new InvalidArgumentError(`The issue must be one of: ${Object.values(Call.FeedbackIssue).join(', ')}.`);
    }
    this.emit('feedback', { score, issue });
  }

  /** @returns {MediaStream | undefined} */
  getLocalStream() {
    return this.#media?.localStream ?? undefined;
  }

  /** @returns {MediaStream | undefined} */
  getRemoteStream() {
    return this.#media?.remoteStream ?? undefined;
  }

  /** For device.js: a call already up changes its microphone. @param {MediaStream} stream */
  async _setInput(stream) {
    await this.#media?.setInput(stream, false);
  }

  /** For device.js. @param {string[]} ids */
  _setSinkIds(ids) {
    this.#media?.setSinkIds(ids);
  }

  // ---- making and taking a call

  /** @param {{ rtcConstraints?: MediaStreamConstraints, rtcConfiguration?: RTCConfiguration }} options */
  async #start({ rtcConstraints, rtcConfiguration }) {
    const { stream, owned } = await this.#host.openInput(rtcConstraints?.audio);
    if (this.#isClosed()) {
      if (owned) stream.getTracks().forEach((track) => track.stop());
      return;
    }
    const media = this.#openMedia(rtcConfiguration);
    await media.setInput(stream, owned);
    if (this.#origin.offer) await this.#answer(media, this.#origin.offer);
    else await this.#invite(media);
  }

  /** @param {RTCConfiguration} [rtcConfiguration] */
  #openMedia(rtcConfiguration) {
    const options = this.#host.mediaOptions;
    const media = new MediaSession({ ...options, rtcConfiguration: rtcConfiguration ?? options.rtcConfiguration });
    this.#media = media;
    media.setSinkIds(this.#host.sinkIds());
    media.setMuted(this.#isMuted);
    media.on('audio', (element) => this.emit('audio', element));
    media.on('volume', (input, output) => this.#volume(input, output));
    media.on('connected', () => this.#mediaConnected());
    media.on('disconnected', () => this.#mediaDisconnected());
    media.on('failed', () => this.#restartMedia());
    media.on('negotiationneeded', () => this.#renegotiate());
    return media;
  }

  /** @param {MediaSession} media @param {string} offer */
  async #answer(media, offer) {
    const answer = await media.answer(offer);
    if (this.#isClosed()) return;
    this.#isAnswered = true;
    this.#host.signaling.answer(this.parameters.CallSid, answer);
    this.#open();
  }

  /** @param {MediaSession} media */
  async #invite(media) {
    const offer = await media.offer();
    if (this.#isClosed()) return;
    this.#inviteSent = true;
    const { signaling } = this.#host;
    if (this.#origin.isResumed) signaling.resume(this.#callSid(), offer, this.#reconnectToken ?? '');
    else signaling.invite(this.outboundConnectionId, offer, new URLSearchParams([...this.customParameters]).toString());
  }

  #open() {
    if (this.#status === 'open') return;
    this.#status = 'open';
    if (this.#media) this.#monitor.start(this.#media.connection);
    this.#host.opened(this);
    this.emit('accept', this);
  }

  // ---- messages of the bridge

  #listenToSignaling() {
    /** @type {Record<string, (payload: any) => void>} */
    const handlers = {
      ringing: (payload) => this.#onRinging(payload),
      answer: (payload) => void this.#onAnswer(payload).catch((error) => this.#fail(error)),
      cancel: (payload) => this.#onCancel(payload),
      hangup: (payload) => this.#onHangup(payload),
      error: (payload) => this.#onError(payload),
      message: (payload) => this.#onMessage(payload),
      ack: (payload) => this.#onAck(payload),
    };
    for (const [type, handle] of Object.entries(handlers)) {
      this.#listen(type, (payload) => { if (this.#isMine(type, payload)) handle(payload); });
    }
    this.#listen('transportClose', () => this.#onTransportClose());
    this.#listen('connected', (_, fresh) => { if (fresh) this.#onConnected(); });
    this.#listen('close', () => { if (this.#status !== 'closed') this.#fail(new CrosspointError(53001, 'The bridge closed the connection.')); });
  }

  /** @param {string} event @param {(...args: any[]) => void} handle */
  #listen(event, handle) {
    this.#host.signaling.on(event, handle);
    this.#unlisten.push(() => this.#host.signaling.off(event, handle));
  }

  /** @param {string} type @param {any} payload */
  #isMine(type, { callsid }) {
    if (!callsid) return false;
    if (callsid === this.parameters.CallSid || callsid === this.outboundConnectionId) return true;
    // The first reply to an invite brings the bridge's id, which we cannot know yet; a device has one such call at most.
    return this.#inviteSent && !this.parameters.CallSid && (type === 'ringing' || type === 'answer');
  }

  /** @param {any} payload */
  async #onRinging({ callsid, sdp }) {
    this.parameters.CallSid = callsid;
    if (this.#status !== 'connecting' && this.#status !== 'ringing') return;
    this.#status = 'ringing';
    this.emit('ringing', Boolean(sdp));
    if (sdp) await this.#media?.acceptAnswer(sdp).catch((error) => this.#fail(error));
  }

  /** @param {any} payload */
  async #onAnswer(payload) {
    if (typeof payload.reconnect === 'string') this.#reconnectToken = payload.reconnect;
    if (this.#signalingLost) this.#signalingBack();
    if (this.#answerArrived) return this.#answerArrived(payload);
    // Too late: the bridge has taken an offer that we took back. It is told how things are.
    if (payload.offer !== undefined) return this.#renegotiate();
    if (this.#isAnswered || this.direction === 'INCOMING') return;
    this.#isAnswered = true;
    this.parameters.CallSid = payload.callsid;
    if (payload.sdp) await this.#media?.acceptAnswer(payload.sdp);
    if (!this.#isClosed()) this.#open();
  }

  /** @param {any} [payload] */
  #onCancel(payload) {
    if (this.#isClosed()) return;
    this.isAnsweredElsewhere = payload?.reason === 'answered_elsewhere';
    this.#close();
    this.emit('cancel');
  }

  /** @param {any} payload */
  #onHangup({ error, reason }) {
    if (this.#status === 'pending') return this.#onCancel();
    if (this.#isClosed()) return;
    this.isLengthLimitReached = reason === 'length_limit';
    this.#close();
    if (error) this.emit('error', errorFromWire(error));
    this.emit('disconnect', this);
  }

  /** @param {any} payload */
  #onError({ error, voiceeventsid, offer }) {
    if (voiceeventsid) {
      if (this.#messages.delete(voiceeventsid)) this.emit('error', errorFromWire(error));
      return;
    }
    if (offer !== undefined) this.#offerRefused?.(offer, errorFromWire(error));
    // An error about a call that is not up (again) means that it will not be.
    if (this.#status === 'connecting' || this.#status === 'ringing' || this.#signalingLost) this.#end(errorFromWire(error));
    else if (!this.#isClosed()) this.emit('error', errorFromWire(error));
  }

  /** @param {any} payload */
  #onMessage({ content, contenttype, messagetype, voiceeventsid }) {
    this.emit('messageReceived', { content, contentType: contenttype, messageType: messagetype, voiceEventSid: voiceeventsid });
  }

  /** @param {any} payload */
  #onAck({ acktype, voiceeventsid }) {
    const message = this.#messages.get(voiceeventsid);
    if (acktype !== 'message' || !message) return;
    this.#messages.delete(voiceeventsid);
    this.emit('messageSent', message);
  }

  // ---- a lost signaling connection

  #onTransportClose() {
    if (this.#signalingLost || this.#isClosed()) return;
    if (this.#status === 'pending') return this.#onCancel();
    // An invite that is still to be sent waits in the queue.
    if (this.direction === 'OUTGOING' && !this.#inviteSent) return;
    const error = new CrosspointError(53001);
    if (!this.#reconnectToken || !this.parameters.CallSid) return this.#end(error);
    this.#signalingLost = true;
    this.#awaitSignaling(error);
    this.#reconnecting(error);
  }

  /**
   * Gives the call up only when its media is gone too: media outlives a control plane that is down.
   * @param {CrosspointError} error
   */
  #awaitSignaling(error) {
    const giveUp = () => (this.#mediaFlows() ? this.#awaitSignaling(error) : this.#end(error));
    this.#signalingTimer = setTimeout(giveUp, this.#host.signalingTimeoutMs);
  }

  #mediaFlows() {
    return !this.#mediaLostAt_ms && this.peerConnection?.connectionState === 'connected';
  }

  #onConnected() {
    if (!this.#signalingLost || !this.#media || !this.#reconnectToken) return;
    this.#host.signaling.resume(this.parameters.CallSid, this.#media.localSdp, this.#reconnectToken);
  }

  #signalingBack() {
    this.#signalingLost = false;
    clearTimeout(this.#signalingTimer);
    this.#maybeReconnected();
    if (this.#mediaLost) this.#restartMedia();
  }

  // ---- a lost media connection

  #mediaConnected() {
    clearTimeout(this.#graceTimer);
    if (this.#mediaLostAt_ms) this.emit('warning-cleared', 'ice-connectivity-lost', null);
    this.#mediaLostAt_ms = 0;
    if (!this.#mediaLost) return;
    this.#mediaLost = false;
    this.#maybeReconnected();
  }

  #mediaDisconnected() {
    this.#noteMediaLoss();
    this.#graceTimer = setTimeout(() => this.#restartMedia(), DISCONNECTED_GRACE_MS);
  }

  #noteMediaLoss() {
    if (this.#mediaLostAt_ms) return;
    this.#mediaLostAt_ms = Date.now();
    this.emit('warning', 'ice-connectivity-lost', null);
  }

  /** Restarts ICE again and again until the media is back or the time is over. */
  #restartMedia() {
    if (this.#isClosed() || !this.#isAnswered) return;
    clearTimeout(this.#graceTimer);
    this.#noteMediaLoss();
    const error = new CrosspointError(53405);
    if (Date.now() - this.#mediaLostAt_ms > MEDIA_RECONNECT_MS_MAX) return this.#fail(error);
    if (!this.#mediaLost) {
      this.#mediaLost = true;
      this.#reconnecting(error);
    }
    this.#graceTimer = setTimeout(() => this.#restartMedia(), ICE_RESTART_INTERVAL_MS);
    // Without signaling there is nobody to offer to; `#signalingBack` comes back here. An offer on its way is waited for.
    if (this.#signalingLost || this.#offersPending) return;
    this.#negotiate({ iceRestart: true }).catch((cause) => this.#host.log.warn('ICE restart failed', cause));
  }

  /** @param {CrosspointError} error */
  #reconnecting(error) {
    this.#status = 'reconnecting';
    this.emit('reconnecting', error);
  }

  #maybeReconnected() {
    if (this.#status !== 'reconnecting' || this.#signalingLost || this.#mediaLost) return;
    this.#status = 'open';
    this.emit('reconnected');
  }

  // ---- offers after the first

  /** @param {boolean} held */
  async #setHeld(held) {
    if (this.#isHeld === held) return;
    if (this.#status !== 'open' || !this.#media) throw new InvalidStateError(`A call in state "${this.#status}" cannot be ${held ? 'held' : 'resumed'}.`);
    this.#isHeld = held;
    this.#media.setHeld(held);
    try {
      await this.#negotiate();
    } catch (error) {
      this.#isHeld = !held;
      this.#media?.setHeld(!held);
      throw error;
    }
    this.emit('hold', held, this);
  }

  /** The app changed the peer connection itself, by `restartIce()` for one. What changes during an offer is announced again after it. */
  #renegotiate() {
    if (this.#status !== 'open' || this.#offersPending) return;
    this.#negotiate().catch((cause) => this.#host.log.warn('negotiation failed', cause));
  }

  /** Offers and waits for the answer; offers queue up behind each other. @param {{ iceRestart?: boolean }} [options] */
  #negotiate(options) {
    this.#offersPending += 1;
    const turn = this.#negotiation.then(() => this.#offerOnce(options));
    this.#negotiation = turn.catch(() => {}).then(() => { this.#offersPending -= 1; });
    return turn;
  }

  /** @param {{ iceRestart?: boolean }} [options] */
  async #offerOnce(options) {
    const media = this.#media;
    if (!media || this.#isClosed()) throw new InvalidStateError('The call is over.');
    const offer = await media.offer(options);
    try {
      const answer = await this.#exchange(offer);
      await media.acceptAnswer(answer.sdp);
    } catch (error) {
      if (!this.#isClosed()) await media.rollback();
      throw error;
    }
  }

  /** @param {string} offer @returns {Promise<any>} the payload of the answer */
  #exchange(offer) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(() => reject(new CrosspointError(31003, 'The bridge did not answer an offer.'))), ANSWER_MS_MAX);
      this.#timers.add(timer);
      const done = (/** @type {() => void} */ settle) => {
        clearTimeout(timer);
        this.#timers.delete(timer);
        this.#answerArrived = null;
        this.#offerRefused = null;
        settle();
      };
      const number = this.#offerNumber += 1;
      // The answer to a resumed invite has no number, and may come without a description.
      this.#answerArrived = (payload) => { if (payload.sdp && (payload.offer ?? number) === number) done(() => resolve(payload)); };
      this.#offerRefused = (refused, error) => { if (refused === number) done(() => reject(error)); };
      if (!this.#host.signaling.reinvite(this.parameters.CallSid, offer, number)) done(() => reject(new CrosspointError(31009)));
    });
  }

  // ---- the end

  #hangUp() {
    if (this.direction === 'OUTGOING' && !this.#inviteSent) return;
    const { signaling } = this.#host;
    // On a new connection the bridge takes a hang-up only for a call that was resumed there.
    if (this.#signalingLost) signaling.resume(this.#callSid(), this.#media?.localSdp ?? '', this.#reconnectToken ?? '');
    signaling.hangup(this.#callSid());
  }

  /** Our side cannot go on. @param {unknown} cause */
  #fail(cause) {
    if (this.#isClosed()) return;
    this.#hangUp();
    this.#end(cause instanceof CrosspointError ? cause : new CrosspointError(31000, /** @type {Error} */ (cause)?.message, cause));
  }

  /** @param {CrosspointError} error */
  #end(error) {
    this.#close();
    this.emit('error', error);
    this.emit('disconnect', this);
  }

  #close() {
    this.#status = 'closed';
    this.#timers.forEach((timer) => clearTimeout(timer));
    clearTimeout(this.#signalingTimer);
    clearTimeout(this.#graceTimer);
    this.#unlisten.splice(0).forEach((unlisten) => unlisten());
    this.#monitor.stop();
    this.#media?.close();
    this.#host.ended(this);
  }

  #isClosed() {
    return this.#status === 'closed';
  }

  #callSid() {
    return this.parameters.CallSid ?? this.outboundConnectionId;
  }

  // ---- figures and tones

  #listenToMonitor() {
    this.#monitor.on('sample', (sample) => {
      this.codec = sample.codecName || this.codec;
      this.emit('sample', sample);
    });
    this.#monitor.on('warning', (name, data) => {
      const isExpected = name === 'constant-audio-input-level' && (this.#isMuted || this.#isHeld);
      if (!isExpected) this.emit('warning', name, data);
    });
    this.#monitor.on('warning-cleared', (name) => this.emit('warning-cleared', name, null));
  }

  /** @param {number} input @param {number} output */
  #volume(input, output) {
    this.#monitor.addVolumes(input, output);
    this.emit('volume', input, output);
  }

  /** Lets the user hear the keys. @param {string} digits */
  #playKeys(digits) {
    [...digits].forEach((key, i) => this.#later(i * KEY_INTERVAL_MS, () => this.#host.sounds.playKey(key)));
  }

  /** @param {number} ms @param {() => void} run */
  #later(ms, run) {
    if (ms === 0) return run();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }
}
