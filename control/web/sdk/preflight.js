/**
 * A test call that judges the way from this browser to the bridge before it matters.
 *
 * Input: a token and, in `params`, a destination that answers. Output: the events `connected`, `sample`, `warning`, then `completed` with
 * a report or `failed` with an error. Owns: a device of its own and one call. Not here: what the app shows of it.
 */

import { EventEmitter } from './events.js';
import { CrosspointError } from './errors.js';

const TEST_MS = 15_000;

/**
 * @typedef {import('./device.js').DeviceOptions & { params?: Record<string, string>, durationMs?: number }} PreflightOptions
 * `durationMs` is how long the test call lasts, by default 15 seconds
 */

/** @typedef {{ average: number, max: number, min: number }} Spread */

/** @param {number} mos @returns {'excellent' | 'great' | 'good' | 'fair' | 'degraded'} */
export function callQuality(mos) {
  if (mos > 4.2) return 'excellent';
  if (mos >= 4.1) return 'great';
  if (mos >= 3.7) return 'good';
  if (mos >= 3.1) return 'fair';
  return 'degraded';
}

/** @param {(number | null | undefined)[]} figures @returns {Spread | undefined} */
export function spread(figures) {
  const known = figures.filter((figure) => typeof figure === 'number');
  if (!known.length) return undefined;
  return { average: known.reduce((sum, each) => sum + each, 0) / known.length, max: Math.max(...known), min: Math.min(...known) };
}

export class PreflightTest extends EventEmitter {
  static Status = Object.freeze({ Connecting: 'connecting', Connected: 'connected', Completed: 'completed', Failed: 'failed' });
  static CallQuality = Object.freeze({ Excellent: 'excellent', Great: 'great', Good: 'good', Fair: 'fair', Degraded: 'degraded' });

  /** @type {'connecting' | 'connected' | 'completed' | 'failed'} */
  status = 'connecting';
  startTime = Date.now();
  /** @type {number | undefined} */
  endTime;
  /** @type {string | undefined} */
  callSid;
  /** @type {import('./stats.js').Sample[]} */
  #samples = [];
  /** @type {{ name: string, data: unknown }[]} */
  #warnings = [];
  /** @type {Record<string, { start: number, end: number, duration: number }>} */
  #timing = {};
  /** @type {any} */
  #timer = null;
  #device;
  #edge = /** @type {string | null} */ (null);

  /** @param {(options: import('./device.js').DeviceOptions) => import('./device.js').Device} makeDevice @param {PreflightOptions} options */
  constructor(makeDevice, { params = {}, durationMs = TEST_MS, ...deviceOptions }) {
    super();
    this.#device = makeDevice({ sounds: { outgoing: false, disconnect: false, ringback: false }, ...deviceOptions });
    // What concerns the test comes as its own `failed`.
    this.#device.on('error', () => {});
    this.#run(params, durationMs).catch((error) => this.#failed(error));
  }

  get latestSample() {
    return this.#samples.at(-1);
  }

  /** @returns {Record<string, unknown> | undefined} after `completed` */
  get report() {
    return this.status === 'completed' ? this.#makeReport() : undefined;
  }

  /** Ends the test early. */
  stop() {
    this.#failed(new CrosspointError(31008, 'The test was stopped.'));
  }

  /** @param {Record<string, string>} params @param {number} duration_ms */
  async #run(params, duration_ms) {
    const call = await this.#device.connect({ params });
    this.#edge = this.#device.edge;
    this.#note('signaling', this.startTime);
    const dialled_ms = Date.now();
    call.on('sample', (sample) => this.#sampled(sample));
    call.on('warning', (name, data) => this.#warned(name, data));
    call.on('error', (error) => this.#failed(error));
    call.on('accept', () => {
      this.#note('peerConnection', dialled_ms);
      this.callSid = call.parameters.CallSid;
      this.status = 'connected';
      this.emit('connected');
      this.#timer = setTimeout(() => call.disconnect(), duration_ms);
    });
    call.on('disconnect', () => this.#completed());
  }

  /** @param {string} what @param {number} start */
  #note(what, start) {
    const end = Date.now();
    this.#timing[what] = { start, end, duration: end - start };
  }

  /** @param {import('./stats.js').Sample} sample */
  #sampled(sample) {
    this.#samples.push(sample);
    this.emit('sample', sample);
  }

  /** @param {string} name @param {unknown} data */
  #warned(name, data) {
    this.#warnings.push({ name, data });
    this.emit('warning', name, data);
  }

  #completed() {
    if (this.status !== 'connected') return this.#failed(new CrosspointError(31005, 'The test call ended before it was answered.'));
    this.#end('completed');
    this.emit('completed', this.#makeReport());
  }

  /** @param {unknown} error */
  #failed(error) {
    if (this.status === 'completed' || this.status === 'failed') return;
    this.#end('failed');
    this.emit('failed', error);
  }

  /** @param {'completed' | 'failed'} status */
  #end(status) {
    clearTimeout(this.#timer);
    this.status = status;
    this.endTime = Date.now();
    this.#device.destroy();
  }

  #makeReport() {
    const mos = spread(this.#samples.map((sample) => sample.mos));
    const end = this.endTime ?? Date.now();
    return {
      callSid: this.callSid,
      edge: this.#edge,
      callQuality: mos && callQuality(mos.average),
      isTurnRequired: this.latestSample?.addressPair?.localType === 'relay',
      networkTiming: this.#timing,
      testTiming: { start: this.startTime, end, duration: end - this.startTime },
      stats: {
        jitter: spread(this.#samples.map((sample) => sample.jitter)),
        mos,
        rtt: spread(this.#samples.map((sample) => sample.rtt)),
      },
      totals: this.latestSample?.totals,
      samples: this.#samples,
      warnings: this.#warnings,
    };
  }
}
