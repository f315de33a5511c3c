#pragma once
/// \file
/// The core of linden in one include: tensors, differentiation, operations, the CPU, adapters and AURAC. Needs Eigen only.

#include <linden/backend/executor.hpp>
#include <linden/ops/attention.hpp>
#include <linden/ops/cross_entropy.hpp>
#include <linden/ops/elementwise.hpp>
#include <linden/ops/embedding.hpp>
#include <linden/ops/norm.hpp>
#include <linden/ops/product.hpp>
#include <linden/ops/reduce.hpp>
#include <linden/ops/rotary.hpp>
