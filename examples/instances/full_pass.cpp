// Pretraining of the demo model, optimised in full.
#include <linden/model/llama_config.hpp>
#include <linden/train/llama_pass.hpp>

template class linden::FullPass<linden::WordProblems, float>;
