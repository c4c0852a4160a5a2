/** First slice of call.js; the module is being written. */
export {};
