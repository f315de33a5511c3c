#define BOOST_TEST_MODULE parallel
#include <linden/core/parallel.hpp>
//
#include <boost/test/unit_test.hpp>
#include <mutex>
#include <set>
#include <utility>
#include <vector>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {
using namespace linden;
using Pieces = std::set<std::pair<long, long>>;

Pieces pieces_of(long count, long cost) {
  Pieces pieces;
  std::mutex guard;
  parallel_for(count, cost, [&](long first, long last) {
    const std::scoped_lock lock(guard);
    pieces.emplace(first, last);
  });
  return pieces;
}
}  // namespace

BOOST_AUTO_TEST_CASE(every_item_once) {
  for (const long count : {1L, 2L, 63L, 64L, 65L, 1000L, 100000L})
    for (const long cost : {0L, 1L, 100L, 100000L}) {
      long next = 0;
      for (const auto& [first, last] : pieces_of(count, cost)) {  // a set: in order
        BOOST_TEST(first == next);
        BOOST_TEST(last > first);
        next = last;
      }
      BOOST_TEST(next == count);
    }
}

BOOST_AUTO_TEST_CASE(nothing_is_not_called) {
  BOOST_TEST(pieces_of(0, 100).empty());
  BOOST_TEST(pieces_of(-3, 100).empty());
}

BOOST_AUTO_TEST_CASE(small_loops_are_one_piece) {
  BOOST_TEST(pieces_of(100, 1).size() == 1U);
  BOOST_TEST(pieces_of(1000, 1000).size() == 61U);
  BOOST_TEST(pieces_of(100000, 1000).size() == 64U);
}

#ifdef _OPENMP
BOOST_AUTO_TEST_CASE(pieces_do_not_depend_on_the_number_of_threads) {
  const int before = omp_get_max_threads();
  std::vector<Pieces> found;
  for (const int threads : {1, 2, 5}) {
    omp_set_num_threads(threads);
    found.push_back(pieces_of(12345, 77));
  }
  omp_set_num_threads(before);
  BOOST_TEST((found[0] == found[1] && found[1] == found[2]));
}
#endif
