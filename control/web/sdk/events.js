/** First slice of events.js; the module is being written. */
export {};
