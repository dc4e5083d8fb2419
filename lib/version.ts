import { readFileSync } from 'node:fs';

// lib/ and dist/ are both one level below the package root.
const manifest = new URL('../package.json', import.meta.url);

/** Version of this package. */
export const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
