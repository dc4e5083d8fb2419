import { Qwen2VLTarget } from '../../../lib/models/qwen2_vl/target.js';
import { describeParity } from '../qwen_vl/parity.js';

describeParity('qwen2_vl', ['untied', 'published'], (directory) => Qwen2VLTarget.load(directory));
