/**
 * The sounds of a telephone, made with WebAudio: ringing in, ringing out, hang-up, keypad tones.
 *
 * Input: names of sounds. Output: the speakers. Owns: the page's one AudioContext and the sounds that play.
 * Not here: the audio of calls (media.js). Nothing is downloaded unless the app gives an own sound as a URL.
 */

/** @typedef {'incoming' | 'outgoing' | 'ringback' | 'disconnect'} SoundName */

/**
 * @typedef {object} Pattern
 * @property {number[]} hertz played together
 * @property {number[]} beats_ms start and end of each beep within a period: start, end, start, end…
 * @property {number} period_ms 0 plays once
 * @property {number} gain
 */

/** @type {Record<SoundName, Pattern>} */
const PATTERNS = {
  incoming: { hertz: [523.25, 659.25], beats_ms: [0, 350, 500, 850], period_ms: 2800, gain: 0.09 },
  outgoing: { hertz: [587.33], beats_ms: [0, 70], period_ms: 0, gain: 0.05 },
  // ITU-T E.180 §8: one second of 425 Hz, four seconds of pause.
  ringback: { hertz: [425], beats_ms: [0, 1000], period_ms: 5000, gain: 0.05 },
  disconnect: { hertz: [392], beats_ms: [0, 90, 150, 240], period_ms: 0, gain: 0.05 },
};

// ITU-T Q.23: each key is a low and a high tone.
const LOW_HERTZ = [697, 770, 852, 941];
const HIGH_HERTZ = [1209, 1336, 1477];
const KEYS = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '0', '#'];
const KEY_TONE_MS = 120;

/** @type {AudioContext | null} */
let sharedContext = null;

/** The page's AudioContext, made at first use; null where there is none. @returns {AudioContext | null} */
export function audioContext() {
  if (!sharedContext && typeof AudioContext !== 'undefined') sharedContext = new AudioContext();
  return sharedContext;
}

/** @param {string} key @returns {[number, number] | null} the two frequencies of a key in hertz */
export function keyTones(key) {
  const index = KEYS.indexOf(key);
  return index < 0 ? null : [LOW_HERTZ[Math.floor(index / 3)], HIGH_HERTZ[index % 3]];
}

/** @param {string} key the name under which the stock SDK's option `sounds` knows the key's tone */
function keySoundName(key) {
  return `dtmf${{ '*': 's', '#': 'h' }[key] ?? key}`;
}

export class Sounds {
  /** false = silent, a string = URL to play instead. @type {Record<string, string | boolean | undefined>} */
  options = {};
  /** Output devices of sounds given as URL. @type {string[]} */
  sinkIds = ['default'];
  /** @type {Map<string, () => void>} */
  #playing = new Map();

  /** @param {SoundName} name */
  play(name) {
    this.stop(name);
    const choice = this.options[name];
    if (choice === false) return;
    const pattern = PATTERNS[name];
    if (typeof choice === 'string') this.#playing.set(name, playUrl(choice, pattern.period_ms > 0, this.sinkIds[0]));
    else this.#playing.set(name, playPattern(pattern));
  }

  /** @param {SoundName} name */
  stop(name) {
    this.#playing.get(name)?.();
    this.#playing.delete(name);
  }

  stopAll() {
    for (const name of [...this.#playing.keys()]) this.stop(/** @type {SoundName} */ (name));
  }

  /** @param {string} key one of 0-9, * and # */
  playKey(key) {
    const choice = this.options[keySoundName(key)];
    const hertz = keyTones(key);
    if (choice === false || !hertz) return;
    if (typeof choice === 'string') playUrl(choice, false, this.sinkIds[0]);
    else playPattern({ hertz, beats_ms: [0, KEY_TONE_MS], period_ms: 0, gain: 0.05 });
  }
}

/** @param {Pattern} pattern @returns {() => void} stops it */
function playPattern(pattern) {
  const context = audioContext();
  if (!context) return () => {};
  /** @type {Set<OscillatorNode>} */
  const oscillators = new Set();
  const round = () => {
    // A suspended context would play everything at once when it wakes up.
    if (context.state === 'running') schedule(context, pattern, oscillators);
  };
  round();
  const timer = pattern.period_ms > 0 ? setInterval(round, pattern.period_ms) : undefined;
  return () => {
    clearInterval(timer);
    oscillators.forEach((oscillator) => oscillator.stop());
  };
}

/** @param {AudioContext} context @param {Pattern} pattern @param {Set<OscillatorNode>} oscillators */
function schedule(context, pattern, oscillators) {
  const fade_s = 0.015;
  for (let i = 0; i < pattern.beats_ms.length; i += 2) {
    const start_s = context.currentTime + pattern.beats_ms[i] / 1000;
    const end_s = context.currentTime + pattern.beats_ms[i + 1] / 1000;
    const gain = context.createGain();
    gain.connect(context.destination);
    gain.gain.setValueAtTime(0, start_s);
    gain.gain.linearRampToValueAtTime(pattern.gain, start_s + fade_s);
    gain.gain.setValueAtTime(pattern.gain, end_s - fade_s);
    gain.gain.linearRampToValueAtTime(0, end_s);
    for (const hertz of pattern.hertz) {
      const oscillator = context.createOscillator();
      oscillator.frequency.value = hertz;
      oscillator.connect(gain);
      oscillator.start(start_s);
      oscillator.stop(end_s);
      oscillators.add(oscillator);
      oscillator.onended = () => oscillators.delete(oscillator);
    }
  }
}

/** @param {string} url @param {boolean} loop @param {string} sinkId @returns {() => void} stops it */
function playUrl(url, loop, sinkId) {
  const element = new Audio(url);
  element.loop = loop;
  if (sinkId && sinkId !== 'default') element.setSinkId?.(sinkId).catch(() => {});
  element.play().catch(() => {});
  return () => element.pause();
}
