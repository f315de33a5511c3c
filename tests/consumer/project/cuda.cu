// A user of the GPU backend, who includes it as in linden's own tree. (What needs no GPU: the test asks whether it compiles.)
#include <kernels/fine_tune.cuh>

int main() {
  using Model = linden::cuda::DeviceLlama<linden::WordProblems, float>;
  static_assert(std::is_constructible_v<Model, const linden::FrozenLlama<linden::WordProblems, float>&, linden::cuda::Device&>);
  return linden::cuda::warp_size == 32 ? 0 : 1;
}
