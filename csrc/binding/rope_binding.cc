#include "binding/args.h"
#include "binding/modules.h"
#include "core/ops.h"

namespace eyas {

namespace {

// ropeTables(positions: NativeTensor, inverseFrequencies: NativeTensor, options?: RopeOptions):
// { cos: NativeTensor; sin: NativeTensor }
Napi::Value Tables(const Napi::CallbackInfo& info) {
  const Args args("ropeTables", info);
  const Tensor positions = args.Tensor(0, "positions");
  const Tensor inverse_frequencies = args.Tensor(1, "inverseFrequencies");
  const Options options = args.Options(2);
  RopeTableArgs table;
  if (options.Has("sections")) table.sections = options.Ints("sections");
  table.interleaved = options.Bool("interleaved", false);
  table.offset = options.Number("offset", 0);
  table.scaling = options.Number("scaling", 1);
  const RopeTables tables = MakeRopeTables(positions, inverse_frequencies, table);
  return Record(info.Env(), {{"cos", tables.cos}, {"sin", tables.sin}});
}

// rope(x: NativeTensor, cos: NativeTensor, sin: NativeTensor, inverse?: boolean, out?: NativeTensor):
// NativeTensor | void
Napi::Value Rotate(const Napi::CallbackInfo& info) {
  const Args args("rope", info);
  const Tensor out = args.OptionalTensor(4, "out");
  return TensorWrap::Result(info.Env(), out,
                            Rope(args.Tensor(0, "x"), args.Tensor(1, "cos"), args.Tensor(2, "sin"),
                                 args.Bool(3, "inverse", false), out));
}

}  // namespace

void InitRope(Napi::Env, Napi::Object exports) {
  Export<Tables>(exports, "ropeTables");
  Export<Rotate>(exports, "rope");
}

}  // namespace eyas
