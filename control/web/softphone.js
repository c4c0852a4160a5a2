/** Softphone page. */
export {};
