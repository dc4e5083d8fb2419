#pragma once

#include "core/backend.h"

namespace eyas::cpu {

// See RopeTableProblem and RopeProblem.
void MakeRopeTables(const RopeTableProblem& problem, float* cos, float* sin);

void Rope(const RopeProblem& problem, float* out);

}  // namespace eyas::cpu
