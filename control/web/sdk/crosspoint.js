/** Entry of the SDK. */
export {};
