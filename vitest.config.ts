import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';

const emulated = fileURLToPath(new URL('build/emulated', import.meta.url));

// The kernels of csrc/cuda, compiled for the CPU (csrc/cuda/emulation); on a machine with a GPU, EYAS_TEST_GPU=1 takes it.
const cuda = {
  EYAS_TEST_DEVICE: 'cuda',
  ...(process.env.EYAS_TEST_GPU
    ? {}
    : { EYAS_CUDA_BACKEND: `${emulated}/libeyas_cuda.so`, EYAS_CUDA_LIBRARY_PATH: emulated }),
};

const projects: TestProjectConfiguration[] = [
  { extends: true, test: { name: 'cpu', include: ['test/**/*.test.ts'] } },
];
if (process.env.EYAS_TEST_GPU || existsSync(emulated)) {
  projects.push({
    extends: true,
    test: {
      name: 'cuda',
      include: [
        'test/autograd.test.ts',
        'test/decoding/{generate,kv-cache}.test.ts',
        'test/draft/ttt.test.ts',
        'test/models/{decoder/moe,qwen_vl/run}.test.ts',
        'test/models/{deepseek_vl,internvl,qwen2_5_vl,qwen3_omni,qwen3_vl,text}/target.test.ts',
        'test/native/{attention,device,elementwise,matmul,moe,norm,optimizer,out,rope,rows,tensor,vocabulary}.test.ts',
      ],
      env: cuda,
      setupFiles: ['test/helpers/device.ts'],
    },
  });
}

export default defineConfig({
  test: {
    // The addon uses every core by itself; more workers would only fight over them.
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects,
  },
});
