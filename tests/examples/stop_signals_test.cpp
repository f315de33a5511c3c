#define BOOST_TEST_MODULE stop_signals
#include "support/stop_signals.hpp"
//
#include <boost/test/unit_test.hpp>

using linden::examples::StopSignals;

BOOST_AUTO_TEST_CASE(the_first_signal_is_remembered) {
  const StopSignals signals;
  BOOST_TEST(!signals.received());
  std::raise(SIGTERM);
  BOOST_TEST(signals.received());
}
