#pragma once
/// \file
/// Token ids, labels and a diagonal p from JSON files, for comparing numbers with other programs.
/// Formats  {"input_ids": [[1, 5, ...], ...], "labels": [[-100, 5, ...], ...]}: a list a sequence, equal lengths,
/// labels not
///          shifted, -100 where nothing is learned; and {"p": [4, 3, 2, 2]}.
/// Errors   DataError naming the file, the field and the position for anything else, unknown fields too.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <linden/data/batch.hpp>
#include <linden/io/json_file.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace linden::examples {

namespace detail {

/// A list that is not empty.
inline const nlohmann::json& list_of(const JsonObject& fields, const std::string& key, const char* what) {
  const auto* field = fields.find(key);
  if (field == nullptr || !field->is_array() || field->empty()) fields.fail(key, what);
  return *field;
}

inline void refuse_other_fields(const JsonObject& fields, std::initializer_list<std::string_view> known) {
  for (const auto& key : fields.keys())
    if (std::find(known.begin(), known.end(), key) == known.end()) fields.fail(key, "no such field");
}

/// One sequence of ids below `vocabulary`; labels may also be -100.
inline std::vector<std::int32_t> id_list(const nlohmann::json& list, long vocabulary, bool labels,
                                         const std::string& where) {
  const auto expected = text(labels ? "-100 or " : "", "an id from 0 to ", vocabulary - 1);
  if (!list.is_array()) throw DataError(text(where, ": expected a list of ids, found ", list.type_name()));
  std::vector<std::int32_t> ids;
  for (std::size_t t = 0; t < list.size(); ++t) {
    const bool ignored = labels && list[t] == nlohmann::json(Sample::ignored);
    if (!ignored && !JsonObject::is_integer_in(&list[t], 0, vocabulary - 1))
      throw DataError(text(where, "[", t, "]: found ", list[t].dump(-1, ' ', true), ", expected ", expected));
    ids.push_back(list[t].get<std::int32_t>());
  }
  return ids;
}

}  // namespace detail

/// The sequences of `file` as one packed batch, at least one label of which counts.
inline Batch read_token_file(const std::filesystem::path& file, long vocabulary, long max_length) {
  const auto json = read_json(file);
  const JsonObject fields(json, file.string());
  detail::refuse_other_fields(fields, {"input_ids", "labels"});
  const auto& ids = detail::list_of(fields, "input_ids", "a list of sequences");
  const auto& labels = detail::list_of(fields, "labels", "a list of sequences");
  if (ids.size() != labels.size())
    throw DataError(text(file.string(), ": input_ids has ", ids.size(), " sequences, labels has ", labels.size()));
  Batch batch;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const auto where = [&](const char* field) { return text(file.string(), ": ", field, "[", s, "]"); };
    const Sample sample{.ids = detail::id_list(ids[s], vocabulary, false, where("input_ids")),
                        .labels = detail::id_list(labels[s], vocabulary, true, where("labels")),
                        .row = static_cast<long>(s)};
    if (sample.ids.empty() || sample.ids.size() > static_cast<std::size_t>(max_length))
      throw DataError(text(where("input_ids"), ": ", sample.ids.size(), " tokens, expected 1 to ", max_length));
    if (sample.ids.size() != sample.labels.size())
      throw DataError(text(where("labels"), ": ", sample.labels.size(), " labels for ", sample.ids.size(), " ids"));
    batch.append(sample, static_cast<std::size_t>(max_length));
  }
  if (batch.counted == 0)
    throw DataError(text(file.string(), ": labels: no label counts; the first of a sequence has nothing before it"));
  return batch;
}

/// The diagonal p of `file`, which has R weights.
template <class T>
std::vector<T> read_weighting_file(const std::filesystem::path& file, int R) {
  const auto json = read_json(file);
  const JsonObject fields(json, file.string());
  detail::refuse_other_fields(fields, {"p"});
  const auto& list = detail::list_of(fields, "p", "a list of weights");
  if (list.size() != static_cast<std::size_t>(R))
    throw DataError(text(file.string(), ": p has ", list.size(), " weights, expected ", R, ", the adapter's rank"));
  std::vector<T> p;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_number() || !(std::abs(list[i].get<double>()) <= std::numeric_limits<T>::max()))
      throw DataError(
          text(file.string(), ": p[", i, "]: found ", list[i].dump(-1, ' ', true), ", expected a finite number"));
    p.push_back(list[i].get<T>());
  }
  return p;
}

}  // namespace linden::examples
