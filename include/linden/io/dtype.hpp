#pragma once
/// \file
/// Element types a safetensors file may hold, their names and sizes, and reading them as the types linden stores.
/// Units   sizes in bits.
/// Errors  none thrown; `convert` exists for the types of `dtype_of` only.
/// Source  github.com/huggingface/safetensors, the format's dtype list; its order decides how files are laid out.

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <linden/core/element.hpp>
#include <optional>
#include <span>
#include <string_view>

namespace linden {

static_assert(std::endian::native == std::endian::little, "linden reads and writes files of little-endian numbers");

/// Stored element types, in the ascending order of the format.
enum class Dtype : std::uint8_t {
  BOOL,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64
};

namespace detail {

struct DtypeInfo {
  std::string_view name;
  unsigned bits;
};

/// Indexed by Dtype.
inline constexpr std::array<DtypeInfo, 22> dtypes{
    {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
     {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
     {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}}};

}  // namespace detail

/// The name in the file, such as "BF16".
[[nodiscard]] constexpr std::string_view dtype_name(Dtype dtype) {
  return detail::dtypes[static_cast<std::size_t>(dtype)].name;
}

/// Bits of one element.
[[nodiscard]] constexpr unsigned dtype_bits(Dtype dtype) {
  return detail::dtypes[static_cast<std::size_t>(dtype)].bits;
}

/// The dtype called `name`, if there is one.
[[nodiscard]] constexpr std::optional<Dtype> find_dtype(std::string_view name) {
  for (std::size_t i = 0; i < detail::dtypes.size(); ++i)
    if (detail::dtypes[i].name == name) return static_cast<Dtype>(i);
  return std::nullopt;
}

/// How T is stored: float is F32, bfloat16 is BF16, ...
template <Element T>
inline constexpr Dtype dtype_of = std::same_as<T, float>      ? Dtype::F32
                                  : std::same_as<T, double>   ? Dtype::F64
                                  : std::same_as<T, bfloat16> ? Dtype::BF16
                                  : std::same_as<T, float16>  ? Dtype::F16
                                                              : Dtype::I32;

namespace detail {

template <Element T, Element Stored>
T element_cast(Stored value) {
  if constexpr (Real<T>)
    return static_cast<T>(value);
  else
    return T(static_cast<float>(value));  // F64 to 16 bits rounds twice, by way of float
}

/// Stored elements, possibly unaligned, to `out`; bits are kept where the types agree.
template <Element Stored, Element T>
void convert_from(std::span<const std::byte> bytes, std::span<T> out) {
  if constexpr (std::same_as<Stored, T>) {
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size_bytes());
  } else {
    for (std::size_t i = 0; i < out.size(); ++i) {
      Stored value;
      std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
      out[i] = element_cast<T>(value);
    }
  }
}

/// Reads out.size() elements of `dtype`. Floating types convert into each other, I32 is read as int32 only.
/// \return false, and leaves `out` alone, when `dtype` cannot be read as T.
template <Element T>
[[nodiscard]] bool convert(Dtype dtype, std::span<const std::byte> bytes, std::span<T> out) {
  if constexpr (std::same_as<T, std::int32_t>) {
    if (dtype != Dtype::I32) return false;
    convert_from<std::int32_t>(bytes, out);
    return true;
  } else {
    switch (dtype) {
      case Dtype::F32:
        convert_from<float>(bytes, out);
        return true;
      case Dtype::F64:
        convert_from<double>(bytes, out);
        return true;
      case Dtype::BF16:
        convert_from<bfloat16>(bytes, out);
        return true;
      case Dtype::F16:
        convert_from<float16>(bytes, out);
        return true;
      default:
        return false;
    }
  }
}

}  // namespace detail

}  // namespace linden
