/** First slice of stats.js; the module is being written. */
export {};
