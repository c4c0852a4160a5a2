/** First slice of device.js; the module is being written. */
export {};
