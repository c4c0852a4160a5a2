/**
 * Types of crosspoint.js, for apps in TypeScript and for editors. Kept by hand; `test/types.check.js` makes tsc compare it with the code.
 */

type Listener<Args extends unknown[]> = (...args: Args) => void;

export class EventEmitter<Events extends Record<keyof Events, unknown[]>> {
  on<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  addListener<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  once<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  off<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  removeListener<E extends keyof Events & string>(event: E, listener: Listener<Events[E]>): this;
  removeAllListeners(event?: keyof Events & string): this;
  listenerCount(event: keyof Events & string): number;
}

export class CrosspointError extends Error {
  constructor(code: number, message?: string, originalError?: unknown);
  code: number;
  description: string;
  explanation: string;
  causes: string[];
  solutions: string[];
  originalError: unknown;
}
export class InvalidArgumentError extends Error {}
export class InvalidStateError extends Error {}
export class NotSupportedError extends Error {}

export function knownErrors(): [number, { name: string; description: string; explanation: string; solution: string }][];

export type DeviceState = 'destroyed' | 'unregistered' | 'registering' | 'registered';
export type CallState = 'closed' | 'connecting' | 'open' | 'pending' | 'reconnecting' | 'ringing';

export interface DeviceOptions {
  /** `wss://HOST/signal`, `https://HOST` or `HOST[:PORT]`; default: the host that served the SDK. Several are tried in turn. */
  signalUrl?: string | string[];
  /** The stock SDK's name for the same. */
  chunderw?: string | string[];
  allowIncomingWhileBusy?: boolean;
  /** Ask before the page is left in a call; a string is the question. */
  closeProtection?: boolean | string;
  /** Default `['opus', 'pcmu']`. */
  codecPreferences?: string[];
  /** Bits a second for Opus, 6000 to 510000. */
  maxAverageBitrate?: number;
  /** How long calls survive a lost signaling connection; default and at most 30000. */
  maxCallSignalingTimeoutMs?: number;
  /** How long before its expiry `tokenWillExpire` comes; default 10000. */
  tokenRefreshMs?: number;
  dscp?: boolean;
  /** `trace` … `silent`, or 0 … 5; default `error`. */
  logLevel?: string | number;
  /** `incoming`, `outgoing`, `ringback`, `disconnect`, `dtmf0` … `dtmf9`, `dtmfs`, `dtmfh`: false = silent, a string = URL to play. */
  sounds?: Record<string, string | boolean>;
  rtcConfiguration?: RTCConfiguration;
  /** Sent instead of a microphone. */
  fileInputStream?: MediaStream;
  getUserMedia?: (constraints: MediaStreamConstraints) => Promise<MediaStream>;
  enumerateDevices?: () => Promise<MediaDeviceInfo[]>;
  RTCPeerConnection?: typeof RTCPeerConnection;
  WebSocket?: typeof WebSocket;
  clock?: { setTimeout(run: () => void, ms: number): any; clearTimeout(timer: any): void; random(): number };
}

export interface ConnectOptions {
  /** `To` is the destination; everything else reaches the callee as custom parameters. */
  params?: Record<string, string>;
  /** Of a call to take over, see `Call.connectToken`. */
  connectToken?: string;
  rtcConstraints?: MediaStreamConstraints;
  rtcConfiguration?: RTCConfiguration;
}

export interface DeviceEvents {
  registering: [device: Device];
  registered: [device: Device];
  unregistered: [device: Device];
  incoming: [call: Call];
  error: [error: CrosspointError, call?: Call];
  tokenWillExpire: [device: Device];
  destroyed: [device: Device];
  /** The browser began or ceased to keep the page silent until the user clicks. */
  userGesture: [isNeeded: boolean];
}

export class Device extends EventEmitter<DeviceEvents> {
  static readonly State: Readonly<{ Destroyed: 'destroyed'; Unregistered: 'unregistered'; Registering: 'registering'; Registered: 'registered' }>;
  static readonly EventName: Readonly<Record<string, string>>;
  static readonly isSupported: boolean;
  static readonly version: string;
  static readonly packageName: string;
  static readonly audioContext: AudioContext | undefined;
  static runPreflight(token: string, options?: PreflightOptions): PreflightTest;

  constructor(token: string, options?: DeviceOptions);
  readonly audio: AudioHelper;
  readonly calls: Call[];
  readonly edge: string | null;
  readonly gateway: string | null;
  readonly home: string | null;
  readonly identity: string | null;
  readonly isBusy: boolean;
  readonly needsUserGesture: boolean;
  readonly region: string | null;
  readonly state: DeviceState;
  readonly token: string;
  connect(options?: ConnectOptions): Promise<Call>;
  destroy(): void;
  disconnectAll(): void;
  register(): Promise<void>;
  unregister(): Promise<void>;
  updateOptions(options?: DeviceOptions): void;
  updateToken(token: string): void;
}

export interface CallMessage {
  content: any;
  contentType?: string;
  messageType: string;
  voiceEventSid?: string;
}

export interface CallEvents {
  accept: [call: Call];
  audio: [element: HTMLAudioElement];
  cancel: [];
  disconnect: [call: Call];
  error: [error: CrosspointError];
  feedback: [feedback: { score?: number; issue?: string }];
  hold: [isHeld: boolean, call: Call];
  messageReceived: [message: CallMessage];
  messageSent: [message: CallMessage];
  mute: [isMuted: boolean, call: Call];
  reconnected: [];
  reconnecting: [error: CrosspointError];
  reject: [];
  ringing: [hasEarlyMedia: boolean];
  sample: [sample: Sample];
  volume: [input: number, output: number];
  warning: [name: string, data: WarningData | null];
  'warning-cleared': [name: string, data: WarningData | null];
}

export class Call extends EventEmitter<CallEvents> {
  static readonly State: Readonly<Record<'Closed' | 'Connecting' | 'Open' | 'Pending' | 'Reconnecting' | 'Ringing', CallState>>;
  static readonly CallDirection: Readonly<{ Incoming: 'INCOMING'; Outgoing: 'OUTGOING' }>;
  static readonly Codec: Readonly<{ Opus: 'opus'; PCMU: 'pcmu' }>;
  static readonly FeedbackScore: Readonly<{ One: 1; Two: 2; Three: 3; Four: 4; Five: 5 }>;
  static readonly FeedbackIssue: Readonly<Record<string, string>>;

  readonly callerInfo: { isVerified: boolean } | null;
  readonly codec: string;
  /** Whether a `cancel` came because another device of this identity answered. */
  readonly isAnsweredElsewhere: boolean;
  /** Whether a `disconnect` came because the call had the length that the caller's token allows. */
  readonly isLengthLimitReached: boolean;
  readonly connectToken: string | undefined;
  readonly customParameters: Map<string, string>;
  readonly direction: 'INCOMING' | 'OUTGOING';
  readonly needsUserGesture: boolean;
  readonly outboundConnectionId: string;
  readonly parameters: Record<string, string>;
  readonly peerConnection: RTCPeerConnection | null;
  accept(options?: { rtcConstraints?: MediaStreamConstraints; rtcConfiguration?: RTCConfiguration }): void;
  disconnect(): void;
  getLocalStream(): MediaStream | undefined;
  getRemoteStream(): MediaStream | undefined;
  hold(): Promise<void>;
  ignore(): void;
  isMuted(): boolean;
  isOnHold(): boolean;
  mute(shouldMute?: boolean): void;
  postFeedback(score?: number, issue?: string): Promise<void>;
  reject(): void;
  resume(): Promise<void>;
  sendDigits(digits: string): void;
  sendMessage(message: CallMessage): string;
  status(): CallState;
  /** Rejects with `NotSupportedError` until the bridge serves it. */
  transfer(to: string): Promise<void>;
}

/** Counters are of the last second, except in `totals`. */
export interface Sample {
  timestamp: number;
  codecName: string;
  /** Milliseconds, from RTCP; from STUN until the first report has come. */
  rtt: number | undefined;
  jitter: number;
  mos: number | null;
  packetsLost: number;
  packetsLostFraction: number;
  packetsReceived: number;
  packetsSent: number;
  bytesReceived: number;
  bytesSent: number;
  audioInputLevel: number | null;
  audioOutputLevel: number | null;
  concealedFraction: number;
  addressPair: { local: string; remote: string; protocol: string; localType: string; rtt: number | undefined } | null;
  totals: { bytesReceived: number; bytesSent: number; packetsReceived: number; packetsSent: number; packetsLost: number; packetsLostFraction: number };
}

export interface WarningData {
  name: string;
  threshold: { name: string; value: number };
  values: number[];
  samples: Sample[];
}

export interface OutputDevices {
  get(): Set<MediaDeviceInfo>;
  set(ids: string | string[]): Promise<void>;
  delete(device: MediaDeviceInfo): boolean;
  test(url: string): Promise<void>;
}

export interface AudioHelper extends EventEmitter<{ deviceChange: [lost: MediaDeviceInfo[]]; inputVolume: [volume: number] }> {
  readonly availableInputDevices: Map<string, MediaDeviceInfo>;
  readonly availableOutputDevices: Map<string, MediaDeviceInfo>;
  readonly audioConstraints: MediaTrackConstraints | null;
  readonly inputDevice: MediaDeviceInfo | null;
  readonly inputStream: MediaStream | null;
  readonly isOutputSelectionSupported: boolean;
  readonly isVolumeSupported: boolean;
  readonly ringtoneDevices: OutputDevices;
  readonly speakerDevices: OutputDevices;
  disconnect(enable?: boolean): boolean;
  incoming(enable?: boolean): boolean;
  outgoing(enable?: boolean): boolean;
  setAudioConstraints(constraints: MediaTrackConstraints): Promise<void>;
  setInputDevice(deviceId: string): Promise<void>;
  unsetAudioConstraints(): Promise<void>;
  unsetInputDevice(): Promise<void>;
}

export interface PreflightOptions extends DeviceOptions {
  params?: Record<string, string>;
  /** Default 15000. */
  durationMs?: number;
}

export interface PreflightEvents {
  connected: [];
  sample: [sample: Sample];
  warning: [name: string, data: unknown];
  completed: [report: Record<string, unknown>];
  failed: [error: unknown];
}

export class PreflightTest extends EventEmitter<PreflightEvents> {
  static readonly Status: Readonly<Record<string, string>>;
  static readonly CallQuality: Readonly<Record<string, string>>;
  readonly callSid: string | undefined;
  readonly endTime: number | undefined;
  readonly latestSample: Sample | undefined;
  readonly report: Record<string, unknown> | undefined;
  readonly startTime: number;
  readonly status: 'connecting' | 'connected' | 'completed' | 'failed';
  stop(): void;
}
