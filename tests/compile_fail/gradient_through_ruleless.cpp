// An operation without a rule does not pass on a gradient of zero: the compiler stops, and says why.
// expected: linden: gradient through an operation that has none (no vjp, and not flat)
#include <linden/graph/function.hpp>
#include <linden/ops/elementwise.hpp>
using namespace linden;

struct Floor {
  static constexpr const char* name = "floor";
  static constexpr int arity = 1;
#ifdef LINDEN_FIXED
  static constexpr bool flat = true;
#endif
  template <class T>
  static T element(T x) {
    return std::floor(x);
  }
};
using X = Expr<Shape<tokens, 8>>;
constexpr auto f = [](X x) { return X(symbolic::map<Floor>(x)); };

int main() { return program<decltype(vjp(f))>.result_count - 1; }
