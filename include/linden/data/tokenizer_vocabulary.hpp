#pragma once
/// \file
/// Texts of tokens by id, and ids by text.
/// Units   token ids, from 0 without gaps.
/// Errors  none.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {

/// A growing list of tokens with an open-addressing index over it: a text that is no token is told by one cache line.
class Vocabulary {
 public:
  /// Appends a token. \return false, and nothing is added, when there is one of that text already.
  bool add(std::string token) {
    if (2 * (tokens_.size() + 1) > slots_.size()) grow();
    const std::uint32_t hash = hash_of(token);
    Slot& slot = slots_[place_of(token, hash)];
    if (slot.id != none) return false;
    slot = {hash, static_cast<std::int32_t>(tokens_.size())};
    tokens_.push_back(std::move(token));
    return true;
  }

  /// Appends a token that has an id but is not found by its text.
  void add_unlisted(std::string token) { tokens_.push_back(std::move(token)); }

  /// \return the id of a text, nothing if it is no token.
  [[nodiscard]] std::optional<std::int32_t> find(std::string_view token) const {
    const std::int32_t id = slots_[place_of(token, hash_of(token))].id;
    return id == none ? std::nullopt : std::optional(id);
  }
  /// Whether `token` has an id.
  [[nodiscard]] bool contains(std::string_view token) const { return find(token).has_value(); }

  [[nodiscard]] std::size_t size() const { return tokens_.size(); }  ///< tokens there are
  /// The text of a token; not checked.
  [[nodiscard]] const std::string& operator[](std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] auto begin() const { return tokens_.begin(); }  ///< texts by id
  [[nodiscard]] auto end() const { return tokens_.end(); }      ///< texts by id

 private:
  static constexpr std::int32_t none = -1;
  struct Slot {
    std::uint32_t hash = 0;
    std::int32_t id = none;
  };

  static std::uint32_t hash_of(std::string_view token) {
    return static_cast<std::uint32_t>(std::hash<std::string_view>()(token));
  }

  /// The slot of the token, or else the free one where it belongs. The number of slots is a power of two.
  [[nodiscard]] std::size_t place_of(std::string_view token, std::uint32_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].id != none && (slots_[at].hash != hash || (*this)[slots_[at].id] != token)) at = (at + 1) & mask;
    return at;
  }

  void grow() {
    const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(2 * slots_.size()));
    for (const Slot& slot : old)
      if (slot.id != none) slots_[place_of((*this)[slot.id], slot.hash)] = slot;
  }

  std::vector<std::string> tokens_;
  std::vector<Slot> slots_ = std::vector<Slot>(16);
};

}  // namespace linden
