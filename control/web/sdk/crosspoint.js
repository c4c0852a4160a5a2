/**
 * Crosspoint's browser SDK: calls between people, through your own bridge.
 *
 *   import { Device } from 'https://BRIDGE/sdk/crosspoint.js';
 *
 * This file only names what is public; start reading at device.js. Class, method and event names are those of the stock voice SDK, so
 * that a migration is a changed import. No dependencies, no build step; types are in crosspoint.d.ts.
 */

export { Device } from './device.js';
export { Call } from './call.js';
export { PreflightTest } from './preflight.js';
export { CrosspointError, InvalidArgumentError, InvalidStateError, NotSupportedError, knownErrors } from './errors.js';
