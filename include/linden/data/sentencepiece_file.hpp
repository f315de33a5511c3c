#pragma once
/// \file
/// Reads SentencePiece's own `tokenizer.model` (Llama 2): a protocol buffer with pieces, their scores and the settings
/// of the normalizer. BPE models with byte fallback and without a character map; add_dummy_prefix and
/// remove_extra_whitespaces are honoured, every other wish that would change a token id is refused.
/// As with the sentencepiece package, control pieces such as `<s>` are not looked for in the text. Unlike it, bytes
/// that are no UTF-8 become byte tokens and not U+FFFD. Errors  DataError naming file and field, found and expected;
/// also for a file cut short. Source  github.com/google/sentencepiece (sentencepiece_model.proto, normalizer.cc,
/// bpe_model.cc).

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <linden/core/error.hpp>
#include <linden/data/sentencepiece.hpp>
#include <linden/data/tokenizer_config.hpp>
#include <linden/data/tokenizer_merges.hpp>
#include <linden/data/tokenizer_model.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace linden {
namespace detail {

/// Fields of one protocol buffer message, in the order of the file.
class ProtobufMessage {
 public:
  /// One field: `number` as in the .proto file; `value` of a number, or `bytes` of a string or message.
  struct Field {
    std::uint64_t number = 0;
    std::uint64_t value = 0;
    std::string_view bytes;

    [[nodiscard]] float real() const { return std::bit_cast<float>(static_cast<std::uint32_t>(value)); }
    [[nodiscard]] bool flag() const { return value != 0; }
  };

  /// `where` names the message in errors.
  ProtobufMessage(std::string_view bytes, std::string where) : rest_(bytes), where_(std::move(where)) {}

  /// \return false at the end of the message.
  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t key = varint();
    field = {key >> 3U, 0, {}};
    switch (key & 7U) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.value = fixed(4);
        break;
      default:
        throw DataError(text(where_, ": found wire type ", key & 7U, ", expected a protocol buffer message"));
    }
    return true;
  }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size())
      throw DataError(text(where_, ": ends after ", rest_.size(), " bytes of a field, expected ", size));
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::uint64_t fixed(std::size_t size) {
    std::uint64_t value = 0;
    const std::string_view bytes = take(size);
    for (std::size_t i = size; i-- > 0;) value = value << 8U | static_cast<unsigned char>(bytes[i]);
    return value;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80U) return value;
    }
    throw DataError(text(where_, ": found a number longer than 64 bits"));
  }

  std::string_view rest_;
  std::string where_;
};

/// One reading of one file.
class SentencePieceReader {
 public:
  explicit SentencePieceReader(std::filesystem::path path) : path_(std::move(path)) {}

  TokenizerModel read() {
    const std::string bytes = read_bytes(path_);
    ProtobufMessage message(bytes, path_.string());
    for (Field field; message.next(field);) {
      if (field.number == 1) read_piece(field.bytes);
      if (field.number == 2) read_trainer(field.bytes);
      if (field.number == 3) read_normalizer(field.bytes);
      if (field.number == 5) refuse_character_map(field.bytes, "denormalizer_spec");
    }
    require(model_type_ == bpe, "trainer_spec.model_type", model_type_, "2 (BPE)");
    require(byte_fallback_, "trainer_spec.byte_fallback", "false", "true");
    find_byte_pieces();
    check_characters();
    add_implied_merges(model_, ranks_of_scores(scores_, normal_));
    const auto bos = model_.tokens.find(bos_);
    require(bos.has_value(), "trainer_spec.bos_piece", shown(bos_), "one of the pieces");
    model_.bos = *bos;
    model_.scheme = scheme_;
    apply_tokenizer_config(model_, path_, eos_);
    return std::move(model_);
  }

 private:
  using Field = ProtobufMessage::Field;
  static constexpr std::uint64_t bpe = 2;                                                  // TrainerSpec.ModelType
  enum Type : std::uint64_t { normal = 1, unknown, control, user_defined, unused, byte };  // SentencePiece.Type

  template <class Found>
  void require(bool holds, std::string_view field, const Found& found, std::string_view expected) const {
    if (!holds) throw DataError(text(path_.string(), ": ", field, ": found ", found, ", expected ", expected));
  }

  void read_piece(std::string_view bytes) {
    const std::string name = text("pieces[", model_.tokens.size(), "]"), where = text(path_.string(), ": ", name);
    std::string piece;
    float score = 0;
    std::uint64_t type = normal;
    ProtobufMessage message(bytes, where);
    for (Field field; message.next(field);) {
      if (field.number == 1) piece = field.bytes;
      if (field.number == 2) score = field.real();
      if (field.number == 3) type = field.value;
    }
    const bool known = type == normal || type == unknown || type == control || type == byte;
    require(known, name + ".type", type, "1 (normal), 2 (unknown), 3 (control) or 6 (byte)");
    require(!std::isnan(score), name + ".score", score, "a number");
    if (type == unknown || type == control)
      model_.added.push_back({piece, static_cast<std::int32_t>(model_.tokens.size()), true, false});
    add_checked_token(model_, std::move(piece), [&] { return where; });
    scores_.push_back(score);
    normal_.push_back(type == normal);
    is_byte_.push_back(type == byte);
  }

  void read_trainer(std::string_view bytes) {
    ProtobufMessage message(bytes, path_.string() + ": trainer_spec");
    for (Field field; message.next(field);) {
      if (field.number == 3) model_type_ = field.value;
      if (field.number == 35) byte_fallback_ = field.flag();
      if (field.number == 46) bos_ = field.bytes;
      if (field.number == 47) eos_ = field.bytes;
      if (field.number == 24) require(!field.flag(), "trainer_spec.treat_whitespace_as_suffix", "true", "false");
    }
  }

  void read_normalizer(std::string_view bytes) {
    refuse_character_map(bytes, "normalizer_spec");
    ProtobufMessage message(bytes, path_.string() + ": normalizer_spec");
    for (Field field; message.next(field);) {
      if (field.number == 3) scheme_.space_in_front = field.flag();
      if (field.number == 4) scheme_.single_spaces = field.flag();
      if (field.number == 5) require(field.flag(), "normalizer_spec.escape_whitespaces", "false", "true");
    }
  }

  void refuse_character_map(std::string_view bytes, const std::string& spec) const {
    ProtobufMessage message(bytes, path_.string() + ": " + spec);
    for (Field field; message.next(field);)
      require(field.number != 2 || field.bytes.empty(), spec + ".precompiled_charsmap",
              text(field.bytes.size(), " bytes"), "none (normalization rule identity)");
  }

  void find_byte_pieces() {
    for (unsigned b = 0; b < 256; ++b) {
      const auto found = model_.tokens.find(byte_token(b));
      const bool here = found && is_byte_[static_cast<std::size_t>(*found)];
      require(here, "pieces", text("no byte piece ", byte_token(b)), "all of <0x00> to <0xFF>");
      scheme_.byte_ids[b] = *found;
    }
  }

  /// Here a character without a piece is bytes from the start; SentencePiece would still try to merge it, in vain if no
  /// piece contains it.
  void check_characters() const {
    for (std::size_t i = 0; i < model_.tokens.size(); ++i) {
      const std::string_view piece = model_.tokens[static_cast<std::int32_t>(i)];
      for (std::size_t at = 0; normal_[i] && at < piece.size();) {
        const std::string_view character = piece.substr(at, utf8_step(piece, at).bytes);
        require(model_.tokens.contains(character), text("pieces[", i, "]"), shown(piece),
                "characters that are pieces themselves");
        at += character.size();
      }
    }
  }

  std::filesystem::path path_;
  TokenizerModel model_;
  SentencePieceScheme scheme_{.byte_ids = {}, .space_in_front = true, .single_spaces = true};  // the .proto's defaults
  std::vector<float> scores_;                                                                  // [id]
  std::vector<bool> normal_, is_byte_;                                                         // [id]
  std::uint64_t model_type_ = 1;
  bool byte_fallback_ = false;
  std::string bos_ = "<s>", eos_ = "</s>";
};

}  // namespace detail

/// Reads and checks a SentencePiece model.
[[nodiscard]] inline TokenizerModel read_sentencepiece_file(const std::filesystem::path& path) {
  return detail::SentencePieceReader(path).read();
}

}  // namespace linden
