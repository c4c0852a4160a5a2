/**
 * What a page hears: the strongest frequency of its remote track, and what its connection says about it.
 *
 * Input: a page whose `window.connections` the harness fills. Output: readings. Measured in the page by an AnalyserNode, after the
 * jitter buffer and the decoder: what the person would hear.
 */

import assert from 'node:assert/strict';

const READING_MS = 250;

/** Runs in the page: readings of the remote track for `seconds`, and the statistics before and after. */
async function listen([seconds, readingMs]) {
  const connection = window.connections.findLast((each) => each.connectionState === 'connected');
  const track = connection.getReceivers().find((receiver) => receiver.track?.kind === 'audio').track;
  window.ear ??= new AudioContext();
  const analyser = new AnalyserNode(window.ear, { fftSize: 8192, smoothingTimeConstant: 0 });
  window.ear.createMediaStreamSource(new MediaStream([track])).connect(analyser);
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
  const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
  // One analysis window and the play-out delay of the first packets.
  await wait(1000);
  const before = await statistics();
  const readings = [];
  while (readings.length * readingMs < seconds * 1000) {
    await wait(readingMs);
    readings.push(strongest());
  }
  return { readings, before, after: await statistics() };
}

/** Readings of what this page hears for `seconds`. */
export function hears(page, seconds) {
  return page.evaluate(listen, [seconds, READING_MS]);
}

/** Asserts that these readings are of a steady tone, without gaps; gives the share of concealed samples. */
export function assertTone(heard, hz, who) {
  const isIt = ({ hz: found, db }) => Math.abs(found - hz) < 12 && db > -60;
  const right = heard.readings.filter(isIt).length;
  const summary = heard.readings.map(({ hz: found, db }) => `${found.toFixed(0)} Hz ${db.toFixed(0)} dB`).join(', ');
  assert.ok(right >= 0.95 * heard.readings.length, `${who} should hear ${hz} Hz and hears ${summary}`);
  const delta = (name) => heard.after.inbound[name] - heard.before.inbound[name];
  const concealed = delta('concealedSamples') / delta('totalSamplesReceived');
  assert.ok(concealed < 0.01, `${who}: ${(100 * concealed).toFixed(2)} % of the samples were concealed`);
  return concealed;
}

/** Asserts that the other leg's reports came back: the sender knows round trip and loss. */
export function assertReports(heard, who) {
  const { roundTripTime, fractionLost } = heard.after.remote;
  assert.ok(roundTripTime >= 0, `${who} knows no round trip: ${JSON.stringify(heard.after.remote)}`);
  assert.ok(fractionLost < 0.05, `${who} is told of ${fractionLost} loss`);
}
