/** First slice of log.js; the module is being written. */
export {};
