#!/usr/bin/env bash
# Makes gpu-bundle.tar.xz (about 36 MB) for scripts/gpu-proof.sh: Node, npm's packages that run and test eyas, the addon
# with the libraries that it needs, and dist/. It is unpacked over a checkout of the same commit, on the same kind of processor.
set -euo pipefail
cd "$(dirname "$0")/.."
node scripts/bootstrap.mjs

mkdir -p build/carried
cp "$(node -p process.execPath)" build/carried/node
strip build/carried/node

# What linting, formatting and packing need stays behind, and what only pictures other than JPEGs need.
{
  npm ls --all --parseable --omit=dev
  npm query '#vitest, #vitest *' |
    node -p 'JSON.parse(require("node:fs").readFileSync(0, "utf8")).map(({ location }) => location).join("\n")'
} | sed "s|^$PWD/||" | grep '^node_modules/' |
  grep -Ev '^node_modules/(@img/|cmake-js|node-addon-api|tar$|lightningcss|@babel|@bcoe|@vitest/coverage|istanbul|ast-v8)' |
  while read -r package; do if [[ -d $package ]]; then echo "$package"; fi; done | sort -u > build/carried/packages

tar --exclude=libeyas_cuda.so --exclude='*.map' --exclude='*.d.ts' --exclude='*.d.mts' --exclude='*.d.cts' --exclude='*.md' \
  -cf - build/carried/node build/Release dist -T build/carried/packages | xz -T0 --x86 --lzma2=preset=9e > gpu-bundle.tar.xz.partial
mv gpu-bundle.tar.xz.partial gpu-bundle.tar.xz
ls -l gpu-bundle.tar.xz
