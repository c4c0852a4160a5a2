/**
 * Microphones and speakers: which exist, which are chosen, and whether the browser lets us be heard.
 *
 * Input: the app's choices, the browser's device list. Output: input streams for calls, sink ids for playing, `deviceChange`,
 * `inputVolume`. Owns: the chosen input stream. Not here: the audio of a call (media.js), audio processors.
 */

import { CrosspointError, InvalidArgumentError, InvalidStateError } from './errors.js';
import { EventEmitter } from './events.js';
import { audioContext } from './sounds.js';

const VOLUME_INTERVAL_MS = 50;

/**
 * A gate that browsers keep shut until the user touches the page: sound may not start by itself.
 * Emits `change` when `isShut` changes. Opens by itself at the next click or key, or by `open()` called from one.
 */
export class GestureGate extends EventEmitter {
  /** @type {Set<HTMLMediaElement>} */
  #waiting = new Set();
  #open = () => void this.open();

  get isShut() {
    return this.#waiting.size > 0;
  }

  /** Plays an element now, or after the next gesture. @param {HTMLMediaElement} element */
  async play(element) {
    try {
      await element.play();
      this.forget(element);
    } catch (error) {
      // Other errors (the element was closed meanwhile) are not cured by a gesture.
      if (/** @type {Error} */ (error).name === 'NotAllowedError') this.#wait(element);
    }
  }

  /** @param {HTMLMediaElement} element */
  forget(element) {
    if (!this.#waiting.delete(element) || this.isShut) return;
    removeEventListener('pointerdown', this.#open);
    removeEventListener('keydown', this.#open);
    this.emit('change', false);
  }

  async open() {
    await audioContext()?.resume();
    await Promise.all([...this.#waiting].map((element) => this.play(element)));
  }

  /** @param {HTMLMediaElement} element */
  #wait(element) {
    if (this.#waiting.has(element)) return;
    this.#waiting.add(element);
    if (this.#waiting.size > 1) return;
    addEventListener('pointerdown', this.#open);
    addEventListener('keydown', this.#open);
    this.emit('change', true);
  }
}

/** The devices that one kind of sound is played on. */
export class OutputDevices {
  /** @type {Set<string>} */
  #ids = new Set(['default']);
  #available;
  #changed;

  /** @param {Map<string, MediaDeviceInfo>} available @param {(ids: string[]) => void} changed */
  constructor(available, changed) {
    this.#available = available;
    this.#changed = changed;
  }

  /** @returns {Set<MediaDeviceInfo>} */
  get() {
    return new Set([...this.#ids].flatMap((id) => this.#available.get(id) ?? []));
  }

  get ids() {
    return [...this.#ids];
  }

  /** @param {string | string[]} ids */
  async set(ids) {
    const wanted = Array.isArray(ids) ? ids : [ids];
    const unknown = wanted.filter((id) => id !== 'default' && !this.#available.has(id));
    if (!wanted.length || unknown.length) throw new InvalidArgumentError(`Unknown output devices: ${unknown.join(', ') || 'none given'}`);
    this.#ids = new Set(wanted);
    this.#changed(wanted);
  }

  /** @param {MediaDeviceInfo} device @returns {boolean} whether it was in use */
  delete(device) {
    const wasUsed = this.#ids.delete(device.deviceId);
    if (!this.#ids.size) this.#ids.add('default');
    if (wasUsed) this.#changed(this.ids);
    return wasUsed;
  }

  /** Plays a sound on the chosen devices. @param {string} url */
  async test(url) {
    await Promise.all(this.ids.map(async (id) => {
      const element = new Audio(url);
      await element.setSinkId?.(id === 'default' ? '' : id);
      await element.play();
    }));
  }
}

/**
 * @typedef {object} AudioHost what the device lends
 * @property {(stream: MediaStream | null) => Promise<void>} inputChanged
 * @property {(kind: 'speaker' | 'ringtone', ids: string[]) => void} outputsChanged
 * @property {() => boolean} isBusy
 * @property {(constraints: MediaStreamConstraints) => Promise<MediaStream>} getUserMedia
 * @property {() => Promise<MediaDeviceInfo[]>} enumerateDevices
 */

export class AudioHelper extends EventEmitter {
  /** @type {Map<string, MediaDeviceInfo>} */
  availableInputDevices = new Map();
  /** @type {Map<string, MediaDeviceInfo>} */
  availableOutputDevices = new Map();
  /** @type {MediaTrackConstraints | null} */
  audioConstraints = null;
  /** @type {MediaDeviceInfo | null} */
  inputDevice = null;
  /** @type {MediaStream | null} */
  inputStream = null;
  /** @type {Record<string, boolean>} */
  #enabled = { incoming: true, outgoing: true, disconnect: true };
  #host;
  #devicesChanged = () => void this.refresh();
  /** @type {(() => void) | null} */
  #stopVolume = null;

  /** @param {AudioHost} host */
  constructor(host) {
    super();
    this.#host = host;
    this.speakerDevices = new OutputDevices(this.availableOutputDevices, (ids) => host.outputsChanged('speaker', ids));
    this.ringtoneDevices = new OutputDevices(this.availableOutputDevices, (ids) => host.outputsChanged('ringtone', ids));
    globalThis.navigator?.mediaDevices?.addEventListener?.('devicechange', this.#devicesChanged);
    void this.refresh();
  }

  get isOutputSelectionSupported() {
    return typeof HTMLAudioElement !== 'undefined' && 'setSinkId' in HTMLAudioElement.prototype;
  }

  get isVolumeSupported() {
    return audioContext() !== null;
  }

  /** Reads the device list anew. Labels are empty until the user has allowed the microphone once. */
  async refresh() {
    const devices = await this.#host.enumerateDevices().catch(() => []);
    const lost = [
      ...fill(this.availableInputDevices, devices, 'audioinput'),
      ...fill(this.availableOutputDevices, devices, 'audiooutput'),
    ];
    const active = lost.filter((device) => this.#release(device));
    this.emit('deviceChange', active);
  }

  /** Uses this microphone for calls from now on, also for the call in progress. @param {string} deviceId */
  async setInputDevice(deviceId) {
    const device = this.availableInputDevices.get(deviceId);
    if (!device) throw new InvalidArgumentError(`Input device not found: ${deviceId}`);
    const stream = await this.#capture({ ...this.audioConstraints, deviceId: { exact: deviceId } });
    await this.#replaceInput(device, stream);
  }

  /** Back to the browser's default microphone. */
  async unsetInputDevice() {
    if (!this.inputDevice) return;
    if (this.#host.isBusy()) throw new InvalidStateError('The input device cannot be unset while a call is in progress.');
    await this.#replaceInput(null, null);
  }

  /** @param {MediaTrackConstraints} constraints */
  async setAudioConstraints(constraints) {
    this.audioConstraints = { ...constraints };
    if (this.inputDevice) await this.setInputDevice(this.inputDevice.deviceId);
  }

  async unsetAudioConstraints() {
    this.audioConstraints = null;
    if (this.inputDevice) await this.setInputDevice(this.inputDevice.deviceId);
  }

  /** Whether an incoming call rings; with an argument, decides it. @param {boolean} [enable] */
  incoming(enable) {
    return this.#toggle('incoming', enable);
  }

  /** @param {boolean} [enable] */
  outgoing(enable) {
    return this.#toggle('outgoing', enable);
  }

  /** @param {boolean} [enable] */
  disconnect(enable) {
    return this.#toggle('disconnect', enable);
  }

  /**
   * The stream a call sends: the chosen one, or a fresh capture that the call has to stop.
   * @param {MediaTrackConstraints | boolean} [constraints]
   * @returns {Promise<{ stream: MediaStream, owned: boolean }>}
   */
  async openInput(constraints) {
    if (this.inputStream) return { stream: this.inputStream, owned: false };
    const wanted = constraints ?? this.audioConstraints ?? true;
    const stream = await this.#capture(wanted);
    void this.refresh();
    return { stream, owned: true };
  }

  destroy() {
    globalThis.navigator?.mediaDevices?.removeEventListener?.('devicechange', this.#devicesChanged);
    this.#stopVolume?.();
    stopTracks(this.inputStream);
    this.inputStream = null;
    this.removeAllListeners();
  }

  /** @param {MediaTrackConstraints | boolean} audio */
  async #capture(audio) {
    try {
      return await this.#host.getUserMedia({ audio });
    } catch (cause) {
      const name = /** @type {Error} */ (cause)?.name;
      throw new CrosspointError(name === 'NotAllowedError' || name === 'PermissionDeniedError' ? 31401 : 31402, undefined, cause);
    }
  }

  /** @param {MediaDeviceInfo | null} device @param {MediaStream | null} stream */
  async #replaceInput(device, stream) {
    await this.#host.inputChanged(stream);
    stopTracks(this.inputStream);
    this.inputDevice = device;
    this.inputStream = stream;
    this.#stopVolume?.();
    this.#stopVolume = stream && pollVolume(stream, (volume) => this.emit('inputVolume', volume));
  }

  /** @param {MediaDeviceInfo} device @returns {boolean} whether it was in use */
  #release(device) {
    if (device.kind === 'audioinput') return this.inputDevice?.deviceId === device.deviceId;
    const spoke = this.speakerDevices.delete(device);
    return this.ringtoneDevices.delete(device) || spoke;
  }

  /** @param {string} sound @param {boolean} [enable] */
  #toggle(sound, enable) {
    if (enable !== undefined) this.#enabled[sound] = Boolean(enable);
    return this.#enabled[sound];
  }
}

/** @param {MediaStream | null} stream */
export function stopTracks(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}

/**
 * Volume of a stream from 0 to 1, twenty times a second while the browser lets audio run.
 * @param {MediaStream} stream @param {(volume: number) => void} report @returns {() => void} stops it
 */
export function pollVolume(stream, report) {
  const context = audioContext();
  if (!context || !stream.getAudioTracks().length) return () => {};
  const source = context.createMediaStreamSource(stream);
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  source.connect(analyser);
  const wave = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    if (context.state !== 'running') return;
    analyser.getFloatTimeDomainData(wave);
    report(loudness(wave));
  }, VOLUME_INTERVAL_MS);
  return () => {
    clearInterval(timer);
    source.disconnect();
  };
}

/** Root mean square, lifted so that speech uses most of the scale. @param {Float32Array} wave */
function loudness(wave) {
  let sum = 0;
  for (const value of wave) sum += value * value;
  return Math.min(1, Math.sqrt(sum / wave.length) * 2.5);
}

/**
 * Makes a map equal to the list. @param {Map<string, MediaDeviceInfo>} map @param {MediaDeviceInfo[]} devices
 * @param {MediaDeviceKind} kind @returns {MediaDeviceInfo[]} what has gone
 */
function fill(map, devices, kind) {
  const present = devices.filter((device) => device.kind === kind && device.deviceId);
  const ids = new Set(present.map((device) => device.deviceId));
  const lost = [...map.values()].filter((device) => !ids.has(device.deviceId));
  lost.forEach((device) => map.delete(device.deviceId));
  present.forEach((device) => map.set(device.deviceId, device));
  return lost;
}
