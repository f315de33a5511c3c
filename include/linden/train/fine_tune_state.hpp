#pragma once
/// \file
/// What a fine-tuning run must remember between two steps, as one safetensors file that is wholly there or not at all. The order of
/// the samples, all draws and the learning rate follow from the run's options and the number of its steps, so they are not in it.
/// Shapes  parameters, moment1, moment2: [n] of the run's adapter, in the order of AdapterFactors
/// Errors  DataError naming the file, what was found and what was expected.

#include <array>
#include <charconv>
#include <cstring>
#include <linden/io/safetensors.hpp>
#include <linden/train/process_group.hpp>
#include <string>
#include <vector>

namespace linden {

/// What a run goes on from.
template <class T>
struct FineTuneState {
  std::size_t steps = 0;                              ///< made, those that changed nothing included
  std::size_t updates = 0;                            ///< AdamW's own count
  std::vector<T> parameters{}, moment1{}, moment2{};  ///< [n] each
};

namespace detail {

inline constexpr const char* fine_tune_format = "linden.fine_tune/1";

/// A number of the metadata.
[[nodiscard]] inline std::size_t metadata_number(const SafeTensors& file, const std::string& key) {
  const auto at = file.metadata().find(key);
  const std::string found = at == file.metadata().end() ? "" : at->second;
  std::size_t number = 0;
  const auto [stop, failure] = std::from_chars(found.data(), found.data() + found.size(), number);
  if (found.empty() || failure != std::errc{} || stop != found.data() + found.size())
    throw DataError(text(file.path().string(), ": metadata ", key, " is \"", found, "\", expected a whole number"));
  return number;
}

}  // namespace detail

/// Writes the state of a run of n parameters.
template <class T>
void write_fine_tune_state(const std::filesystem::path& file, std::size_t steps, std::size_t updates, std::span<const T> parameters,
                           std::span<const T> moment1, std::span<const T> moment2) {
  const auto tensor = [](const char* name, std::span<const T> values) {
    return stored_tensor<T>(name, {values.size()}, values);
  };
  const std::array tensors{tensor("parameters", parameters), tensor("moment1", moment1), tensor("moment2", moment2)};
  write_safetensors(file, tensors,
                    {{"format", detail::fine_tune_format}, {"steps", text(steps)}, {"updates", text(updates)}});
}

/// The state of a run of n parameters.
template <class T>
[[nodiscard]] FineTuneState<T> read_fine_tune_state(const std::filesystem::path& path, std::size_t n) {
  const SafeTensors file(path);
  const auto format = file.metadata().find("format");
  if (format == file.metadata().end() || format->second != detail::fine_tune_format)
    throw DataError(text(path.string(), ": is not the state of a fine-tuning run (metadata format is \"",
                         format == file.metadata().end() ? "" : format->second, "\", expected \"", detail::fine_tune_format, "\")"));
  FineTuneState<T> state{detail::metadata_number(file, "steps"), detail::metadata_number(file, "updates")};
  for (const auto& [name, values] : {std::pair("parameters", &state.parameters), std::pair("moment1", &state.moment1),
                                     std::pair("moment2", &state.moment2)}) {
    values->resize(n);
    file.read<T>(name, {n}, *values);
  }
  if (state.updates > state.steps)
    throw DataError(text(path.string(), ": metadata updates is ", state.updates, ", expected at most its steps, ", state.steps));
  return state;
}

/// The state of process 0, which may be the only one that sees the file, becomes that of all.
template <class T>
void share_fine_tune_state(ProcessGroup& group, FineTuneState<T>& state) {
  if (group.size() == 1) return;
  const auto share = [&]<class Values>(Values& values) {
    using Number = std::remove_pointer_t<decltype(values.data())>;
    const std::string bytes = from_first(group, std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Number)));
    if constexpr (requires { values.resize(0); }) values.resize(bytes.size() / sizeof(Number));
    std::memcpy(values.data(), bytes.data(), bytes.size());
  };
  std::array counts{state.steps, state.updates};
  share(counts);
  state.steps = counts[0], state.updates = counts[1];
  for (auto* const values : {&state.parameters, &state.moment1, &state.moment2}) share(*values);
}

}  // namespace linden
