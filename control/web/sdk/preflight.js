/** First slice of preflight.js; the module is being written. */
export {};
