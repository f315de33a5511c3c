#pragma once
/// \file
/// Everything that FineTuner<C, T, Policy, cuda::OnDevice, cuda::DeviceLlama<C, T>> needs on a device.

#include "bf16_reference.cuh"
#include "llama.cuh"
