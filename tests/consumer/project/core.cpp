// A user of the library alone.
#include <Eigen/Core>
#include <linden/core/element.hpp>
#include <linden/version.hpp>

static_assert(LINDEN_VERSION >= 100);

int main() {
  const Eigen::Vector2f stored(float(linden::bfloat16(1.0F)), float(linden::float16(2.0F)));
  return stored.sum() == 3.0F ? 0 : 1;
}
