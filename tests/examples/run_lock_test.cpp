#define BOOST_TEST_MODULE run_lock
#include "support/run_lock.hpp"
//
#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

using linden::DataError;
using linden::examples::RunLock;
using linden::test::TemporaryFolder;

BOOST_FIXTURE_TEST_CASE(a_folder_is_held_by_one_lock, TemporaryFolder) {
  {
    const RunLock held(path() / "run");
    BOOST_CHECK_THROW(RunLock(path() / "run"), DataError);
    BOOST_CHECK_NO_THROW(RunLock(path() / "other"));
  }
  BOOST_CHECK_NO_THROW(RunLock(path() / "run"));
}

BOOST_FIXTURE_TEST_CASE(a_folder_that_is_gone_is_noticed, TemporaryFolder) {
  const RunLock held(path() / "run");
  BOOST_CHECK_NO_THROW(held.check());
  std::filesystem::rename(path() / "run", path() / "moved");
  BOOST_CHECK_THROW(held.check(), DataError);
  const RunLock another(path() / "run");
  BOOST_CHECK_THROW(held.check(), DataError);
  BOOST_CHECK_NO_THROW(another.check());
}
