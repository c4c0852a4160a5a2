/** First slice of sounds.js; the module is being written. */
export {};
