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

BOOST_AUTO_TEST_CASE(a_launcher_s_signal_is_one) {
  linden::examples::detail::stop_signal = 0;
  const StopSignals signals;
  std::raise(SIGUSR1);
  BOOST_TEST(signals.received());
}
