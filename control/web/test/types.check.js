/**
 * Not run: tsc compares the hand-kept crosspoint.d.ts with the code. A member that the types promise and the code lacks, or whose
 * type differs, is an error here.
 */

import * as promised from '../sdk/crosspoint.js';
import { Call } from '../sdk/call.js';
import { Device } from '../sdk/device.js';
import * as errors from '../sdk/errors.js';
import { PreflightTest } from '../sdk/preflight.js';

/** What may be read of an object, without the emitter's methods, whose event names the types know better than the code.
 * @template T @typedef {Omit<T, keyof import('../sdk/events.js').EventEmitter>} Members */

/** @type {(device: Device) => Omit<Members<promised.Device>, 'connect' | 'calls' | 'audio'>} */
export const device = (each) => each;
/** @type {(device: Device) => Members<promised.Device['audio']>} */
export const audio = (each) => each.audio;
/** @type {(call: Call) => Members<promised.Call>} */
export const call = (each) => each;
/** @type {(test: PreflightTest) => Members<promised.PreflightTest>} */
export const preflight = (each) => each;
/** @type {Omit<typeof promised.Device, 'prototype' | 'runPreflight'>} */
export const deviceStatics = Device;
/** @type {Omit<typeof promised.Call, 'prototype'>} */
export const callStatics = Call;
/** @type {Omit<typeof promised.PreflightTest, 'prototype'>} */
export const preflightStatics = PreflightTest;
/** @type {Pick<typeof promised, 'CrosspointError' | 'InvalidArgumentError' | 'InvalidStateError' | 'NotSupportedError' | 'knownErrors'>} */
export const errorsPromised = errors;
/** @type {(options: import('../sdk/device.js').DeviceOptions) => promised.DeviceOptions} */
export const options = (each) => each;
/** @type {(options: promised.ConnectOptions) => import('../sdk/device.js').ConnectOptions} */
export const connectOptions = (each) => each;
/** @type {(device: Device) => Promise<Members<promised.Call>>} */
export const connect = (each) => each.connect();
