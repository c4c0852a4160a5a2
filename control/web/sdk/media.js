/**
 * The media of one call: the peer connection, what goes into it and what is heard from it.
 *
 * Input: an input stream, session descriptions of the bridge. Output: our descriptions, the remote stream on audio elements, the
 * events `audio`, `volume`, `connected`, `disconnected`, `failed`, `negotiationneeded`. Owns: the RTCPeerConnection, captured tracks, audio elements.
 * Not here: when to negotiate and what to send to the bridge (call.js).
 *
 * Descriptions carry no candidates of ours: the bridge learns our address from our connectivity checks (RFC 8445, ICE lite).
 */

import { pollVolume, stopTracks } from './audio.js';
import { CrosspointError } from './errors.js';
import { EventEmitter } from './events.js';

const TONE_MS = 160;
const TONE_GAP_MS = 70;
const BITRATE_MIN = 6_000;
const BITRATE_MAX = 510_000;

/**
 * @typedef {object} MediaOptions
 * @property {import('./audio.js').GestureGate} gate
 * @property {RTCConfiguration} [rtcConfiguration]
 * @property {typeof RTCPeerConnection} [RTCPeerConnection]
 * @property {string[]} [codecPreferences] `opus`, `pcmu`, …; what is not named comes after
 * @property {number} [maxAverageBitrate] bits a second for Opus, both directions
 * @property {boolean} [dscp]
 */

/**
 * Adds the limit to the Opus format parameters that we announce, RFC 7587 §6.1.
 * @param {string} sdp @param {number} [bitrate] bits a second
 */
export function withMaxAverageBitrate(sdp, bitrate) {
  if (!bitrate || bitrate < BITRATE_MIN || bitrate > BITRATE_MAX) return sdp;
  const payloadType = /^a=rtpmap:(\d+) opus\//im.exec(sdp)?.[1];
  if (!payloadType) return sdp;
  const line = new RegExp(`^(a=fmtp:${payloadType} )(.*)$`, 'm');
  return sdp.replace(line, (_, start, parameters) => {
    const kept = parameters.split(';').filter((/** @type {string} */ each) => !each.trim().startsWith('maxaveragebitrate='));
    return `${start}${[...kept, `maxaveragebitrate=${bitrate}`].join(';')}`;
  });
}

/**
 * Preferred codecs first, the others after them in their old order.
 * @template {{ mimeType: string }} C @param {C[]} codecs @param {string[]} preferences @returns {C[]}
 */
export function sortCodecs(codecs, preferences) {
  const rank = (/** @type {C} */ codec) => {
    const index = preferences.findIndex((name) => codec.mimeType.toLowerCase() === `audio/${name.toLowerCase()}`);
    return index < 0 ? preferences.length : index;
  };
  return [...codecs].sort((a, b) => rank(a) - rank(b));
}

export class MediaSession extends EventEmitter {
  /** @type {MediaStream | null} */
  localStream = null;
  /** @type {MediaStream | null} */
  remoteStream = null;
  isMuted = false;
  isHeld = false;
  #options;
  #connection;
  #ownsInput = false;
  #closed = false;
  /** @type {Map<string, HTMLAudioElement>} */
  #outputs = new Map();
  #sinkIds = ['default'];
  /** @type {(() => void)[]} */
  #stopVolumes = [];
  #volume = { input: 0, output: 0 };

  /** @param {MediaOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    const Connection = options.RTCPeerConnection ?? RTCPeerConnection;
    this.#connection = new Connection(options.rtcConfiguration);
    this.#connection.ontrack = (event) => this.#trackArrived(event);
    this.#connection.onconnectionstatechange = () => this.#stateChanged();
    this.#connection.onnegotiationneeded = () => this.emit('negotiationneeded');
  }

  get connection() {
    return this.#connection;
  }

  /** What the bridge was last told or is being told. */
  get localSdp() {
    return withMaxAverageBitrate(this.#connection.localDescription?.sdp ?? '', this.#options.maxAverageBitrate);
  }

  /** @param {MediaStream} stream @param {boolean} owned whether closing stops its tracks */
  async setInput(stream, owned) {
    const [track] = stream.getAudioTracks();
    if (!track) throw new CrosspointError(31402, 'The input stream has no audio track.');
    const sender = this.#connection.getSenders().find((each) => each.track?.kind === 'audio');
    if (sender) await sender.replaceTrack(track);
    else this.#connection.addTrack(track, stream);
    if (this.#ownsInput) stopTracks(this.localStream);
    this.localStream = stream;
    this.#ownsInput = owned;
    this.#applyMute();
    this.#pollVolumes();
  }

  /** @param {{ iceRestart?: boolean }} [options] @returns {Promise<string>} the offer */
  async offer(options) {
    return this.#local(53400, async () => {
      this.#preferCodecs();
      await this.#connection.setLocalDescription(await this.#connection.createOffer(options));
    });
  }

  /** @param {string} sdp the bridge's answer */
  async acceptAnswer(sdp) {
    if (this.#connection.signalingState !== 'have-local-offer') return;
    await this.#remote({ type: 'answer', sdp });
    await this.#tuneSender();
  }

  /** @param {string} sdp the bridge's offer @returns {Promise<string>} our answer */
  async answer(sdp) {
    await this.#remote({ type: 'offer', sdp });
    const answer = await this.#local(53400, async () => {
      this.#preferCodecs();
      await this.#connection.setLocalDescription(await this.#connection.createAnswer());
    });
    await this.#tuneSender();
    return answer;
  }

  /** Takes back an offer that was not answered. */
  async rollback() {
    if (this.#connection.signalingState === 'have-local-offer') await this.#connection.setLocalDescription({ type: 'rollback' });
  }

  /** Takes effect for the other side with the next offer. RFC 3264 §8.4: `sendonly` puts a stream on hold. @param {boolean} held */
  setHeld(held) {
    this.isHeld = held;
    for (const transceiver of this.#connection.getTransceivers()) transceiver.direction = held ? 'sendonly' : 'sendrecv';
    this.#applyMute();
    this.#outputs.forEach((element) => { element.muted = held; });
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.isMuted = muted;
    this.#applyMute();
  }

  /** Adds to the tones that are still to be played. @param {string} digits @returns {boolean} false when RTP cannot carry them */
  insertTones(digits) {
    const tones = this.#connection.getSenders().find((sender) => sender.dtmf)?.dtmf;
    if (!tones || tones.canInsertDTMF === false) return false;
    tones.insertDTMF(tones.toneBuffer + digits, TONE_MS, TONE_GAP_MS);
    return true;
  }

  /** @param {string[]} ids */
  setSinkIds(ids) {
    this.#sinkIds = ids;
    if (this.remoteStream) this.#playRemote();
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopVolumes.forEach((stop) => stop());
    this.#outputs.forEach((_, id) => this.#removeOutput(id));
    if (this.#ownsInput) stopTracks(this.localStream);
    this.#connection.ontrack = this.#connection.onconnectionstatechange = this.#connection.onnegotiationneeded = null;
    this.#connection.close();
    this.removeAllListeners();
  }

  #applyMute() {
    const enabled = !this.isMuted && !this.isHeld;
    this.localStream?.getAudioTracks().forEach((track) => { track.enabled = enabled; });
  }

  #preferCodecs() {
    const preferences = this.#options.codecPreferences;
    const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.('audio')?.codecs;
    if (!preferences?.length || !codecs) return;
    const sorted = sortCodecs(codecs, preferences);
    for (const transceiver of this.#connection.getTransceivers()) transceiver.setCodecPreferences?.(sorted);
  }

  async #tuneSender() {
    const [sender] = this.#connection.getSenders();
    const parameters = sender?.getParameters?.();
    const encoding = parameters?.encodings?.[0];
    if (!parameters || !encoding) return;
    if (this.#options.dscp !== false) Object.assign(encoding, { priority: 'high', networkPriority: 'high' });
    if (this.#options.maxAverageBitrate) encoding.maxBitrate = this.#options.maxAverageBitrate;
    // A browser that does not know these settings goes on without them.
    await sender.setParameters(parameters).catch(() => {});
  }

  /** @param {number} code @param {() => Promise<void>} describe */
  async #local(code, describe) {
    try {
      await describe();
    } catch (cause) {
      throw new CrosspointError(code, /** @type {Error} */ (cause).message, cause);
    }
    return this.localSdp;
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #remote(description) {
    try {
      await this.#connection.setRemoteDescription(description);
    } catch (cause) {
      throw new CrosspointError(53402, /** @type {Error} */ (cause).message, cause);
    }
  }

  /** @param {RTCTrackEvent} event */
  #trackArrived(event) {
    if (event.track.kind !== 'audio') return;
    this.remoteStream = event.streams[0] ?? new MediaStream([event.track]);
    this.#playRemote();
    this.#pollVolumes();
  }

  #stateChanged() {
    const state = this.#connection.connectionState;
    if (state === 'connected' || state === 'disconnected' || state === 'failed') this.emit(state);
  }

  #playRemote() {
    for (const id of [...this.#outputs.keys()]) if (!this.#sinkIds.includes(id)) this.#removeOutput(id);
    for (const id of this.#sinkIds) {
      const known = this.#outputs.get(id);
      const element = known ?? new Audio();
      element.srcObject = this.remoteStream;
      element.muted = this.isHeld;
      if (!known) {
        this.#outputs.set(id, element);
        if (id !== 'default') element.setSinkId?.(id).catch(() => {});
        this.emit('audio', element);
      }
      void this.#options.gate.play(element);
    }
  }

  /** @param {string} id */
  #removeOutput(id) {
    const element = this.#outputs.get(id);
    if (!element) return;
    this.#outputs.delete(id);
    element.pause();
    element.srcObject = null;
    this.#options.gate.forget(element);
  }

  #pollVolumes() {
    this.#stopVolumes.splice(0).forEach((stop) => stop());
    const { localStream, remoteStream } = this;
    if (!localStream || !remoteStream) return;
    this.#stopVolumes = [
      pollVolume(remoteStream, (volume) => { this.#volume.output = volume; }),
      pollVolume(localStream, (volume) => {
        this.#volume.input = volume;
        this.emit('volume', this.#volume.input, this.#volume.output);
      }),
    ];
  }
}
