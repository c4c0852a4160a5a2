/** First slice of errors.js; the module is being written. */
export {};
