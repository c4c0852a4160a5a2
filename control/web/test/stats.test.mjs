/** Quality figures and warnings, from made-up stats reports. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crossed, mos, sampleFrom, StatsMonitor, THRESHOLDS } from '../sdk/stats.js';
import { sortCodecs, withMaxAverageBitrate } from '../sdk/media.js';
import { callQuality, spread } from '../sdk/preflight.js';
import { keyTones } from '../sdk/sounds.js';

/** Cumulative reports after some seconds of a call. */
function reports({ seconds = 1, lost = 0, rtt_s = 0.02, jitter_s = 0.002 } = {}) {
  return [
    { id: 'in', type: 'inbound-rtp', kind: 'audio', timestamp: seconds * 1000, packetsReceived: 50 * seconds - lost, packetsLost: lost, bytesReceived: 5000 * seconds, jitter: jitter_s, concealedSamples: 480, totalSamplesReceived: 48000 },
    { id: 'out', type: 'outbound-rtp', kind: 'audio', packetsSent: 50 * seconds, bytesSent: 5000 * seconds, codecId: 'c' },
    { id: 'rem', type: 'remote-inbound-rtp', kind: 'audio', roundTripTime: rtt_s },
    { id: 'c', type: 'codec', mimeType: 'audio/opus' },
    { id: 't', type: 'transport', selectedCandidatePairId: 'p' },
    { id: 'p', type: 'candidate-pair', localCandidateId: 'l', remoteCandidateId: 'r', currentRoundTripTime: 0.001 },
    { id: 'l', type: 'local-candidate', address: '127.0.0.1', port: 40000, protocol: 'udp', candidateType: 'prflx' },
    { id: 'r', type: 'remote-candidate', address: '::1', port: 20000, protocol: 'udp', candidateType: 'host' },
  ];
}

test('mos_is_high_for_a_clean_line_and_falls_with_delay_and_loss', () => {
  assert.ok(/** @type {number} */ (mos(20, 2, 0)) > 4.4);
  assert.ok(mos(20, 2, 0) > mos(300, 2, 0));
  assert.ok(mos(300, 2, 0) > mos(300, 40, 0));
  assert.ok(mos(20, 2, 0) > mos(20, 2, 5));
  assert.equal(mos(5000, 0, 90), 1);
});

test('mos_is_unknown_when_a_figure_is_missing', () => {
  assert.equal(mos(undefined, 2, 0), null);
  assert.equal(mos(20, Number.NaN, 0), null);
  assert.equal(mos(-1, 2, 0), null);
});

test('a_sample_counts_the_last_second_and_names_codec_and_addresses', () => {
  const first = sampleFrom(reports({ seconds: 1 }), null);
  const second = sampleFrom(reports({ seconds: 2, lost: 5 }), first);
  assert.deepEqual([second.packetsSent, second.packetsReceived, second.packetsLost, second.packetsLostFraction], [50, 45, 5, 10]);
  assert.deepEqual([second.rtt, second.jitter, second.codecName, second.concealedFraction], [20, 2, 'opus', 1]);
  assert.deepEqual(second.addressPair, { local: '127.0.0.1:40000', remote: '[::1]:20000', protocol: 'udp', localType: 'prflx', rtt: 1 });
  assert.equal(second.totals.packetsLostFraction, 5);
  assert.equal(first.mos, null);
});

test('the_round_trip_comes_from_stun_until_rtcp_reports_it', () => {
  const early = reports().filter((each) => each.id !== 'rem');
  assert.equal(sampleFrom(early, null).rtt, 1);
});

test('a_sample_of_an_empty_report_has_zeros', () => {
  const sample = sampleFrom([], null);
  assert.deepEqual([sample.packetsReceived, sample.codecName, sample.addressPair, sample.rtt], [0, '', null, undefined]);
});

test('high_jitter_is_raised_after_three_bad_samples_and_cleared_after_five_seconds', () => {
  let now_ms = 0;
  const monitor = new StatsMonitor(() => now_ms);
  const events = [];
  monitor.on('warning', (name, data) => events.push([name, data.threshold.value]));
  monitor.on('warning-cleared', (name) => events.push([name, 'cleared']));
  const second = (seconds, jitter_s) => {
    now_ms += 1000;
    monitor.add(reports({ seconds, jitter_s }));
  };
  for (let i = 1; i <= 6; i++) second(i, 0.002);
  for (let i = 7; i <= 9; i++) second(i, 0.05);
  assert.deepEqual(events, [['high-jitter', 30]]);
  for (let i = 10; i <= 14; i++) second(i, 0.002);
  assert.deepEqual(events.at(-1), ['high-jitter', 'cleared']);
});

test('the_first_five_seconds_raise_nothing', () => {
  let now_ms = 0;
  const monitor = new StatsMonitor(() => now_ms);
  monitor.on('warning', () => assert.fail('too early'));
  monitor.start({ getStats: async () => new Map() });
  for (let i = 1; i <= 4; i++) {
    now_ms += 1000;
    monitor.add(reports({ seconds: i, jitter_s: 0.09 }));
  }
  monitor.stop();
});

test('thresholds_by_average_and_by_deviation', () => {
  const byAverage = THRESHOLDS.find((each) => each.rule === 'maxAverage');
  assert.equal(crossed(byAverage, [4, 4, 4, 4, 4, 4, 4]), true);
  assert.equal(crossed(byAverage, [2, 2, 2, 2, 2, 2, 2]), null);
  assert.equal(crossed(byAverage, [1, 0, 0, 0, 0, 0, 0]), false);
  const byDeviation = THRESHOLDS.find((each) => each.rule === 'minStandardDeviation');
  assert.equal(crossed(byDeviation, Array(10).fill(5000)), true);
  assert.equal(crossed(byDeviation, [0, 9000, 0, 9000, 0, 9000, 0, 9000, 0, 9000]), false);
  assert.equal(crossed(byDeviation, [5000]), null);
});

test('preferred_codecs_come_first_and_the_others_keep_their_order', () => {
  const codecs = ['audio/opus', 'audio/red', 'audio/G722', 'audio/PCMU'].map((mimeType) => ({ mimeType }));
  assert.deepEqual(sortCodecs(codecs, ['pcmu', 'opus']).map((each) => each.mimeType), ['audio/PCMU', 'audio/opus', 'audio/red', 'audio/G722']);
});

test('the_bitrate_limit_is_announced_for_opus_only_and_once', () => {
  const sdp = 'a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=fmtp:101 0-15\r\n';
  const limited = withMaxAverageBitrate(sdp, 24_000);
  assert.match(limited, /a=fmtp:111 minptime=10;useinbandfec=1;maxaveragebitrate=24000\r\n/);
  assert.equal(withMaxAverageBitrate(limited, 24_000), limited);
  assert.match(limited, /a=fmtp:101 0-15\r\n/);
  assert.equal(withMaxAverageBitrate(sdp, 100), sdp);
});

test('preflight_names_the_quality_and_the_spread', () => {
  assert.deepEqual([4.3, 4.15, 3.8, 3.3, 2].map(callQuality), ['excellent', 'great', 'good', 'fair', 'degraded']);
  assert.deepEqual(spread([1, null, 3, undefined]), { average: 2, max: 3, min: 1 });
  assert.equal(spread([null]), undefined);
});

test('keys_have_the_tones_of_q23', () => {
  assert.deepEqual([keyTones('1'), keyTones('5'), keyTones('0'), keyTones('#'), keyTones('x')], [[697, 1209], [770, 1336], [941, 1336], [941, 1477], null]);
});
