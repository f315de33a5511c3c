#pragma once
/// \file
/// safetensors files: named tensors, row-major, little-endian, behind a JSON header.
///     u64 N | N bytes of JSON {"name": {"dtype", "shape", "data_offsets"}, ...} | the tensors' bytes to the end of
///     file
/// Reading maps the file and believes nothing: header size, JSON, names, dtypes, shapes, offsets, holes, overlaps and
/// trailing bytes are checked before any tensor is handed out. Writing gives the bytes the official writer gives:
/// wider dtypes first, then by name, header padded with spaces to a multiple of 8.
/// Shapes  std::uint64_t extents, outermost first; [] is a scalar.
/// Errors  DataError naming the file, the tensor, found and expected; UsageError for tensors that cannot be written.
/// Source  github.com/huggingface/safetensors (format description and reference implementation, 0.6).

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <linden/core/atomic_write.hpp>
#include <linden/core/element.hpp>
#include <linden/core/error.hpp>
#include <linden/io/dtype.hpp>
#include <linden/io/json_file.hpp>
#include <linden/io/mapped_file.hpp>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// A tensor in someone else's memory: a mapped file's, or what is to be written.
struct StoredTensor {
  std::string name;                  ///< as the file has it
  Dtype dtype = Dtype::F32;          ///< type of its elements
  std::vector<std::uint64_t> shape;  ///< row-major; empty for a scalar
  std::span<const std::byte> bytes;  ///< possibly unaligned: copy, do not cast
};

/// The view of `values` under `name`, of shape `shape`, to be passed to write_safetensors.
template <Element T>
[[nodiscard]] StoredTensor stored_tensor(std::string name, std::vector<std::uint64_t> shape,
                                         std::span<const T> values) {
  return {std::move(name), dtype_of<T>, std::move(shape), std::as_bytes(values)};
}

namespace detail {

/// The format's limit on the JSON header, bytes.
inline constexpr std::uint64_t max_header_bytes = 100'000'000;

/// "[8, 64]".
[[nodiscard]] inline std::string shown(std::span<const std::uint64_t> shape) {
  std::string list = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) list += text(i == 0 ? "" : ", ", shape[i]);
  return list + "]";
}

/// Bytes of a tensor; throws Failure, which names it by `where`, when there is no such number.
template <class Failure>
[[nodiscard]] std::uint64_t stored_bytes(Dtype dtype, std::span<const std::uint64_t> shape, const std::string& where) {
  std::uint64_t bits = dtype_bits(dtype);
  std::uint64_t count = 1;
  const auto multiply = [&](std::uint64_t a, std::uint64_t b) {
    if (a != 0 && b > std::numeric_limits<std::uint64_t>::max() / a)
      throw Failure(
          text(where, ": size of shape ", shown(shape), " and dtype ", dtype_name(dtype), " overflows 64 bits"));
    return a * b;
  };
  for (const auto extent : shape) count = multiply(count, extent);
  bits = multiply(count, bits);
  if (bits % 8 != 0)
    throw Failure(text(where, ": shape ", shown(shape), " and dtype ", dtype_name(dtype), " take ", bits,
                       " bits, expected whole bytes"));
  return bits / 8;
}

/// The JSON header of a mapped file.
[[nodiscard]] inline std::string_view header_of(const MappedFile& file, const std::string& where) {
  const auto characters = file.characters();
  std::uint64_t size = 0;
  if (characters.size() < sizeof size)
    throw DataError(text(where, ": file of ", characters.size(), " bytes, expected at least 8 (the header's size)"));
  std::memcpy(&size, characters.data(), sizeof size);
  if (size > max_header_bytes)
    throw DataError(text(where, ": header of ", size, " bytes, expected at most ", max_header_bytes));
  if (size > characters.size() - sizeof size)
    throw DataError(text(where, ": header of ", size, " bytes does not fit a file of ", characters.size(), " bytes"));
  const auto header = characters.substr(sizeof size, static_cast<std::size_t>(size));
  if (!header.starts_with('{')) throw DataError(text(where, ": header must start with '{'"));
  return header;
}

/// A tensor of a header, before its place in the file is checked.
struct PlacedTensor {
  StoredTensor view;
  std::uint64_t begin = 0;  // relative to the first byte after the header
  std::uint64_t end = 0;
};

/// A list of unsigned integers of the header.
[[nodiscard]] inline std::vector<std::uint64_t> unsigned_list(const JsonObject& tensor, const std::string& key) {
  const auto* field = tensor.find(key);
  const auto is_unsigned = [](const nlohmann::json& item) { return item.is_number_unsigned(); };
  if (field == nullptr || !field->is_array() || !std::all_of(field->begin(), field->end(), is_unsigned))
    tensor.fail(key, "a list of unsigned 64-bit integers");
  return field->get<std::vector<std::uint64_t>>();
}

[[nodiscard]] inline PlacedTensor placed_tensor(const std::string& name, const JsonObject& fields,
                                                const std::string& where) {
  PlacedTensor tensor;
  const auto dtype = find_dtype(fields.string("dtype"));
  if (!dtype) fields.fail("dtype", "a dtype of the safetensors format");
  const auto offsets = unsigned_list(fields, "data_offsets");
  if (offsets.size() != 2) fields.fail("data_offsets", "two integers: begin, end");
  tensor.view = {name, *dtype, unsigned_list(fields, "shape"), {}};
  tensor.begin = offsets[0];
  tensor.end = offsets[1];
  const auto place = text(where, ": tensor '", name, "'");
  if (tensor.end < tensor.begin)
    throw DataError(text(place, ": ends at ", tensor.end, " before it begins at ", tensor.begin));
  const auto expected = stored_bytes<DataError>(*dtype, tensor.view.shape, place);
  if (tensor.end - tensor.begin != expected)
    throw DataError(text(place, ": data_offsets span ", tensor.end - tensor.begin, " bytes, expected ", expected,
                         " for ", dtype_name(*dtype), " ", shown(tensor.view.shape)));
  return tensor;
}

/// Refuses holes, overlaps and trailing bytes in a buffer of `size` bytes.
inline void check_layout(std::vector<PlacedTensor>& tensors, std::uint64_t size, const std::string& where) {
  std::sort(tensors.begin(), tensors.end(), [](const PlacedTensor& a, const PlacedTensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t end = 0;
  for (const auto& tensor : tensors) {
    if (tensor.begin != end)
      throw DataError(text(where, ": tensor '", tensor.view.name, "': begins at ", tensor.begin, ", expected ", end,
                           tensor.begin > end ? " (a hole)" : " (an overlap)"));
    end = tensor.end;
  }
  if (end != size) throw DataError(text(where, ": tensors take ", end, " bytes, but ", size, " follow the header"));
}

[[nodiscard]] inline std::map<std::string, std::string> header_metadata(const JsonObject& header) {
  std::map<std::string, std::string> metadata;
  if (!header.has("__metadata__")) return metadata;
  const auto fields = header.object("__metadata__");
  for (const auto& key : fields.keys()) metadata.emplace(key, fields.string(key));
  return metadata;
}

}  // namespace detail

/// A safetensors file open for reading. Entries point into the mapped file and live as long as this object.
class SafeTensors {
 public:
  /// Maps and validates `path`.
  explicit SafeTensors(std::filesystem::path path) : path_(std::move(path)), file_(path_) {
    const auto where = path_.string();
    const auto header_text = detail::header_of(file_, where);
    const auto header = parse_json(header_text, where);
    const JsonObject fields(header, where);
    metadata_ = detail::header_metadata(fields);
    std::vector<detail::PlacedTensor> tensors;
    for (const auto& item : header.items())
      if (item.key() != "__metadata__")
        tensors.push_back(detail::placed_tensor(item.key(), JsonObject(item.value(), where, item.key() + "."), where));
    const auto buffer = file_.bytes().subspan(sizeof(std::uint64_t) + header_text.size());
    detail::check_layout(tensors, buffer.size(), where);
    for (auto& tensor : tensors) {
      tensor.view.bytes =
          buffer.subspan(static_cast<std::size_t>(tensor.begin), static_cast<std::size_t>(tensor.end - tensor.begin));
      entries_.emplace(tensor.view.name, std::move(tensor.view));
    }
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }                       ///< the file's
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }  ///< the header's "__metadata__"

  /// Names of all tensors, ascending.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& [name, entry] : entries_) list.push_back(name);
    return list;
  }
  /// Whether there is a tensor of this name.
  [[nodiscard]] bool contains(const std::string& name) const { return entries_.contains(name); }

  /// Type, shape and bytes of a tensor that must be there.
  [[nodiscard]] const StoredTensor& entry(const std::string& name) const {
    const auto at = entries_.find(name);
    if (at == entries_.end()) throw DataError(text(path_.string(), ": tensor '", name, "' is missing"));
    return at->second;
  }

  /// Copies a tensor to `out`, row-major, converting F32, F64, BF16 or F16 to T (I32 to int32 only). Values round to
  /// nearest, ties to even; an equal type keeps its bits.
  /// Shapes  the stored shape must be `expected_shape`, and `out` must hold that many elements.
  template <Element T>
  void read(const std::string& name, const std::vector<std::uint64_t>& expected_shape, std::span<T> out) const {
    const StoredTensor& tensor = entry(name);
    const auto where = text(path_.string(), ": tensor '", name, "'");
    if (tensor.shape != expected_shape)
      throw DataError(
          text(where, ": found shape ", detail::shown(tensor.shape), ", expected ", detail::shown(expected_shape)));
    if (tensor.bytes.size() != out.size() * dtype_bits(tensor.dtype) / 8)
      throw ShapeError(text(where, ": shape ", detail::shown(tensor.shape), " read into ", out.size(), " elements"));
    if (!detail::convert(tensor.dtype, tensor.bytes, out))
      throw DataError(text(where, ": found dtype ", dtype_name(tensor.dtype), ", expected ",
                           std::same_as<T, std::int32_t> ? "I32" : "F32, F64, BF16 or F16"));
  }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, StoredTensor> entries_;
};

namespace detail {

/// Refuses tensors that no reader would accept back.
inline void check_writable(std::span<const StoredTensor* const> tensors, const std::string& where) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& tensor = *tensors[i];
    const auto place = text(where, ": tensor '", tensor.name, "'");
    if (tensor.name == "__metadata__") throw UsageError(text(place, ": the name is reserved"));
    const auto expected = stored_bytes<UsageError>(tensor.dtype, tensor.shape, place);
    if (tensor.bytes.size() != expected)
      throw UsageError(text(place, ": given ", tensor.bytes.size(), " bytes, expected ", expected, " for ",
                            dtype_name(tensor.dtype), " ", shown(tensor.shape)));
  }
  std::vector<std::string_view> names;
  for (const auto* tensor : tensors) names.push_back(tensor->name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw UsageError(text(where, ": tensor '", *twice, "' is given twice"));
}

/// The header of `tensors`, already in file order. Written by hand because the order of the keys matters.
[[nodiscard]] inline std::string header_json(std::span<const StoredTensor* const> tensors,
                                             const std::map<std::string, std::string>& metadata,
                                             const std::string& where) {
  std::string header = "{";
  if (!metadata.empty()) header += "\"__metadata__\":" + json_text(metadata, -1, where);
  std::uint64_t begin = 0;
  for (const auto* tensor : tensors) {
    const std::uint64_t end = begin + tensor->bytes.size();
    if (header.size() > 1) header += ",";
    header += text(json_text(tensor->name, -1, where), ":{\"dtype\":\"", dtype_name(tensor->dtype),
                   "\",\"shape\":", nlohmann::json(tensor->shape).dump(), ",\"data_offsets\":[", begin, ",", end, "]}");
    begin = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > max_header_bytes)
    throw UsageError(text(where, ": header of ", header.size(), " bytes, expected at most ", max_header_bytes));
  return header;
}

}  // namespace detail

/// Writes `tensors` to `path`, all or nothing; `content(tensor)` gives the bytes of each when its turn comes, as many as
/// `tensor.bytes` has: so a file may be larger than what is in memory. `metadata` is left out when empty, else its keys
/// are sorted.
template <class Content>
void write_safetensors(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata, Content content) {
  std::vector<const StoredTensor*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const StoredTensor* a, const StoredTensor* b) {
    return a->dtype != b->dtype ? a->dtype > b->dtype : a->name < b->name;
  });
  detail::check_writable(order, path.string());
  const auto header = detail::header_json(order, metadata, path.string());
  const std::uint64_t size = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&size, 1)));
  file.write(header);
  for (const auto* tensor : order) file.write(content(*tensor));
  file.commit();
}

/// Writes `tensors` to `path`, all or nothing.
inline void write_safetensors(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  write_safetensors(path, tensors, metadata, [](const StoredTensor& tensor) { return tensor.bytes; });
}

}  // namespace linden
