import { describeThinker } from '../qwen_omni/parity.js';

describeThinker('qwen3_omni');
