// Runs a test file on the device that the project names: see vitest.config.ts.
import { native } from '../../lib/native.js';

native.setDevice((process.env.EYAS_TEST_DEVICE ?? 'cpu') as 'cpu' | 'cuda');
