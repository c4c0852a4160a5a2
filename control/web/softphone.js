/**
 * The softphone page: the SDK with buttons.
 *
 * Input: the form, the keyboard, SDK events; the address may prefill: /?identity=alice&to=bob&auto=1 signs in at once.
 * Output: the page. Owns: one device, at most one shown call. Not here: anything an app could not do with the public SDK.
 * Elements keep their ids and `data-test` names; `data-state` and `data-status` hold the SDK's own words.
 */

import { Device } from './sdk/crosspoint.js';

/** @typedef {import('./sdk/crosspoint.js').Call} Call */

/** @param {string} id @returns {any} */
const $ = (id) => /** @type {any} */ (document.getElementById(id));

const REGISTRATION_TEXT = {
  destroyed: 'signed out', unregistered: 'not connected', registering: 'connecting…', registered: 'ready for calls',
};
const STATE_TEXT = {
  connecting: 'Calling…', ringing: 'Ringing…', open: 'In call', reconnecting: 'Reconnecting…', closed: 'Call ended', pending: 'Incoming call',
};

/** The bridge's answer to a registration when the token does not allow incoming calls. */
const MAY_NOT_RECEIVE = 31201;
/** Who typed into a field this recently may be about to press Enter there. */
const TYPING_MS = 2_000;
const SHOWN_EVENTS = /** @type {const} */ (['ringing', 'accept', 'mute', 'hold', 'reconnecting', 'reconnected']);
const OWN_NAME = { message: 'That is your own name, and no other device of yours is free. Sign in somewhere else under it, or call another name.' };
const END_EVENTS = /** @type {const} */ (['disconnect', 'cancel', 'reject']);

/** @type {Device | null} */
let device = null;
/** @type {Call | null} */
let call = null;
/** Signed in by name, so a new token can be had. @type {string | null} */
let devIdentity = null;
let openedAt_ms = 0;
let typedAt_ms = 0;

// ---- signing in

/** @param {string} identity @returns {Promise<string>} */
async function fetchToken(identity) {
  const response = await fetch('/dev/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ identity }),
  });
  if (response.status === 404 || response.status === 405) {
    $('token-details').open = true;
    throw new Error('This bridge gives no tokens by name (it is not in dev mode). Paste a token instead.');
  }
  if (!response.ok) throw new Error((await response.text()) || `The bridge refused the name (HTTP ${response.status}).`);
  return (await response.json()).token;
}

/** @param {string} identity @param {string} pastedToken */
async function signIn(identity, pastedToken) {
  devIdentity = pastedToken ? null : identity;
  const token = pastedToken || await fetchToken(identity);
  device = new Device(token);
  device.on('registering', showRegistration);
  device.on('unregistered', showRegistration);
  device.on('registered', () => { hideError(); showRegistration(); });
  device.on('incoming', (incoming) => showCall(incoming));
  device.on('error', (error, failed) => { if (!failed) showError(error); });
  device.on('tokenWillExpire', () => void renewToken());
  device.on('userGesture', (isNeeded) => { $('gesture').hidden = !isNeeded; });
  showRegistration();
  try {
    await device.register();
  } catch (error) {
    if (/** @type {any} */ (error).code === MAY_NOT_RECEIVE) return showCallsOutOnly();
    signOut();
    throw error;
  }
}

/** The token allows to place calls, so that is what the page is for. */
function showCallsOutOnly() {
  hideError();
  showRegistration();
  $('registration').textContent = 'calls out only';
}

async function renewToken() {
  if (!devIdentity) return showError({ message: 'The token is about to expire. Sign in with a new one.' });
  try {
    device?.updateToken(await fetchToken(devIdentity));
  } catch (error) {
    showError(error);
  }
}

function signOut() {
  device?.destroy();
  device = null;
  call = null;
  $('stage').hidden = true;
  showLive(null);
  showRegistration();
}

function showRegistration() {
  const state = device?.state ?? 'destroyed';
  $('registration').dataset.state = state;
  $('registration').textContent = REGISTRATION_TEXT[state];
  const wasSignedIn = !$('desk').hidden;
  $('signin-form').hidden = device !== null;
  $('desk').hidden = device === null || call !== null;
  $('whoami').textContent = device?.identity ?? devIdentity ?? '';
  $('live-gateway').textContent = device?.gateway ?? '–';
  $('live-region').textContent = device?.region ?? '–';
  if (device && !wasSignedIn && !call && isFocusFree()) $('to').focus();
  if (!device && wasSignedIn) $('identity').focus();
}

/** Whether nothing has the focus, or something that was just hidden: browsers move the focus from there a moment later. */
function isFocusFree() {
  const active = document.activeElement;
  return !active || active === document.body || active.closest('[hidden]') !== null;
}

// ---- calls

/** @param {string} to */
async function dial(to) {
  if (!device) return;
  const destination = /^[a-z]+:/i.test(to) || /^\+?\d+$/.test(to) ? to : `client:${to}`;
  showCall(await device.connect({ params: { To: destination } }), destination);
}

/** @param {string} to */
function isOwnName(to) {
  return to === `client:${device?.identity}`;
}

/** @param {Call} shown @param {string} [to] */
function showCall(shown, to = '') {
  call = shown;
  $('peer').textContent = (shown.parameters.From || to).replace(/^client:/, '') || 'unknown';
  $('avatar').textContent = $('peer').textContent.slice(0, 1).toUpperCase();
  $('stage').dataset.direction = shown.direction;
  $('digits').textContent = '';
  showKeypad(false);
  hideError();
  for (const event of SHOWN_EVENTS) shown.on(event, showCallState);
  shown.on('accept', () => { openedAt_ms = Date.now(); });
  shown.on('error', (error) => showError(isOwnName(to) && error.code === 31486 ? { ...OWN_NAME, code: error.code } : error));
  for (const event of END_EVENTS) shown.on(event, () => endCall(shown, event));
  shown.on('sample', showLive);
  shown.on('volume', (input, output) => {
    $('level-in').value = input;
    $('level-out').value = output;
  });
  openedAt_ms = 0;
  showRegistration();
  showCallState();
  showLive(null);
  focusCall(shown);
}

/** An incoming call offers its Accept button; to a user who is typing only when that is over: before, Enter must not accept. @param {Call} shown */
function focusCall(shown) {
  const left_ms = typedAt_ms + TYPING_MS - Date.now();
  const isIncoming = shown.status() === 'pending';
  if (!isIncoming || left_ms > 0) $('peer').focus();
  else $('accept').focus();
  $('enter-hint').hidden = left_ms > 0;
  if (!isIncoming || left_ms <= 0) return;
  setTimeout(() => {
    if (call === shown && document.activeElement === $('peer')) focusCall(shown);
  }, left_ms);
}

function showCallState() {
  if (!call) return;
  const status = call.status();
  const isIncoming = status === 'pending';
  const hadFocusOnAccept = document.activeElement === $('accept');
  $('stage').hidden = false;
  $('stage').dataset.status = status;
  $('stage').dataset.held = String(call.isOnHold());
  $('incoming-actions').hidden = !isIncoming;
  $('call-actions').hidden = isIncoming;
  $('pending-keys').hidden = !isIncoming;
  $('call-keys').hidden = isIncoming;
  const text = stateText(call);
  $('call-state').textContent = text;
  $('live-state').textContent = status;
  $('live-sid').textContent = call.parameters.CallSid ?? '–';
  $('mute').setAttribute('aria-pressed', String(call.isMuted()));
  $('hold').setAttribute('aria-pressed', String(call.isOnHold()));
  $('hold').disabled = status !== 'open';
  showTimer();
  announce(`${text}: ${$('peer').textContent}`);
  document.title = `${text} · ${$('peer').textContent}`;
  if (hadFocusOnAccept && !isIncoming) $('peer').focus();
}

/** @param {Call} shown */
function stateText(shown) {
  const status = shown.status();
  if (status !== 'open') return STATE_TEXT[status];
  if (shown.isOnHold()) return 'On hold';
  return shown.isMuted() ? 'In call, muted' : STATE_TEXT.open;
}

/** @param {Call} ended @param {string} how */
function endCall(ended, how) {
  if (call !== ended) return;
  const peer = $('peer').textContent;
  const duration = openedAt_ms ? `The call with ${peer} lasted ${clock(Date.now() - openedAt_ms)}.` : `No call with ${peer}.`;
  const limit = ended.isLengthLimitReached ? ' The bridge ended it: it had the length that the caller’s token allows.' : '';
  const unanswered = ended.isAnsweredElsewhere ? `Answered elsewhere: ${peer}.` : `Missed call from ${peer}.`;
  $('last').textContent = { cancel: unanswered, reject: `Declined ${peer}.`, disconnect: duration + limit }[how] ?? '';
  $('stage').dataset.status = 'closed';
  $('stage').hidden = true;
  call = null;
  document.title = 'Crosspoint softphone';
  announce($('last').textContent);
  showLive(null);
  showRegistration();
  if (!device) return;
  $('to').focus();
  $('to').select();
}

function showTimer() {
  $('timer').hidden = !openedAt_ms;
  if (openedAt_ms) $('timer').textContent = clock(Date.now() - openedAt_ms);
}

/** @param {number} ms */
function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const pad = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

// ---- the live panel

/** @param {import('./sdk/crosspoint.js').Sample | null} sample null when there is no call */
function showLive(sample) {
  const ms = (/** @type {number | undefined} */ value) => (value === undefined ? '–' : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
  $('live-rtt').textContent = ms(sample?.rtt);
  $('live-jitter').textContent = ms(sample?.jitter);
  $('live-loss').textContent = sample ? `${sample.totals.packetsLostFraction.toFixed(1)} %` : '–';
  $('live-mos').textContent = sample?.mos ? sample.mos.toFixed(1) : '–';
  $('live-codec').textContent = sample?.codecName || '–';
  const pair = sample?.addressPair;
  $('live-pair').textContent = pair ? `${pair.local} → ${pair.remote} ${pair.protocol}` : '–';
  $('live-packets').textContent = sample ? `${sample.totals.packetsSent} sent, ${sample.totals.packetsReceived} received` : '–';
  const quality = sample?.mos ? (sample.mos >= 4 ? 'good' : sample.mos >= 3.1 ? 'fair' : 'poor') : 'none';
  $('quality').dataset.state = quality;
  $('quality').textContent = quality === 'none' ? (call ? 'measuring…' : 'no call') : quality;
  if (sample) return;
  $('level-in').value = $('level-out').value = 0;
  if (call) return;
  $('live-state').textContent = 'none';
  $('live-sid').textContent = '–';
}

// ---- messages to the user

/** @param {any} error */
function showError(error) {
  const { code, solutions = [], message = String(error) } = error ?? {};
  const what = message.replace(/^\S+ \(\d+\): /, '').replace(/[^.]$/, '$&.');
  $('error').textContent = [what, ...solutions, code && `(${code})`].filter(Boolean).join(' ');
  $('error').dataset.code = code ?? '';
  $('error').hidden = false;
}

function hideError() {
  $('error').hidden = true;
  $('error').dataset.code = '';
}

/** @param {string} text */
function announce(text) {
  $('announce').textContent = text;
}

// ---- hands

/** @param {string} key */
function pressKey(key) {
  if (!call || call.status() !== 'open') return;
  call.sendDigits(key);
  $('digits').textContent = ($('digits').textContent + key).slice(-24);
}

/** @param {boolean} isOpen */
function showKeypad(isOpen) {
  $('keypad').hidden = !isOpen;
  $('keypad-toggle').setAttribute('aria-expanded', String(isOpen));
}

async function toggleHold() {
  if (!call || $('hold').disabled) return;
  $('hold').disabled = true;
  try {
    await (call.isOnHold() ? call.resume() : call.hold());
  } catch (error) {
    showError(error);
  }
  showCallState();
}

function toggleMute() {
  call?.mute(!call.isMuted());
}

function leaveCall() {
  if (call?.status() === 'pending') call.reject();
  else call?.disconnect();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (!call || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Escape') return leaveCall();
  if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) return;
  if (/^[0-9*#]$/.test(event.key)) pressKey(event.key);
  else if (event.key.toLowerCase() === 'm' && call.status() !== 'pending') toggleMute();
  else if (event.key.toLowerCase() === 'h' && call.status() === 'open') void toggleHold();
}

/** @param {() => Promise<unknown>} act @param {string} buttonId disabled meanwhile */
async function guarded(act, buttonId) {
  hideError();
  $(buttonId).disabled = true;
  try {
    await act();
  } catch (error) {
    showError(error);
  }
  $(buttonId).disabled = false;
  if (!device && $('token-details').open) $('token').focus();
}

/** @param {Event} event */
function onSignIn(event) {
  event.preventDefault();
  const identity = $('identity').value.trim();
  const token = $('token').value.trim();
  if (!identity && !token) return $('identity').focus();
  void guarded(() => signIn(identity, token), 'signin');
}

/** @param {Event} event */
function onDial(event) {
  event.preventDefault();
  const to = $('to').value.trim();
  if (!to) return $('to').focus();
  void guarded(() => dial(to), 'call');
}

function main() {
  $('signin-form').addEventListener('submit', onSignIn);
  $('dial-form').addEventListener('submit', onDial);
  $('signout').addEventListener('click', signOut);
  $('accept').addEventListener('click', () => { call?.accept(); showCallState(); });
  $('decline').addEventListener('click', leaveCall);
  $('hangup').addEventListener('click', leaveCall);
  $('mute').addEventListener('click', toggleMute);
  $('hold').addEventListener('click', () => void toggleHold());
  $('keypad-toggle').addEventListener('click', () => showKeypad($('keypad').hidden));
  for (const key of document.querySelectorAll('[data-key]')) {
    key.addEventListener('click', () => pressKey(/** @type {HTMLElement} */ (key).dataset.key ?? ''));
  }
  document.addEventListener('keydown', onKey);
  document.addEventListener('input', () => { typedAt_ms = Date.now(); });
  setInterval(showTimer, 1000);
  const query = new URLSearchParams(location.search);
  $('identity').value = query.get('identity') ?? '';
  $('to').value = query.get('to') ?? '';
  if (query.get('auto') === '1') $('signin-form').requestSubmit();
}

main();
