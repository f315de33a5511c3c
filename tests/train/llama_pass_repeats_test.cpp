#define BOOST_TEST_MODULE llama_pass_repeats
#include <linden/train/llama_pass.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include "train/adapted_model.hpp"
#ifdef _OPENMP
#include <omp.h>
#endif

// A step repeated: the same bits on any number of threads, and no memory asked for. Allocations are counted where all
// of them pass, in malloc; only glibc lets a program do that, and a sanitizer wants to do it itself.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LINDEN_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LINDEN_TEST_SANITIZED
#endif
#endif
#if defined(__GLIBC__) && !defined(LINDEN_TEST_SANITIZED)
#define LINDEN_TEST_COUNTS_ALLOCATIONS
namespace {
std::size_t allocations = 0;
}
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void* malloc(std::size_t bytes) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_malloc(bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_memalign(alignment, bytes);
}
}
#endif

namespace {
using namespace linden;
using namespace linden::test;
}  // namespace

#ifdef _OPENMP
BOOST_AUTO_TEST_CASE(the_same_bits_for_any_number_of_threads) {
  Adapted<Stories260K, float> f;
  const Batch batch = batch_of({150, 1, 90, 33}, Stories260K::vocabulary);
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const double loss = f.run(batch, 0.01);
  const std::vector<float> gradient = f.flat_gradient;
  for (const int threads : {2, 3}) {
    omp_set_num_threads(threads);
    BOOST_TEST(f.run(batch, 0.01) == loss);
    BOOST_TEST((f.flat_gradient == gradient), "gradients differ with " << threads << " threads");
  }
  omp_set_num_threads(before);
}
#endif

#ifdef LINDEN_TEST_COUNTS_ALLOCATIONS
BOOST_AUTO_TEST_CASE(the_counter_counts) {
  const std::size_t before = allocations;
  const std::vector<int> vector(100);
  const AlignedBuffer<float> buffer(100);
  BOOST_TEST(allocations == before + 2);
  BOOST_TEST(vector.size() == buffer.size());
}

BOOST_AUTO_TEST_CASE(a_repeated_step_allocates_nothing) {
  Adapted<Stories260K, float> f;
  const Batch large = batch_of({150, 20, 60}, Stories260K::vocabulary),
              small = batch_of({40, 8}, Stories260K::vocabulary);
  f.run(large, 0.01);
  f.run(large, 0.01);
  const std::size_t before = allocations;
  BOOST_TEST_REQUIRE(before > 0U);
  const double loss = f.run(large, 0.01);
  const double smaller = f.run(small, 0.01);
  const std::size_t after = allocations;
  BOOST_TEST(after == before);
  BOOST_TEST((loss > smaller && smaller > 0));
}
#endif
