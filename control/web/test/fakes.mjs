/** Test doubles without a browser: a virtual clock, sockets, a peer connection that negotiates at once, media streams. */

export class FakeClock {
  now_ms = 0;
  #timers = [];

  setTimeout = (run, ms) => {
    const timer = { at_ms: this.now_ms + ms, run };
    this.#timers.push(timer);
    return timer;
  };

  clearTimeout = (timer) => {
    this.#timers = this.#timers.filter((each) => each !== timer);
  };

  random = () => 0.5;

  /** Milliseconds to the next timer. */
  next_ms() {
    return Math.min(...this.#timers.map((timer) => timer.at_ms)) - this.now_ms;
  }

  advance(ms) {
    const end_ms = this.now_ms + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at_ms <= end_ms).sort((a, b) => a.at_ms - b.at_ms)[0];
      if (!due) break;
      this.now_ms = due.at_ms;
      this.clearTimeout(due);
      due.run();
    }
    this.now_ms = end_ms;
  }
}

/** A WebSocket class whose instances are moved by the test. */
export function fakeSockets() {
  const all = [];
  class Socket {
    readyState = 0;
    raw = [];

    constructor(url) {
      this.url = url;
      all.push(this);
    }

    get sent() {
      return this.raw.filter((text) => text !== '\n').map((text) => JSON.parse(text));
    }

    /** Messages of one type. */
    sentOf(type) {
      return this.sent.filter((message) => message.type === type).map((message) => message.payload);
    }

    send(text) {
      this.raw.push(text);
    }

    open() {
      this.readyState = 1;
      this.onopen?.();
    }

    frame(text) {
      this.onmessage?.({ data: text });
    }

    message(type, payload) {
      this.frame(JSON.stringify({ type, payload, version: '1.6' }));
    }

    close(code = 1000) {
      this.readyState = 3;
      this.onclose?.({ code, reason: '' });
    }
  }
  return { Socket, all, get last() { return all.at(-1); } };
}

export class FakeTrack {
  kind = 'audio';
  enabled = true;
  isStopped = false;

  stop() {
    this.isStopped = true;
  }
}

export class FakeStream {
  tracks = [new FakeTrack()];

  getTracks() {
    return this.tracks;
  }

  getAudioTracks() {
    return this.tracks;
  }
}

/** A peer connection that agrees with everything. */
export class FakeConnection {
  static all = [];
  signalingState = 'stable';
  connectionState = 'new';
  localDescription = null;
  remoteDescription = null;
  senders = [];
  transceivers = [];
  restarts = 0;

  constructor() {
    FakeConnection.all.push(this);
  }

  addTrack(track) {
    const dtmf = { toneBuffer: '', canInsertDTMF: true, inserted: [], insertDTMF(tones) { this.inserted.push(tones); } };
    const sender = { track, dtmf, replaceTrack: async (next) => { sender.track = next; }, getParameters: () => ({ encodings: [{}] }), setParameters: async () => {} };
    this.senders.push(sender);
    this.transceivers.push({ direction: 'sendrecv', sender });
  }

  getSenders() {
    return this.senders;
  }

  getTransceivers() {
    return this.transceivers;
  }

  async createOffer(options) {
    if (options?.iceRestart) this.restarts += 1;
    return { type: 'offer', sdp: `offer ${this.transceivers[0].direction}` };
  }

  async createAnswer() {
    return { type: 'answer', sdp: 'answer' };
  }

  async setLocalDescription(description) {
    this.localDescription = description.type === 'rollback' ? this.localDescription : description;
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
  }

  async getStats() {
    return new Map();
  }

  /** Moved by the test. */
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  close() {
    this.signalingState = 'closed';
  }
}
