#pragma once
/// \file
/// Initial values of an adapter's A: uniform in (-b, b). B starts at zero, so an untrained adapter changes nothing.
/// Shapes  A [in, R], row-major; all of it is assigned.
/// Errors  ShapeError where A is not in * R long; UsageError for sizes that are not positive.
/// Source  He et al. 2015, arXiv:1502.01852 (the rule, with a = sqrt 5): gain / sqrt(fan) * sqrt 3 = 1 / sqrt(fan).

#include <array>
#include <cmath>
#include <cstddef>
#include <linden/core/element.hpp>
#include <linden/core/error.hpp>
#include <linden/core/names.hpp>
#include <linden/core/random.hpp>
#include <span>
#include <string_view>

namespace linden {

/// The fan that the bound of A is taken from: what the rule sees depends on how A is stored.
enum class Initialisation {
  reference,  ///< b = 1 / sqrt(R): MatryoshkaLoRA applies it to [in, R]
  peft,       ///< b = 1 / sqrt(in): PEFT applies it to [R, in]
};

namespace detail {

inline constexpr std::array<Named<Initialisation>, 2> initialisation_names{
    {{Initialisation::reference, "reference"}, {Initialisation::peft, "peft"}}};

}  // namespace detail

/// What parse_initialisation reads.
[[nodiscard]] constexpr std::string_view to_string(Initialisation rule) {
  return name_of(rule, detail::initialisation_names);
}

/// "reference" or "peft".
[[nodiscard]] inline Initialisation parse_initialisation(std::string_view name) {
  return value_of(name, "initialisation", detail::initialisation_names);
}

/// b, the largest magnitude of an entry of A.
[[nodiscard]] inline double initialisation_bound(Initialisation rule, std::size_t in, std::size_t R) {
  if (in == 0 || R == 0)
    throw UsageError(text("initialise A [in, R] = [", in, ", ", R, "]: both sizes must be positive"));
  return 1.0 / std::sqrt(static_cast<double>(rule == Initialisation::reference ? R : in));
}

/// Fills A from `random`, row by row. Use one generator for all layers, in layer order: the adapter is then a function
/// of its seed alone.
template <Real T>
void initialise_a(std::span<T> A, std::size_t in, std::size_t R, Initialisation rule, TorchUniform& random) {
  const auto bound = static_cast<float>(initialisation_bound(rule, in, R));
  if (A.size() != in * R)
    throw ShapeError(
        text("initialise A [in, R] = [", in, ", ", R, "]: expected ", in * R, " elements, found ", A.size()));
  for (T& entry : A) entry = random(-bound, bound);
}

}  // namespace linden
