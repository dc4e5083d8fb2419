#include <algorithm>

#include "core/check.h"
#include "core/ops.h"

namespace eyas {

namespace {

// The axis whose position turns each frequency.
std::vector<int64_t> AxisOfFrequency(int64_t axes, int64_t frequencies, const RopeTableArgs& args) {
  constexpr const char* kOp = "ropeTables";
  std::vector<int64_t> axis_of(static_cast<size_t>(frequencies), 0);
  if (args.sections.empty()) {
    if (axes != 1) Fail(kOp, "sections for positions of " + std::to_string(axes) + " axes", "none");
    return axis_of;
  }
  const int64_t count = static_cast<int64_t>(args.sections.size());
  int64_t sum = 0;
  for (const int64_t section : args.sections) {
    if (section < 0) Fail(kOp, "sections of 0 or more", std::to_string(section));
    sum += section;
  }
  if (count != axes) {
    Fail(kOp, std::to_string(axes) + " sections, one an axis of positions", std::to_string(count));
  }
  if (sum != frequencies) {
    Fail(kOp, "sections that sum to " + std::to_string(frequencies) + " frequencies", std::to_string(sum));
  }
  if (args.interleaved) {
    // Axis a > 0 takes every count-th frequency from a on, as many as its section says and there are; axis 0
    // has the rest.
    for (int64_t axis = 1; axis < count; ++axis) {
      const int64_t end = std::min(args.sections[axis] * count, frequencies);
      for (int64_t f = axis; f < end; f += count) axis_of[f] = axis;
    }
    return axis_of;
  }
  int64_t f = 0;
  for (int64_t axis = 0; axis < count; ++axis) {
    for (int64_t i = 0; i < args.sections[axis]; ++i) axis_of[f++] = axis;
  }
  return axis_of;
}

}  // namespace

RopeTables MakeRopeTables(const Tensor& positions, const Tensor& inverse_frequencies,
                          const RopeTableArgs& args) {
  constexpr const char* kOp = "ropeTables";
  ExpectDType(kOp, "positions", positions, DType::kFloat32);
  ExpectRank(kOp, "positions", positions, 2);
  ExpectDType(kOp, "inverseFrequencies", inverse_frequencies, DType::kFloat32);
  ExpectRank(kOp, "inverseFrequencies", inverse_frequencies, 1);
  const int64_t n = positions.dim(1);
  const int64_t frequencies = inverse_frequencies.dim(0);
  const std::vector<int64_t> axis_of = AxisOfFrequency(positions.dim(0), frequencies, args);
  const Tensor places = Contiguous(positions);
  const Tensor inverse = Contiguous(inverse_frequencies);
  const RopeTables tables = {Tensor({n, frequencies}, DType::kFloat32, positions.device()),
                             Tensor({n, frequencies}, DType::kFloat32, positions.device())};
  BackendFor(kOp, {&places, &inverse})
      .RopeTables({places.data<float>(), inverse.data<float>(), axis_of.data(), n, frequencies,
                   static_cast<float>(args.offset), static_cast<float>(args.scaling)},
                  tables.cos.data<float>(), tables.sin.data<float>());
  return tables;
}

Tensor Rope(const Tensor& x, const Tensor& cos, const Tensor& sin, bool inverse, const Tensor& out_argument) {
  ExpectDType("rope", "x", x, DType::kFloat32);
  ExpectRank("rope", "x", x, 3);
  ExpectDType("rope", "cos", cos, DType::kFloat32);
  ExpectShape("rope", "cos", cos, {x.dim(0), -1});
  ExpectDType("rope", "sin", sin, DType::kFloat32);
  ExpectShape("rope", "sin", sin, cos.shape());
  const int64_t frequencies = cos.dim(1);
  if (2 * frequencies > x.dim(2)) {
    Fail("rope", "cos with at most " + std::to_string(x.dim(2) / 2) + " frequencies for x " + x.ToString(),
         cos.ToString());
  }
  const Tensor source = x.ContiguousFrom(2) ? x : Contiguous(x);
  const Tensor cosines = Contiguous(cos);
  const Tensor sines = Contiguous(sin);
  Tensor out = FloatsFor("rope", out_argument, x.shape(), {&x, &cos, &sin});
  BackendFor("rope", {&source, &cosines, &sines, &out})
      .Rope({source.data<float>(), source.stride(0), x.dim(0), x.dim(1), x.dim(2), frequencies,
             cosines.data<float>(), sines.data<float>(), inverse},
            out.data<float>());
  return out;
}

}  // namespace eyas
