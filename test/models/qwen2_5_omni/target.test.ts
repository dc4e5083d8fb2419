import { describeThinker } from '../qwen_omni/parity.js';

describeThinker('qwen2_5_omni');
