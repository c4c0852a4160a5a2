/** First slice of media.js; the module is being written. */
export {};
