/** First slice of signaling.js; the module is being written. */
export {};
