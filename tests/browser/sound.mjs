/**
 * What a page hears: the strongest frequency of its remote track, and what its connection says about it.
 *
 * Input: a page whose `window.connections` the harness fills. Output: readings. Measured in the page by an AnalyserNode, after the
 * jitter buffer and the decoder: what the person would hear.
 */

import assert from 'node:assert/strict';
import { cpus, loadavg } from 'node:os';

const READING_MS = 250;
const CONCEALED_MAX = 0.01;

/** Runs in the page: readings of the remote track for `seconds`, and the statistics before and after. */
async function listen([seconds, readingMs]) {
  const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
  const connected = () => window.connections.findLast((each) => each.connectionState === 'connected');
  // A call is accepted when it is answered; its media follows when ICE and DTLS are done.
  for (let tries = 0; !connected() && tries < 1000; tries += 1) await wait(20);
  const connection = connected();
  const track = connection.getReceivers().find((receiver) => receiver.track?.kind === 'audio').track;
  window.ear ??= new AudioContext();
  const analyser = new AnalyserNode(window.ear, { fftSize: 8192, smoothingTimeConstant: 0 });
  const source = window.ear.createMediaStreamSource(new MediaStream([track]));
  source.connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  const strongest = () => {
    analyser.getFloatFrequencyData(bins);
    const bin = bins.reduce((best, level, each) => (level > bins[best] ? each : best), 0);
    return { hz: bin * window.ear.sampleRate / analyser.fftSize, db: bins[bin] };
  };
  const statistics = async () => {
    const all = [...(await connection.getStats()).values()];
    return {
      inbound: all.find((each) => each.type === 'inbound-rtp' && each.kind === 'audio') ?? {},
      remote: all.find((each) => each.type === 'remote-inbound-rtp' && each.kind === 'audio') ?? {},
    };
  };
  // One analysis window and the play-out delay of the first packets.
  await wait(1000);
  const before = await statistics();
  const readings = [];
  while (readings.length * readingMs < seconds * 1000) {
    await wait(readingMs);
    readings.push(strongest());
  }
  source.disconnect();
  return { readings, before, after: await statistics() };
}

/** Readings of what this page hears for `seconds`. */
export function hears(page, seconds) {
  return page.evaluate(listen, [seconds, READING_MS]);
}

/** Share of the samples that the decoder had to make up, 0 to 1. */
function concealedShare({ before, after }) {
  const delta = (name) => after.inbound[name] - before.inbound[name];
  return delta('concealedSamples') / delta('totalSamplesReceived');
}

/**
 * Listens for `seconds` and asserts that this page hears a steady tone of `hz` without gaps. Samples are also concealed when the
 * browser itself gets no processor for a moment; so if no packet was lost, it listens once more before it complains.
 */
export async function assertHears(page, hz, seconds, who) {
  let heard = await hears(page, seconds);
  const lost = heard.after.inbound.packetsLost - heard.before.inbound.packetsLost;
  if (concealedShare(heard) >= CONCEALED_MAX && lost === 0) {
    const circumstances = `jitter ${(1000 * heard.after.inbound.jitter).toFixed(0)} ms, load average ${loadavg()[0].toFixed(1)} on ${cpus().length} cores`;
    console.log(`figure: ${who}: ${percent(concealedShare(heard))} concealed though no packet was lost (${circumstances}); listened again`);
    heard = await hears(page, seconds);
  }
  const isIt = ({ hz: found, db }) => Math.abs(found - hz) < 12 && db > -60;
  const right = heard.readings.filter(isIt).length;
  const summary = heard.readings.map(({ hz: found, db }) => `${found.toFixed(0)} Hz ${db.toFixed(0)} dB`).join(', ');
  assert.ok(right >= 0.95 * heard.readings.length, `${who} should hear ${hz} Hz and hears ${summary}`);
  assert.ok(concealedShare(heard) < CONCEALED_MAX, `${who}: ${percent(concealedShare(heard))} of the samples were concealed, ${lost} packets lost`);
  return { ...heard, concealed: percent(concealedShare(heard)) };
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;

/** Asserts that the other leg's reports came back: the sender knows round trip and loss. */
export function assertReports(heard, who) {
  const { roundTripTime, fractionLost } = heard.after.remote;
  assert.ok(roundTripTime >= 0, `${who} knows no round trip: ${JSON.stringify(heard.after.remote)}`);
  assert.ok(fractionLost < 0.05, `${who} is told of ${fractionLost} loss`);
}
