/** First slice of audio.js; the module is being written. */
export {};
