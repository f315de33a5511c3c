#define BOOST_TEST_MODULE scratch
#include <linden/core/scratch.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <thread>

namespace {
struct One;
struct Other;
using linden::scratch;
}  // namespace

BOOST_AUTO_TEST_CASE(memory_is_kept_and_grows) {
  double* const first = scratch<One, double>(100);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(first) % linden::alignment == 0U);
  first[99] = 5;
  BOOST_TEST((scratch<One, double>(10)) == first);
  BOOST_TEST((scratch<One, double>(100)) == first);
  BOOST_TEST((scratch<One, double>(100)[99]) == 5);
  scratch<One, double>(100000)[99999] = 1;
}

BOOST_AUTO_TEST_CASE(purposes_and_types_do_not_share) {
  const void* const one = scratch<One, double>(1);
  BOOST_TEST(one != static_cast<const void*>(scratch<Other, double>(1)));
  BOOST_TEST(one != static_cast<const void*>(scratch<One, float>(1)));
}

BOOST_AUTO_TEST_CASE(threads_do_not_share) {
  const double* const mine = scratch<One, double>(1);
  const double* theirs = mine;
  std::thread([&theirs] { theirs = scratch<One, double>(1); }).join();
  BOOST_TEST(theirs != mine);
}
