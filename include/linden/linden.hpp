#pragma once
/// \file
/// The core of linden in one include: tensors, differentiation, operations, the CPU, adapters and AURAC. Needs Eigen only.
/// Models, training and files have headers of their own (model/, train/, eval/, io/, data/).

#include <linden/adapter/closed_form.hpp>
#include <linden/adapter/initialise.hpp>
#include <linden/adapter/low_rank.hpp>
#include <linden/adapter/rank_sampling.hpp>
#include <linden/adapter/rank_set.hpp>
#include <linden/adapter/weighting.hpp>
#include <linden/backend/executor.hpp>
#include <linden/eval/aurac.hpp>
#include <linden/graph/print.hpp>
#include <linden/ops/attention.hpp>
#include <linden/ops/cross_entropy.hpp>
#include <linden/ops/elementwise.hpp>
#include <linden/ops/embedding.hpp>
#include <linden/ops/norm.hpp>
#include <linden/ops/product.hpp>
#include <linden/ops/reduce.hpp>
#include <linden/ops/rotary.hpp>
#include <linden/version.hpp>
