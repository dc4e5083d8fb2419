/** Trains EAGLE-3 draft models for multimodal language models. */
export * from './api.js';
export { version } from './version.js';
