#include "support/instances.hpp"

namespace linden {

template class AdapterPass<WordProblems, float>;
template class AdapterPass<WordProblems, double>;
template class FullPass<WordProblems, float>;
template class FineTuner<WordProblems, float>;
template class Generator<WordProblems, float>;
template class RankEvaluator<WordProblems, float>;

}  // namespace linden
