/**
 * Event emitter with the method names apps know from Node and from the stock voice SDK.
 *
 * Input: listeners. Output: calls to them, in the order they were added.
 * Owns: the listener lists of one object. Not here: queues, wildcards, asynchronous delivery.
 *
 * Two deliberate differences from Node: an `error` event that nobody listens to is logged instead of thrown, and a
 * listener that throws does not keep the others from being called.
 */

/** @typedef {(...args: any[]) => void} Listener */

export class EventEmitter {
  /** @type {Map<string, { listener: Listener, once: boolean }[]>} */
  #entries = new Map();

  /** @param {string} event @param {Listener} listener @returns {this} */
  on(event, listener) {
    return this.#add(event, listener, false);
  }

  /** @param {string} event @param {Listener} listener @returns {this} */
  addListener(event, listener) {
    return this.#add(event, listener, false);
  }

  /** @param {string} event @param {Listener} listener @returns {this} */
  once(event, listener) {
    return this.#add(event, listener, true);
  }

  /** @param {string} event @param {Listener} listener @returns {this} */
  off(event, listener) {
    const entries = this.#entries.get(event) ?? [];
    const kept = entries.filter((entry) => entry.listener !== listener);
    if (kept.length) this.#entries.set(event, kept);
    else this.#entries.delete(event);
    return this;
  }

  /** @param {string} event @param {Listener} listener @returns {this} */
  removeListener(event, listener) {
    return this.off(event, listener);
  }

  /** Without an event name, removes every listener. @param {string} [event] @returns {this} */
  removeAllListeners(event) {
    if (event === undefined) this.#entries.clear();
    else this.#entries.delete(event);
    return this;
  }

  /** @param {string} event @returns {number} */
  listenerCount(event) {
    return this.#entries.get(event)?.length ?? 0;
  }

  /** @param {string} event @param {...any} args @returns {boolean} whether anybody listened */
  emit(event, ...args) {
    // A copy, because a listener may add or remove listeners.
    const entries = [...(this.#entries.get(event) ?? [])];
    if (!entries.length && event === 'error') console.error('crosspoint: unhandled error event', args[0]);
    for (const { listener, once } of entries) {
      if (once) this.off(event, listener);
      try {
        listener.apply(this, args);
      } catch (error) {
        console.error(`crosspoint: a listener of "${event}" threw`, error);
      }
    }
    return entries.length > 0;
  }

  /** @param {string} event @param {Listener} listener @param {boolean} once @returns {this} */
  #add(event, listener, once) {
    const entries = this.#entries.get(event) ?? [];
    this.#entries.set(event, [...entries, { listener, once }]);
    return this;
  }
}
