/**
 * Quality of a call from `RTCPeerConnection.getStats()`: one sample a second, and warnings when a figure stays bad.
 *
 * Input: stats reports, volumes. Output: `sample`, `warning` and `warning-cleared` events. Owns: the last samples and the warnings
 * that are up. Not here: what the app does about it. Field names, units, thresholds and warning names are those of the stock SDK.
 */

import { EventEmitter } from './events.js';

const SAMPLE_INTERVAL_MS = 1_000;
const SAMPLES_KEPT_MAX = 10;
/** A warning stays up at least this long. */
const WARNING_MS_MIN = 5_000;
/** Figures of the first seconds of a call are choppy and raise no warning. */
const WARNING_START_MS = 5_000;

/**
 * @typedef {object} Totals
 * @property {number} bytesReceived
 * @property {number} bytesSent
 * @property {number} packetsReceived
 * @property {number} packetsSent
 * @property {number} packetsLost
 * @property {number} packetsLostFraction percent
 */

/**
 * @typedef {object} Sample counters are of the last second, except in `totals`
 * @property {number} timestamp
 * @property {string} codecName
 * @property {number | undefined} rtt milliseconds, from RTCP; from STUN until the first report has come
 * @property {number} jitter milliseconds
 * @property {number | null} mos 1 to about 4.5
 * @property {number} packetsLost
 * @property {number} packetsLostFraction percent
 * @property {number} packetsReceived
 * @property {number} packetsSent
 * @property {number} bytesReceived
 * @property {number} bytesSent
 * @property {number | null} audioInputLevel 0 to 32767; null while volumes cannot be measured
 * @property {number | null} audioOutputLevel
 * @property {number} concealedFraction percent of the played audio that had to be invented
 * @property {AddressPair | null} addressPair
 * @property {Totals} totals
 */

/**
 * @typedef {object} AddressPair
 * @property {string} local `address:port`
 * @property {string} remote
 * @property {string} protocol
 * @property {string} localType host, srflx, prflx or relay
 * @property {number | undefined} rtt milliseconds, from STUN
 */

/**
 * Mean opinion score by a simplified E-model (ITU-T G.107): delay and loss lower the rating R, R maps to 1…4.5.
 * @param {number | undefined} rtt_ms @param {number} jitter_ms @param {number} loss_percent
 * @returns {number | null} null when a figure is missing
 */
export function mos(rtt_ms, jitter_ms, loss_percent) {
  const figures = [rtt_ms, jitter_ms, loss_percent];
  if (!figures.every((figure) => typeof figure === 'number' && Number.isFinite(figure) && figure >= 0)) return null;
  const latency_ms = /** @type {number} */ (rtt_ms) + 2 * jitter_ms + 10;
  let rating = 0;
  if (latency_ms < 160) rating = 94.768 - latency_ms / 40;
  else if (latency_ms < 1000) rating = 94.768 - (latency_ms - 120) / 10;
  rating = loss_percent <= rating / 2.5 ? Math.max(rating - 2.5 * loss_percent, 6.52) : 0;
  return 1 + 0.035 * rating + 0.000007 * rating * (rating - 60) * (100 - rating);
}

/**
 * @param {Iterable<any>} reports the values of an `RTCStatsReport`
 * @param {Sample | null} previous
 * @param {{ input: number | null, output: number | null }} levels 0 to 32767
 * @returns {Sample}
 */
export function sampleFrom(reports, previous, levels = { input: null, output: null }) {
  const all = [...reports];
  const byId = new Map(all.map((report) => [report.id, report]));
  const isAudio = (/** @type {any} */ report) => (report.kind ?? report.mediaType ?? 'audio') === 'audio';
  const find = (/** @type {string} */ type) => all.find((report) => report.type === type && isAudio(report)) ?? {};
  const inbound = find('inbound-rtp');
  const outbound = find('outbound-rtp');
  const remote = find('remote-inbound-rtp');
  const codec = byId.get(outbound.codecId) ?? byId.get(inbound.codecId);
  const totals = totalsFrom(inbound, outbound);
  const delta = (/** @type {keyof Totals} */ name) => totals[name] - (previous?.totals[name] ?? 0);
  const lost = Math.max(0, delta('packetsLost'));
  const lossPercent = percent(lost, lost + delta('packetsReceived'));
  const addressPair = addressPairFrom(all, byId);
  const rtt = typeof remote.roundTripTime === 'number' ? remote.roundTripTime * 1000 : addressPair?.rtt ?? previous?.rtt;
  const jitter = (inbound.jitter ?? 0) * 1000;
  return {
    timestamp: inbound.timestamp ?? outbound.timestamp ?? 0,
    codecName: (codec?.mimeType ?? '').replace(/^audio\//i, '').toLowerCase(),
    rtt,
    jitter,
    mos: previous ? mos(rtt, jitter, lossPercent) : null,
    packetsLost: lost,
    packetsLostFraction: lossPercent,
    packetsReceived: delta('packetsReceived'),
    packetsSent: delta('packetsSent'),
    bytesReceived: delta('bytesReceived'),
    bytesSent: delta('bytesSent'),
    audioInputLevel: rounded(levels.input),
    audioOutputLevel: rounded(levels.output),
    concealedFraction: percent(inbound.concealedSamples ?? 0, inbound.totalSamplesReceived ?? 0),
    addressPair,
    totals,
  };
}

/** @param {any} inbound @param {any} outbound @returns {Totals} */
function totalsFrom(inbound, outbound) {
  const packetsReceived = inbound.packetsReceived ?? 0;
  const packetsLost = Math.max(0, inbound.packetsLost ?? 0);
  return {
    bytesReceived: inbound.bytesReceived ?? 0,
    bytesSent: outbound.bytesSent ?? 0,
    packetsReceived,
    packetsSent: outbound.packetsSent ?? 0,
    packetsLost,
    packetsLostFraction: percent(packetsLost, packetsLost + packetsReceived),
  };
}

/** @param {any[]} all @param {Map<string, any>} byId @returns {AddressPair | null} */
function addressPairFrom(all, byId) {
  const transport = all.find((report) => report.type === 'transport' && report.selectedCandidatePairId);
  const pair = transport ? byId.get(transport.selectedCandidatePairId)
    : all.find((report) => report.type === 'candidate-pair' && report.nominated && report.state === 'succeeded');
  const local = byId.get(pair?.localCandidateId);
  const remote = byId.get(pair?.remoteCandidateId);
  if (!local || !remote) return null;
  return {
    local: endpoint(local),
    remote: endpoint(remote),
    protocol: local.protocol ?? 'udp',
    localType: local.candidateType ?? 'host',
    rtt: typeof pair.currentRoundTripTime === 'number' ? pair.currentRoundTripTime * 1000 : undefined,
  };
}

/** @param {any} candidate */
function endpoint({ address, ip, port }) {
  const host = address ?? ip ?? '';
  // A browser may hide the address of a local candidate; its port is still telling.
  if (!host) return `(hidden):${port}`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** @param {number} part @param {number} whole */
function percent(part, whole) {
  return whole > 0 ? (part / whole) * 100 : 0;
}

/**
 * @typedef {object} Threshold
 * @property {string} stat a number of the sample
 * @property {string} warning name the app sees
 * @property {'max' | 'min' | 'maxAverage' | 'minStandardDeviation'} rule
 * @property {number} value
 * @property {number} samples how many of the last samples are looked at
 * @property {number} [raise] how many of them must be bad
 * @property {number} [clear] how many may be bad when the warning goes, or for an average the value that clears
 */

/** @type {Threshold[]} */
export const THRESHOLDS = [
  { stat: 'rtt', warning: 'high-rtt', rule: 'max', value: 400, samples: 5 },
  { stat: 'jitter', warning: 'high-jitter', rule: 'max', value: 30, samples: 5 },
  { stat: 'mos', warning: 'low-mos', rule: 'min', value: 3, samples: 5 },
  { stat: 'packetsLostFraction', warning: 'high-packet-loss', rule: 'max', value: 1, samples: 5 },
  { stat: 'packetsLostFraction', warning: 'high-packets-lost-fraction', rule: 'maxAverage', value: 3, samples: 7, clear: 1 },
  { stat: 'bytesReceived', warning: 'low-bytes-received', rule: 'min', value: 1, samples: 3, clear: 2 },
  { stat: 'bytesSent', warning: 'low-bytes-sent', rule: 'min', value: 1, samples: 3, clear: 2 },
  { stat: 'audioInputLevel', warning: 'constant-audio-input-level', rule: 'minStandardDeviation', value: 327.67, samples: 10 },
];

/**
 * Whether a threshold is crossed by the last samples: true to raise, false to clear, null when it cannot be told.
 * @param {Threshold} threshold @param {number[]} values @returns {boolean | null}
 */
export function crossed(threshold, values) {
  const { rule, value, samples, raise = 3, clear = 0 } = threshold;
  if (rule === 'max' || rule === 'min') {
    const bad = values.filter((each) => (rule === 'max' ? each > value : each < value)).length;
    return bad >= raise ? true : bad <= clear ? false : null;
  }
  if (values.length < samples) return null;
  const average = values.reduce((sum, each) => sum + each, 0) / values.length;
  if (rule === 'maxAverage') return average > value ? true : average <= clear ? false : null;
  const variance = values.reduce((sum, each) => sum + (each - average) ** 2, 0) / values.length;
  return Math.sqrt(variance) < value;
}

export class StatsMonitor extends EventEmitter {
  /** @type {Sample[]} */
  #samples = [];
  /** Warning name → when it was raised. @type {Map<string, number>} */
  #raised = new Map();
  /** @type {any} */
  #timer = null;
  #started_ms = 0;
  /** @type {number[]} */
  #inputs = [];
  /** @type {number[]} */
  #outputs = [];
  #now;

  /** @param {() => number} [now] milliseconds */
  constructor(now = () => Date.now()) {
    super();
    this.#now = now;
  }

  /** @param {{ getStats(): Promise<any> }} connection */
  start(connection) {
    if (this.#timer) return;
    this.#started_ms = this.#now();
    this.#timer = setInterval(() => this.#poll(connection), SAMPLE_INTERVAL_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }

  /** @param {string} warning @returns {boolean} */
  isRaised(warning) {
    return this.#raised.has(warning);
  }

  /** Volumes between two samples are averaged into the next one. @param {number} input 0 to 1 @param {number} output 0 to 1 */
  addVolumes(input, output) {
    this.#inputs.push(input * 32767);
    this.#outputs.push(output * 32767);
  }

  /** @param {Iterable<any>} reports */
  add(reports) {
    const levels = { input: average(this.#inputs.splice(0)), output: average(this.#outputs.splice(0)) };
    const sample = sampleFrom(reports, this.#samples.at(-1) ?? null, levels);
    this.#samples = [...this.#samples, sample].slice(-SAMPLES_KEPT_MAX);
    if (this.#now() - this.#started_ms >= WARNING_START_MS) THRESHOLDS.forEach((threshold) => this.#check(threshold));
    this.emit('sample', sample);
  }

  /** @param {{ getStats(): Promise<any> }} connection */
  async #poll(connection) {
    try {
      const reports = await connection.getStats();
      if (this.#timer) this.add(reports.values());
    } catch {
      this.stop();
    }
  }

  /** @param {Threshold} threshold */
  #check(threshold) {
    const { stat, warning, rule, value, samples } = threshold;
    const recent = this.#samples.slice(-samples);
    const values = recent.map((sample) => /** @type {any} */ (sample)[stat]);
    if (values.some((each) => typeof each !== 'number')) return;
    const bad = crossed(threshold, values);
    const data = { name: stat, threshold: { name: rule, value }, values, samples: recent };
    const since_ms = this.#raised.get(warning);
    if (bad && since_ms === undefined) {
      this.#raised.set(warning, this.#now());
      this.emit('warning', warning, data);
    } else if (bad === false && since_ms !== undefined && this.#now() - since_ms >= WARNING_MS_MIN) {
      this.#raised.delete(warning);
      this.emit('warning-cleared', warning, data);
    }
  }
}

/** @param {number[]} values */
function average(values) {
  return values.length ? values.reduce((sum, each) => sum + each, 0) / values.length : null;
}

/** @param {number | null} value */
function rounded(value) {
  return value === null ? null : Math.round(value);
}
