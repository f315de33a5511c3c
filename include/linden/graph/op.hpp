#pragma once
/// \file
/// What an operation is to the graph: a name, how its gradient is written, and its kernels.
///
/// An operation is a struct of static members; the set is open, yours are as good as the library's.
///
///     struct Square {
///       static constexpr const char* name = "square";
///       static constexpr int arity = 1;
///       template <class T> static constexpr T element(T x) { return x * x; }  // elementwise: fuses with its neighbours
///       static constexpr void vjp(Vjp& v) {                                   // dL/dx from dL/dy, in symbols
///         v.gradient(0, symbolic::hadamard(v.upstream(), symbolic::scale(2.0, v.input(0))));
///       }
///     };
///
/// An operation that is not elementwise has `template <class T> static void cpu(const Call<T>& call)` instead of `element`.
/// Optional members (all static constexpr): `bool commutative`, `bool accumulates` (its kernel honours
/// `Result::accumulate`), `bool cheap` (a recompute policy may run it again in the backward pass), `bool flat` (its derivative
/// is zero wherever it exists, so no gradient flows through it), `unsigned reads_stored` (bit k: its kernel also takes input k
/// as bfloat16, in `Operand::half`), `unsigned wide_results` (bit k: result k is float also where elements are narrower).
/// An operation that is not flat and has no `vjp` runs, but a gradient through it does not compile.

#include <array>
#include <cstddef>
#include <cstdint>
#include <linden/core/element.hpp>

namespace linden {

inline constexpr int max_inputs = 8;      ///< inputs of one operation, at most
inline constexpr int max_results = 4;     ///< results of one operation, at most
inline constexpr int max_attributes = 4;  ///< constants of one node, at most

/// One argument of a running kernel: a matrix of T, or of ids.
template <class T>
struct Operand {
  T* data = nullptr;                  ///< null: a result nobody asked for
  const std::int32_t* ids = nullptr;  ///< set instead of data for inputs of ids
  const bfloat16* half = nullptr;     ///< set instead of data for inputs that are stored as bfloat16
  float* wide = nullptr;              ///< set instead of data for what is stored as float although T is narrower
  long rows = 0, columns = 0;         ///< run-time sizes
  long stride = 0;                    ///< elements from row to row; 0 repeats one row
  bool accumulate = false;            ///< results only: add to what is there instead of overwriting

  /// The first element of a row.
  [[nodiscard]] constexpr T* row(long index) const { return data + index * stride; }
};

/// What a kernel is called with.
template <class T>
struct Call {
  std::array<Operand<T>, max_inputs> inputs;      ///< as many as the operation's arity
  std::array<Operand<T>, max_results> results;    ///< as many as it has results; those with null data are not wanted
  std::array<double, max_attributes> attributes;  ///< the node's constants (epsilon, heads, ...), as its header says
};

struct Vjp;

/// An operation as nodes see it; made from the struct by `descriptor<Op>`.
struct Descriptor {
  const char* name = "";   ///< what errors and printed plans call it
  int arity = 0;           ///< number of inputs
  std::uint32_t hash = 0;  ///< of the name
  bool elementwise = false, commutative = false, accumulates = false, cheap = false, flat = false;  ///< as in the file comment
  unsigned reads_stored = 0;    ///< bit k: input k may be stored as bfloat16
  unsigned wide_results = 0;    ///< bit k: result k is at least float
  bool differentiable = false;  ///< has a vjp
  void (*vjp)(Vjp&) = nullptr;  ///< the gradient's rule, or null
};

namespace detail {

constexpr std::uint32_t mix(std::uint32_t hash, std::uint32_t value) { return (hash ^ value) * 16777619U; }

constexpr std::uint32_t hash_of(const char* name) {
  std::uint32_t hash = 2166136261U;
  for (; *name != 0; ++name) hash = mix(hash, static_cast<unsigned char>(*name));
  return hash;
}

template <class Op>
struct OperationDoor;

/// An operation on single elements. (Asked by calling it: nvcc answers false where the address of a template is taken.)
template <class Op>
concept has_element = requires(float x) { Op::element(x); } || requires(float x) { Op::element(x, x); };

template <class Op>
constexpr Descriptor describe() {
  static_assert(sizeof(OperationDoor<Op>) > 0);  // from now on operation_of finds Op
  Descriptor d{.name = Op::name, .arity = Op::arity, .hash = hash_of(Op::name)};
  static_assert(Op::arity <= max_inputs, "linden: an operation takes at most 8 inputs");
  if constexpr (requires { &Op::vjp; }) {
    d.differentiable = true;
    d.vjp = &Op::vjp;
  }
  if constexpr (requires { Op::commutative; }) d.commutative = Op::commutative;
  if constexpr (requires { Op::accumulates; }) d.accumulates = Op::accumulates;
  if constexpr (requires { Op::cheap; }) d.cheap = Op::cheap;
  if constexpr (requires { Op::flat; }) d.flat = Op::flat;
  if constexpr (requires { Op::reads_stored; }) d.reads_stored = Op::reads_stored;
  if constexpr (requires { Op::wide_results; }) d.wide_results = Op::wide_results;
  if constexpr (has_element<Op>) d.elementwise = d.cheap = d.accumulates = true;
  return d;
}

}  // namespace detail

/// The operation as nodes see it; its address tells operations apart.
template <class Op>
inline constexpr Descriptor descriptor = detail::describe<Op>();

namespace detail {

// The way back from a node to the type of its operation, so that a plan instantiates exactly the kernels it runs, in the element
// type it runs them in. Descriptors are values; a friend function, declared for a descriptor's address and defined by the
// operation's door, carries the type across.
template <const Descriptor* D>
struct OperationKey {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-template-friend"  // each key has its own function; that is the point
#endif
  friend constexpr auto operation_of(OperationKey);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
};
template <class Op>
struct OperationDoor {
  friend constexpr auto operation_of(OperationKey<&descriptor<Op>>) { return Op{}; }
};

/// The operation whose descriptor is at D.
template <const Descriptor* D>
using Operation = decltype(operation_of(OperationKey<D>{}));

}  // namespace detail

}  // namespace linden
