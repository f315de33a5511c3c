#include "support/instances.hpp"

namespace linden {

template class AdapterPass<Stories260K, float>;
template class AdapterPass<Stories260K, double>;
template class FineTuner<Stories260K, float>;
template class Generator<Stories260K, float>;
template class RankEvaluator<Stories260K, float>;

}  // namespace linden
