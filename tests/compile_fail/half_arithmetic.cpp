// 16-bit types store, they do not compute: a function over computing types refuses them and names the concept.
// expected: Real
// expected: constraints not satisfied
// expected: T = linden::float16
#include <linden/core/element.hpp>

#ifdef LINDEN_FIXED
using Number = float;
#else
using Number = linden::float16;
#endif

template <linden::Real T>
T halved(T value) {
  return value / T(2);
}

int main() { return halved(Number(2.0F)) == Number(1.0F) ? 0 : 1; }
