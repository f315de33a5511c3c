#pragma once
/// \file
/// What the programs need of a model: training, generation, evaluation, adapters, files.

#include <linden/eval/rank_evaluator.hpp>
#include <linden/model/checkpoint.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/model/llama_config.hpp>
#include <linden/train/llama_pass.hpp>
