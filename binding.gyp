# CMakeLists.txt is the only build description. This file exists so that
# `node-gyp rebuild` (npm rebuild, node-gyp-build without a matching prebuild)
# ends up in the same CMake build.
{
  'targets': [
    {
      'target_name': 'eyas',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake_js',
          'message': 'Building csrc/ with cmake-js',
          'inputs': ['CMakeLists.txt', 'scripts/build-native.mjs'],
          # Never created, so the action always runs and CMake decides what is stale.
          'outputs': ['<(INTERMEDIATE_DIR)/always-run.stamp'],
          'action': [
            'node',
            'scripts/build-native.mjs',
            'build',
            '--arch=<(target_arch)',
            '--config=<(CONFIGURATION_NAME)',
          ],
        },
      ],
    },
  ],
}
