#pragma once
/// \file
/// Which projections are adapted, and with which rank: the command line's words for AdapterDescription::own.
///   --target q_proj,v_proj          only these kinds
///   --module v_proj=8               this kind with rank 8; its train ranks are the adapter's up to 8
///   --module v_proj=8:1,3,8         and with train ranks of its own
/// Errors  UsageError for a kind that is not one, is named twice or is no target, and for a rank above the adapter's.

#include <linden/model/adapter_description.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "support/cli.hpp"  // parse_list

namespace linden::examples {

namespace detail {

inline std::size_t module_kind(std::string_view name, const std::string& where) {
  const auto found = std::ranges::find(module_names, name);
  if (found != module_names.end()) return static_cast<std::size_t>(found - module_names.begin());
  std::string names;
  for (const std::string_view known : module_names) names += text(names.empty() ? "" : ", ", known);
  throw UsageError(text(where, ": \"", name, "\" is no kind of module, expected one of ", names));
}

}  // namespace detail

/// Leaves out the kinds that are not in `targets`; an empty list means all.
inline void set_targets(AdapterDescription& description, const std::vector<std::string>& targets) {
  if (targets.empty()) return;
  std::array<bool, module_kinds> adapted{};
  for (const std::string& name : targets) {
    bool& chosen = adapted[detail::module_kind(name, "--target")];
    if (chosen) throw UsageError(text("--target: ", name, " is named twice"));
    chosen = true;
  }
  for (std::size_t kind = 0; kind < module_kinds; ++kind)
    if (!adapted[kind]) description.own[kind] = AdapterDescription::Module{0, RankSet{1}};
}

/// "v_proj=8" or "v_proj=8:1,3,8".
inline void set_module(AdapterDescription& description, const std::string& option) {
  const std::string where = "--module " + option;
  const auto equals = option.find('='), colon = option.find(':');
  if (equals == option.npos) throw UsageError(text(where, ": expected KIND=RANK or KIND=RANK:TRAIN_RANKS"));
  const std::size_t kind = detail::module_kind(std::string_view(option).substr(0, equals), where);
  if (description.own[kind])
    throw UsageError(text(where, ": ", module_names[kind], description.own[kind]->full_rank == 0 ? " is no target" : " is named twice"));
  const auto ranks = parse_list<int>(std::string_view(option).substr(equals + 1, colon == option.npos ? colon : colon - equals - 1));
  if (ranks.size() != 1 || ranks[0] < 1 || ranks[0] > description.full_rank)
    throw UsageError(text(where, ": expected one rank from 1 to ", description.full_rank, ", the adapter's"));
  const RankSet train_ranks = colon == option.npos ? description.train_ranks : RankSet::parse(option.substr(colon + 1));
  description.own[kind] = AdapterDescription::Module{ranks[0], train_ranks.up_to(ranks[0])};
}

}  // namespace linden::examples
