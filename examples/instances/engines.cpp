// From a model directory and a device to the engine compiled for both.
#include "support/configurations.hpp"
#include "support/engine.hpp"

namespace linden::examples {

std::unique_ptr<Engine> make_engine(const EngineOptions& options) {
#ifndef LINDEN_CUDNN
  if (options.attention == AttentionBy::cudnn)
    throw UsageError("--attention cudnn: this build has no cuDNN; configure it with LINDEN_CUDA=ON and LINDEN_CUDNN=ON");
#endif
  return with_configuration<CompiledConfigurations>(options.model, [&]<class C>(C) -> std::unique_ptr<Engine> {
    if (options.device == DeviceKind::cpu) return engine_on_cpu<C>(options);
#ifdef LINDEN_CUDA
    return engine_on_cuda<C>(options);
#else
    throw UsageError("--device cuda: this build has no code for GPUs; configure it with LINDEN_CUDA=ON (preset cuda)");
#endif
  });
}

}  // namespace linden::examples
