/**
 * Leveled logging to the browser's console, one prefix for the whole SDK.
 *
 * Input: messages of the other modules. Output: the console. Owns: the level of one device.
 * Not here: remote collection; tokens and SDP are never logged.
 */

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];

export class Log {
  #level = LEVELS.indexOf('error');

  /** Accepts the names above or the stock SDK's numbers 0 (trace) to 5 (silent). @param {string | number} [level] */
  setLevel(level = 'error') {
    const index = typeof level === 'number' ? level : LEVELS.indexOf(level.toLowerCase());
    this.#level = index >= 0 && index < LEVELS.length ? index : LEVELS.indexOf('error');
  }

  /** @param {...any} args */
  debug(...args) {
    if (this.#level <= 1) console.debug('crosspoint:', ...args);
  }

  /** @param {...any} args */
  info(...args) {
    if (this.#level <= 2) console.info('crosspoint:', ...args);
  }

  /** @param {...any} args */
  warn(...args) {
    if (this.#level <= 3) console.warn('crosspoint:', ...args);
  }

  /** @param {...any} args */
  error(...args) {
    if (this.#level <= 4) console.error('crosspoint:', ...args);
  }
}
