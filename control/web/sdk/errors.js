/**
 * The errors an app can meet: one class, one table of codes.
 *
 * Input: a code from the bridge (`hangup.error`, `error`) or from this SDK. Output: an `Error` with `code`, `name`,
 * `description`, `explanation`, `causes`, `solutions` and `originalError`: the fields of the stock voice SDK's errors, so that an
 * app's existing handling works. Owns: the table. Not here: who is told (see device.js and call.js).
 */

/**
 * @typedef {object} ErrorEntry
 * @property {string} name
 * @property {string} description
 * @property {string} explanation
 * @property {string} solution what the app or its operator should do; empty when nothing
 */

/** @type {Record<number, ErrorEntry>} */
const ENTRIES = {};

/** @param {number} code @param {string} name @param {string} description @param {string} explanation @param {string} solution */
function define(code, name, description, explanation, solution) {
  ENTRIES[code] = { name, description, explanation, solution };
}

const NEW_TOKEN = 'Mint a new token and pass it to device.updateToken().';
const CHECK_KEY = 'Check that the token is signed with a key that this bridge knows, for the account the key belongs to.';
const CHECK_GRANTS = 'Mint a token whose grants allow this.';
const CHECK_NETWORK = 'Check that the bridge can be reached; the SDK keeps trying by itself.';
const CHECK_MEDIA = 'Check that UDP reaches the bridge and that the browser allows WebRTC.';
const REPORT = 'Look in the bridge\'s log under the call id; it names the reason.';

define(20101, 'AccessTokenInvalid', 'Invalid access token', 'The bridge could not validate the token.', CHECK_KEY);
define(20103, 'AccessTokenIssuerInvalid', 'Invalid access token issuer or subject', 'The issuer or the account of the token is not known here.', CHECK_KEY);
define(20104, 'AccessTokenExpired', 'Access token expired', 'The token has expired, or its expiry is not acceptable.', NEW_TOKEN);
define(20151, 'AuthenticationFailed', 'Authentication failed', 'The token was refused.', CHECK_KEY);
define(20157, 'AccessTokenGrantsInvalid', 'Invalid access token grants', 'The grants of the token are malformed or do not allow this.', CHECK_GRANTS);
define(31000, 'UnknownError', 'Unknown error', 'An error without a more precise code.', REPORT);
define(31001, 'ApplicationNotFoundError', 'Application not found', 'No application or destination is configured for this call.', 'Pass a destination as the parameter To.');
define(31002, 'ConnectionDeclinedError', 'Connection declined', 'The bridge declined the call.', REPORT);
define(31003, 'ConnectionTimeoutError', 'Connection timeout', 'No answer came within the allowed time.', 'Try again later.');
define(31005, 'ConnectionError', 'Connection error', 'The connection to the bridge failed or ended unexpectedly.', CHECK_NETWORK);
define(31008, 'CallCancelledError', 'Call cancelled', 'The call ended before it could be answered.', 'The caller gave up, or another device answered.');
define(31009, 'TransportError', 'Transport error', 'There is no connection to the bridge to send this on.', CHECK_NETWORK);
define(31100, 'MalformedRequestError', 'Malformed request', 'The bridge could not understand the request.', REPORT);
define(31101, 'MissingParameterArrayError', 'Missing parameters', 'The request lacks its parameters.', 'Pass params to device.connect().');
define(31102, 'AuthorizationTokenMissingError', 'Authorization token missing', 'The request carries no token.', NEW_TOKEN);
define(31103, 'MaxParameterLengthExceededError', 'Parameters too long', 'The call parameters are longer than allowed.', 'Send less in params.');
define(31104, 'InvalidBridgeTokenError', 'Invalid bridge token', 'The bridge token of the held call is not valid here.', 'Let the call be placed again.');
define(31105, 'InvalidClientNameError', 'Invalid destination', 'The destination is no client name, address or number.', 'A client name has 1 to 121 characters, no control characters and no space at its ends; a number has 3 to 15 digits.');
define(31107, 'ReconnectParameterInvalidError', 'Invalid reconnect parameter', 'The reconnect token is not valid, or its call is over.', 'Place the call again.');
define(31201, 'AuthorizationError', 'Authorization error', 'The request needs authorization that the token does not give.', CHECK_GRANTS);
define(31202, 'AccessTokenSignatureValidationFailed', 'Signature validation failed', 'The signature of the token is not valid.', CHECK_KEY);
define(31203, 'NoValidAccountError', 'No valid account', 'The account or the identity of the token is not valid.', CHECK_KEY);
define(31204, 'InvalidJWTTokenError', 'Invalid JWT', 'The token is not a valid JWT for this bridge.', CHECK_KEY);
define(31205, 'JWTTokenExpiredError', 'JWT expired', 'The token has expired.', NEW_TOKEN);
define(31206, 'RateExceededError', 'Rate exceeded', 'More requests than allowed were made.', 'Send less often; wait before the next attempt.');
define(31207, 'JWTTokenExpirationTooLongError', 'JWT expiry too long, or request too large', 'The token lives longer than allowed, or a message is larger than allowed.', 'Mint tokens for 24 hours at most; keep messages small.');
define(31208, 'UserMediaPermissionDeniedError', 'Microphone permission denied', 'The user or the browser denied the microphone.', 'Ask the user to allow the microphone for this page.');
define(31209, 'ReconnectAttemptError', 'Reconnect attempt not authorized', 'This token may not resume the call.', 'Resume with the identity that placed the call.');
define(31210, 'CallMessageEventTypeInvalidError', 'Invalid message type', 'The type of the call message is not known.', 'This bridge passes every type on; others know "user-defined-message" alone.');
define(31212, 'PayloadSizeExceededError', 'Message too large', 'The content of the call message is larger than allowed.', 'Send less.');
define(31400, 'BadRequest', 'Bad request', 'The request could not be understood.', REPORT);
define(31401, 'PermissionDeniedError', 'Microphone permission denied', 'The user or the browser denied the microphone.', 'Ask the user to allow the microphone for this page.');
define(31402, 'AcquisitionFailedError', 'Microphone could not be opened', 'The microphone is allowed but could not be opened.', 'Check that a microphone is connected and not held by another program.');
define(31404, 'NotFound', 'Not found', 'The destination does not exist.', 'Check the name that was dialled.');
define(31480, 'TemporarilyUnavailable', 'Temporarily unavailable', 'The destination is not registered, or did not answer.', 'Try again later.');
define(31486, 'BusyHere', 'Busy here', 'The destination is busy.', 'Try again later.');
define(31603, 'Decline', 'Declined', 'The destination does not want this call.', '');
define(53000, 'SignalingConnectionError', 'Signaling connection error', 'The signaling connection failed.', CHECK_NETWORK);
define(53001, 'SignalingConnectionDisconnected', 'Signaling connection lost', 'The signaling connection was lost.', CHECK_NETWORK);
define(53400, 'ClientLocalDescFailed', 'Local media description failed', 'The browser could not make or apply its own media description.', 'Check the codec and peer connection options.');
define(53402, 'ClientRemoteDescFailed', 'Remote media description failed', 'The browser could not apply the bridge\'s media description.', REPORT);
define(53405, 'MediaConnectionError', 'Media connection failed', 'The media connection failed.', CHECK_MEDIA);

/** Codes after which trying again with the same token is pointless. */
export const TOKEN_CODES = new Set([20101, 20103, 20104, 20151, 20157, 31102, 31202, 31203, 31204, 31205, 31207]);

export class CrosspointError extends Error {
  /**
   * @param {number} code a code of the table; an unknown one keeps its number and gets the texts of 31000
   * @param {string} [message] more precise than the explanation of the table
   * @param {unknown} [originalError]
   */
  constructor(code, message, originalError) {
    const entry = ENTRIES[code] ?? ENTRIES[31000];
    super(`${entry.name} (${code}): ${message || entry.explanation}`);
    this.name = entry.name;
    this.code = code;
    this.description = entry.description;
    this.explanation = entry.explanation;
    /** @type {string[]} */
    this.causes = [];
    this.solutions = entry.solution ? [entry.solution] : [];
    this.originalError = originalError;
  }
}

/** The app passed something that cannot be meant. */
export class InvalidArgumentError extends Error {
  name = 'InvalidArgumentError';
}

/** The app asked for something that is not possible in the present state. */
export class InvalidStateError extends Error {
  name = 'InvalidStateError';
}

/** This browser, or this version of the bridge, cannot do it. */
export class NotSupportedError extends Error {
  name = 'NotSupportedError';
}

/**
 * @param {{ code?: number, message?: string } | undefined} wire the `error` field of a message from the bridge
 * @returns {CrosspointError}
 */
export function errorFromWire(wire) {
  return new CrosspointError(typeof wire?.code === 'number' ? wire.code : 31000, wire?.message, wire);
}

/** All codes with their texts, for documentation and tests. @returns {[number, ErrorEntry][]} */
export function knownErrors() {
  return Object.entries(ENTRIES).map(([code, entry]) => [Number(code), entry]);
}
