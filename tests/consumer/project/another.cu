// What cuda.cu includes, in a second translation unit: each must be able to define it.
#include <kernels/adamw.cuh>
#include <kernels/executor.cuh>
