#pragma once
/// \file
/// The exceptions linden throws, and the one function that words them.
/// Every message says what was wrong, where, what was found and what was expected.

#include <sstream>
#include <stdexcept>
#include <string>

namespace linden {

/// Base of every exception thrown by linden: catch this one to catch them all.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Run-time sizes that disagree: names the tensor, the axis, the bound and the expected size.
struct ShapeError : Error {
  using Error::Error;
};

/// A file, or data in it, that is not what it should be: names the file, the field, found and expected.
struct DataError : Error {
  using Error::Error;
};

/// Arguments that do not make sense together or on their own (ranks, options, sizes).
struct UsageError : Error {
  using Error::Error;
};

/// A device, its driver or its memory failed: names what was asked of it and what it answered.
struct DeviceError : Error {
  using Error::Error;
};

/// Another process of a run is gone, or does not answer: names it.
struct ProcessError : Error {
  using Error::Error;
};

/// The arguments streamed one after the other into a string: `text("rank ", r, " of ", R)`.
template <class... Parts>
[[nodiscard]] std::string text(const Parts&... parts) {
  std::ostringstream out;
  out.exceptions(std::ios::badbit);  // out of memory: an exception, and not half of a text
  (out << ... << parts);
  return out.str();
}

}  // namespace linden
