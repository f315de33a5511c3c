#pragma once
/// \file
/// The classes the programs share, compiled once per configuration in examples/instances/ instead of once per program.
/// A new configuration: its lines here, and a file there. (Without them everything still works; it only compiles longer.)

#include <linden/eval/rank_curve.hpp>
#include <linden/model/llama_config.hpp>
#include <linden/train/fine_tune.hpp>

namespace linden {

extern template class AdapterPass<Stories260K, float>;
extern template class AdapterPass<Stories260K, double>;
extern template class FineTuner<Stories260K, float>;
extern template class Generator<Stories260K, float>;
extern template class RankEvaluator<Stories260K, float>;

extern template class AdapterPass<WordProblems, float>;
extern template class AdapterPass<WordProblems, double>;
extern template class FullPass<WordProblems, float>;
extern template class FineTuner<WordProblems, float>;
extern template class Generator<WordProblems, float>;
extern template class RankEvaluator<WordProblems, float>;

}  // namespace linden
