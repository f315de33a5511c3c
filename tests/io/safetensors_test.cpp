#define BOOST_TEST_MODULE safetensors
#include <linden/io/safetensors.hpp>
// (first: it must stand alone)
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

using namespace linden;
using namespace linden::test;

static_assert(dtype_of<float> == Dtype::F32 && dtype_of<double> == Dtype::F64 && dtype_of<bfloat16> == Dtype::BF16);
static_assert(dtype_of<float16> == Dtype::F16 && dtype_of<std::int32_t> == Dtype::I32);
static_assert(dtype_name(Dtype::F8_E5M2FNUZ) == "F8_E5M2FNUZ" && dtype_bits(Dtype::F6_E2M3) == 6);
static_assert(dtype_bits(Dtype::F4) == 4 && dtype_bits(Dtype::C64) == 64 && dtype_bits(Dtype::BOOL) == 8);
static_assert(dtype_name(Dtype::U64) == "U64" && find_dtype("BF16") == Dtype::BF16 && !find_dtype("bf16"));
static_assert(Dtype::I64 > Dtype::F64 && Dtype::F64 > Dtype::F32 && Dtype::F32 > Dtype::BF16 &&
              Dtype::BF16 > Dtype::F16);

namespace {

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xffU);
  return bytes;
}

/// A file of this header and these bytes, size first.
std::string packed(const std::string& header, const std::string& buffer = "") {
  return little_endian(header.size()) + header + buffer;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

void write(const std::filesystem::path& path, const std::vector<StoredTensor>& tensors,
           const std::map<std::string, std::string>& metadata = {}) {
  write_safetensors(path, tensors, metadata);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(safetensors_writer)

BOOST_AUTO_TEST_CASE(layout_is_the_official_one) {
  const TemporaryFolder folder;
  const std::vector<float> a{1.0F};
  const std::vector<bfloat16> b{bfloat16(1.0F), bfloat16(-2.0F)};
  const std::vector<double> z{0.5};
  const std::vector<float> c;
  write(folder.path() / "x",
        {stored_tensor<float>("c", {0, 3}, c), stored_tensor<bfloat16>("b", {2, 1}, b),
         stored_tensor<float>("a", {1}, a), stored_tensor<double>("z", {}, z)},
        {{"format", "pt"}});
  // By dtype, widest first, then by name; spaces up to a multiple of 8.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"z":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"c":{"dtype":"F32","shape":[0,3],"data_offsets":[12,12]},)"
      R"("b":{"dtype":"BF16","shape":[2,1],"data_offsets":[12,16]}})";
  BOOST_REQUIRE_EQUAL(header.size(), 253U);
  const std::string expected = std::string("\x00\x01\0\0\0\0\0\0", 8) + header + "   " +
                               std::string("\0\0\0\0\0\0\xe0\x3f", 8) + std::string("\0\0\x80\x3f", 4) +
                               std::string("\x80\x3f\x00\xc0", 4);
  BOOST_TEST(content_of(folder.path() / "x") == expected);
  BOOST_TEST(folder.entries() == 1);
}

BOOST_AUTO_TEST_CASE(no_tensors_and_no_metadata) {
  const TemporaryFolder folder;
  write(folder.path() / "x", {});
  BOOST_TEST(content_of(folder.path() / "x") == std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  BOOST_TEST(SafeTensors(folder.path() / "x").names().empty());
}

BOOST_AUTO_TEST_CASE(names_and_metadata_are_escaped) {
  const TemporaryFolder folder;
  const std::vector<std::int32_t> ids{-7};
  const std::string name = "quote \" slash / back \\ tab \t caf\xc3\xa9";
  write(folder.path() / "x", {stored_tensor<std::int32_t>(name, {1}, ids)}, {{"a\n", "\x01"}, {"b", ""}});
  const SafeTensors file(folder.path() / "x");
  BOOST_TEST((file.names() == std::vector<std::string>{name}));
  BOOST_TEST((file.metadata() == std::map<std::string, std::string>{{"a\n", "\x01"}, {"b", ""}}));
  const auto content = content_of(folder.path() / "x");
  BOOST_TEST(content.find(R"({"__metadata__":{"a\n":"\u0001","b":""},"quote \" slash / back \\ tab \t caf)") == 8U);
}

BOOST_AUTO_TEST_CASE(refuses_what_could_not_be_read_back) {
  const TemporaryFolder folder;
  const auto path = folder.file("x", "old");
  const std::vector<float> two{1, 2};
  const auto tensor = stored_tensor<float>("a", {2}, two);
  expect_refusal<UsageError>([&] { write(path, {tensor, tensor}); }, path.string(), "'a' is given twice");
  expect_refusal<UsageError>([&] { write(path, {stored_tensor<float>("a", {3}, two)}); }, "'a'", "given 8 bytes",
                             "expected 12 for F32 [3]");
  expect_refusal<UsageError>([&] { write(path, {stored_tensor<float>("__metadata__", {2}, two)}); }, "reserved");
  expect_refusal<UsageError>([&] { write(path, {stored_tensor<float>("\xff", {2}, two)}); },
                             "cannot be written as JSON");
  expect_refusal<UsageError>([&] { write(path, {stored_tensor<float>("a", {1ULL << 62U, 8}, two)}); }, "overflows");
  expect_refusal<UsageError>([&] { write(path, {{"a", Dtype::F4, {3}, {}}}); }, "12 bits, expected whole bytes");
  BOOST_TEST(content_of(path) == "old");
  BOOST_TEST(folder.entries() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(safetensors_reader)

BOOST_AUTO_TEST_CASE(reads_what_it_wrote) {
  const TemporaryFolder folder;
  const std::vector<float> a{1, 2, 3, 4, 5, 6};
  const std::vector<float16> h{float16(0.5F)};
  write(folder.path() / "x", {stored_tensor<float>("a", {2, 3}, a), stored_tensor<float16>("h", {1, 1}, h)},
        {{"k", "v"}, {"format", "pt"}});
  const SafeTensors file(folder.path() / "x");
  BOOST_TEST(file.path() == folder.path() / "x");
  BOOST_TEST((file.names() == std::vector<std::string>{"a", "h"}));
  BOOST_TEST((file.metadata() == std::map<std::string, std::string>{{"k", "v"}, {"format", "pt"}}));
  BOOST_TEST((file.contains("a") && !file.contains("b") && !file.contains("__metadata__")));
  BOOST_TEST((file.entry("a").dtype == Dtype::F32 && file.entry("a").shape == std::vector<std::uint64_t>{2, 3}));
  BOOST_TEST(file.entry("a").bytes.size() == 24U);
  std::vector<float> out(6);
  file.read<float>("a", {2, 3}, out);
  BOOST_TEST(out == a);
}

BOOST_AUTO_TEST_CASE(entries_survive_moves) {
  const TemporaryFolder folder;
  const std::vector<float> a{4.5F};
  write(folder.path() / "x", {stored_tensor<float>("a", {}, a)});
  SafeTensors first(folder.path() / "x");
  const SafeTensors second(std::move(first));
  std::vector<float> out(1);
  second.read<float>("a", {}, out);
  BOOST_TEST(out[0] == 4.5F);
}

// Odd offsets: files ordered by name may hold a float at any address.
BOOST_AUTO_TEST_CASE(converts_from_unaligned_bytes) {
  const std::vector<double> values{1.5, -0.375, 65504, 0};
  std::string header = "{" + entry("0", "U8", "[1]", "[0,1]") + "," + entry("d", "F64", "[4]", "[1,33]") + "," +
                       entry("f", "F32", "[4]", "[33,49]") + "," + entry("b", "BF16", "[4]", "[49,57]") + "," +
                       entry("h", "F16", "[2,2]", "[57,65]") + "," + entry("i", "I32", "[1]", "[65,69]") + "}";
  std::string buffer = "?";
  std::vector<float> floats;
  std::vector<bfloat16> brains;
  std::vector<float16> halves;
  for (const double value : values) {
    floats.push_back(static_cast<float>(value));
    brains.emplace_back(static_cast<float>(value));
    halves.emplace_back(static_cast<float>(value));
  }
  buffer += bytes_of(values) + bytes_of(floats) + bytes_of(brains) + bytes_of(halves);
  buffer += bytes_of(std::vector<std::int32_t>{-70000});
  const TemporaryFolder folder;
  const SafeTensors file(folder.file("x", packed(header, buffer)));
  const auto check = [&]<class T>(T) {
    std::vector<T> out(4);
    for (const auto* name : {"d", "f", "b"}) {
      file.read<T>(name, {4}, out);
      for (std::size_t i = 0; i < 4; ++i) {
        double expected = values[i];
        if (i == 2 && (*name == 'b' || std::is_same_v<T, bfloat16>)) expected = 65536;  // 8 bits of precision
        if (i == 2 && *name == 'b' && std::is_same_v<T, float16>) expected = std::numeric_limits<double>::infinity();
        BOOST_TEST_CONTEXT(name << i) BOOST_TEST(static_cast<double>(out[i]) == expected);
      }
    }
    file.read<T>("h", {2, 2}, out);
    BOOST_TEST((static_cast<double>(out[0]) == 1.5 && static_cast<double>(out[1]) == -0.375));
  };
  check(float{});
  check(double{});
  check(bfloat16{});
  check(float16{});
  std::vector<std::int32_t> id(1);
  file.read<std::int32_t>("i", {1}, id);
  BOOST_TEST(id[0] == -70000);
}

BOOST_AUTO_TEST_CASE(equal_types_keep_every_bit) {
  const std::vector<std::uint32_t> nan{0x7f800001U, 0xffc12345U};
  const TemporaryFolder folder;
  const SafeTensors file(folder.file("x", packed("{" + entry("a", "F32", "[2]", "[0,8]") + "}", bytes_of(nan))));
  std::vector<float> out(2);
  file.read<float>("a", {2}, out);
  BOOST_TEST(std::memcmp(out.data(), nan.data(), 8) == 0);
}

BOOST_AUTO_TEST_CASE(narrowing_rounds_to_even) {
  const std::vector<float> values{1.00390625F, 1.01171875F};  // half-way between bfloat16 neighbours
  const TemporaryFolder folder;
  write(folder.path() / "x", {stored_tensor<float>("a", {2}, values)});
  std::vector<bfloat16> out(2);
  SafeTensors(folder.path() / "x").read<bfloat16>("a", {2}, out);
  BOOST_TEST((out[0].bits == 0x3f80 && out[1].bits == 0x3f82));
}

BOOST_AUTO_TEST_CASE(reading_refuses_other_names_shapes_and_types) {
  const TemporaryFolder folder;
  const auto path = folder.file(
      "x", packed("{" + entry("a", "F32", "[2,3]", "[0,24]") + "," + entry("i", "I64", "[1]", "[24,32]") + "}",
                  std::string(32, '\0')));
  const SafeTensors file(path);
  std::vector<float> out(6, -1.0F);
  const auto read = [&](const std::string& name, const std::vector<std::uint64_t>& shape) {
    return [&, name, shape] { file.read<float>(name, shape, out); };
  };
  expect_refusal<DataError>(read("b", {2, 3}), path.string(), "tensor 'b' is missing");
  expect_refusal<DataError>(read("a", {3, 2}), path.string(), "'a'", "found shape [2, 3]", "expected [3, 2]");
  expect_refusal<DataError>(read("a", {6}), "expected [6]");
  expect_refusal<ShapeError>([&] { file.read<float>("a", {2, 3}, std::span(out).first(5)); }, "'a'", "into 5 elements");
  expect_refusal<DataError>([&] { file.read<float>("i", {1}, std::span(out).first(1)); }, "'i'", "found dtype I64",
                            "expected F32");
  std::vector<std::int32_t> ids(6);
  expect_refusal<DataError>([&] { file.read<std::int32_t>("a", {2, 3}, ids); }, "found dtype F32", "expected I32");
  BOOST_TEST((out == std::vector<float>(6, -1.0F)));
}

BOOST_AUTO_TEST_CASE(accepts_what_the_format_allows) {
  const TemporaryFolder folder;
  const auto names = [&](const std::string& content) { return SafeTensors(folder.file("x", content)).names().size(); };
  BOOST_TEST(names(packed("{}")) == 0U);
  BOOST_TEST(names(packed("{}   ")) == 0U);
  BOOST_TEST(names(packed(R"({"__metadata__":{}})")) == 0U);
  // Zero-size tensors may share an offset; the key order of the header is free; unknown fields are ignored.
  BOOST_TEST(names(packed("{" + entry("b", "F32", "[1]", "[0,4]") + "," + entry("a", "I8", "[0,5]", "[0,0]") + "," +
                              entry("c", "U8", "[0]", "[4,4]") + "}",
                          "1234")) == 3U);
  BOOST_TEST(names(packed(R"({ "a" : {"shape":[], "more":[{}], "data_offsets":[0,1], "dtype":"BOOL"} })", "1")) == 1U);
  BOOST_TEST(names(packed("{" + entry("a", "F4", "[2,3]", "[0,3]") + "," + entry("b", "F6_E3M2", "[4]", "[3,6]") + "}",
                          "123456")) == 2U);
  BOOST_TEST(names(packed("{" + entry("a", "F32", "[0,1099511627776]", "[0,0]") + "}")) == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(safetensors_malformed)

BOOST_AUTO_TEST_CASE(every_rule_refuses) {
  const std::string four = "1234";
  const std::string fine = entry("a", "F32", "[1]", "[0,4]");
  const auto wrap = [&](const std::string& inside) { return packed("{" + inside + "}", four); };
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  const std::vector<std::pair<std::string, std::string>> cases{
      // size and framing
      {"", "file is empty"},
      {"1234567", "file of 7 bytes, expected at least 8"},
      {little_endian(0), "must start with '{'"},
      {little_endian(100'000'001) + "{}", "header of 100000001 bytes, expected at most 100000000"},
      {little_endian(~0ULL) + "{}", "header of 18446744073709551615 bytes, expected at most"},
      {little_endian(3) + "{}", "header of 3 bytes does not fit a file of 10 bytes"},
      // JSON
      {packed(" {}"), "must start with '{'"},
      {packed("\xef\xbb\xbf{}"), "must start with '{'"},
      {packed("[]"), "must start with '{'"},
      {packed("{"), "not JSON"},
      {packed("{} {}"), "not JSON"},
      {packed(std::string("{}\0 ", 4)), "not JSON: contains a zero byte"},
      {packed("{\"\xff\":1}"), "not JSON"},
      {packed("{\"a\":" + deep + "}"), "nests deeper"},
      {packed("{\"a\":3}"), "'a': found 3, expected an object"},
      // names
      {wrap(fine + "," + fine), "key 'a' appears twice"},
      {wrap(entry("a", "F32", "[1]", "[0,4]") + "," + entry("\\u0061", "F32", "[1]", "[0,4]")),
       "key 'a' appears twice"},
      {wrap(R"("a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]})"), "key 'shape' appears twice"},
      {wrap(R"("__metadata__":{},"__metadata__":{},)" + fine), "key '__metadata__' appears twice"},
      // metadata
      {wrap(R"("__metadata__":{"n":1},)" + fine), "'__metadata__.n': found 1, expected a string"},
      {wrap(R"("__metadata__":{"n":null},)" + fine), "'__metadata__.n': found null, expected a string"},
      {wrap(R"("__metadata__":[],)" + fine), "'__metadata__': found [], expected an object"},
      // fields
      {wrap(entry("a", "F31", "[1]", "[0,4]")), "'a.dtype': found \"F31\", expected a dtype"},
      {wrap(R"("a":{"dtype":17,"shape":[1],"data_offsets":[0,4]})"), "'a.dtype': found 17, expected a string"},
      {wrap(R"("a":{"shape":[1],"data_offsets":[0,4]})"), "'a.dtype': found nothing"},
      {wrap(R"("a":{"dtype":"F32","data_offsets":[0,4]})"), "'a.shape': found nothing"},
      {wrap(R"("a":{"dtype":"F32","shape":[1]})"), "'a.data_offsets': found nothing"},
      {wrap(entry("a", "F32", "[-1]", "[0,4]")), "'a.shape': found [-1], expected a list of unsigned"},
      {wrap(entry("a", "F32", "[1.0]", "[0,4]")), "'a.shape': found [1.0]"},
      {wrap(entry("a", "F32", "[18446744073709551616]", "[0,4]")), "expected a list of unsigned 64-bit integers"},
      {wrap(entry("a", "F32", "1", "[0,4]")), "'a.shape': found 1, expected a list"},
      {wrap(entry("a", "F32", "[1]", "[4]")), "'a.data_offsets': found [4], expected two integers"},
      {wrap(entry("a", "F32", "[1]", "[0,4,4]")), "expected two integers"},
      {wrap(entry("a", "F32", "[1]", "[\"0\",4]")), "'a.data_offsets': found [\"0\",4]"},
      // sizes
      {wrap(entry("a", "F32", "[1]", "[4,0]")), "'a': ends at 0 before it begins at 4"},
      {wrap(entry("a", "F32", "[2]", "[0,4]")), "'a': data_offsets span 4 bytes, expected 8 for F32 [2]"},
      {wrap(entry("a", "F16", "[1]", "[0,4]")), "span 4 bytes, expected 2 for F16 [1]"},
      {wrap(entry("a", "F32", "[4294967296,4294967296]", "[0,4]")), "overflows 64 bits"},
      {wrap(entry("a", "U8", "[4611686018427387904]", "[0,4]")), "overflows 64 bits"},  // in bits only
      {wrap(entry("a", "F4", "[9]", "[0,4]")), "take 36 bits, expected whole bytes"},
      {wrap(entry("a", "F6_E2M3", "[5]", "[0,4]")), "take 30 bits, expected whole bytes"},
      // layout
      {wrap(entry("a", "U8", "[3]", "[1,4]")), "'a': begins at 1, expected 0 (a hole)"},
      {wrap(entry("a", "U8", "[1]", "[0,1]") + "," + entry("b", "U8", "[2]", "[2,4]")), "'b': begins at 2, expected 1"},
      {wrap(entry("a", "U8", "[3]", "[0,3]") + "," + entry("b", "U8", "[2]", "[2,4]")), "expected 3 (an overlap)"},
      {wrap(fine + "," + entry("b", "F32", "[1]", "[0,4]")), "begins at 0, expected 4 (an overlap)"},
      {packed("{" + fine + "}", "12345"), "tensors take 4 bytes, but 5 follow"},
      {packed("{" + fine + "}", "123"), "tensors take 4 bytes, but 3 follow"},
      {packed("{}", "1"), "tensors take 0 bytes, but 1 follow"},
      {wrap(entry("a", "U8", "[18446744073709551615]", "[0,18446744073709551615]")), "overflows"},
  };
  const TemporaryFolder folder;
  BOOST_TEST(SafeTensors(folder.file("fine", wrap(fine))).contains("a"));
  for (const auto& [content, fragment] : cases) BOOST_TEST_CONTEXT("case " << fragment) {
      const auto path = folder.file("bad.safetensors", content);
      expect_refusal<DataError>([&] { SafeTensors file(path); }, path.string(), fragment);
    }
}

// Cutting a good file anywhere, or changing any one byte of it, is refused or read, never worse.
BOOST_AUTO_TEST_CASE(damage_never_crashes) {
  const TemporaryFolder folder;
  const std::vector<float> a{1, 2};
  write(folder.path() / "x", {stored_tensor<float>("a", {2}, a)}, {{"format", "pt"}});
  const auto good = content_of(folder.path() / "x");
  for (std::size_t size = 0; size < good.size(); ++size)
    BOOST_CHECK_THROW(SafeTensors(folder.file("cut", good.substr(0, size))), DataError);
  for (std::size_t i = 0; i < good.size(); ++i)
    for (const char damage : {'\0', '\xff', '"', '9', '}'}) {
      auto bad = good;
      bad[i] = damage;
      try {
        const SafeTensors file(folder.file("bad", bad));
        for (const auto& name : file.names()) BOOST_REQUIRE_EQUAL(file.entry(name).bytes.size(), 8U);
      } catch (const DataError&) {
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(safetensors_models)

BOOST_AUTO_TEST_CASE(stories260k, *boost::unit_test::precondition(needs_shared("models/stories260K"))) {
  const SafeTensors file(shared_folder() / "models/stories260K/model.safetensors");
  BOOST_TEST(file.metadata().at("format") == "pt");
  BOOST_TEST(file.names().size() == 5U * 9 + 2);
  BOOST_TEST(!file.contains("lm_head.weight"));
  std::uint64_t parameters = 0;
  for (const auto& name : file.names()) parameters += file.entry(name).bytes.size() / 4;
  BOOST_TEST(parameters == 260032U);
  std::vector<float> norm(64);
  file.read<float>("model.norm.weight", {64}, norm);
  for (const float weight : norm) BOOST_TEST(std::isfinite(weight));
  std::vector<bfloat16> down(64 * 172);
  file.read<bfloat16>("model.layers.4.mlp.down_proj.weight", {64, 172}, down);
}

// Written again, a file of the official writer comes out the same, byte for byte.
BOOST_AUTO_TEST_CASE(rewriting_gives_the_same_bytes,
                     *boost::unit_test::precondition(needs_shared("golden/adapter_stories260k"))) {
  const TemporaryFolder folder;
  for (const auto* name :
       {"models/stories260K/model.safetensors", "golden/adapter_stories260k/adapter_model.safetensors",
        "golden/stories260k_adapter_grads.safetensors"}) {
    const auto original = shared_folder() / name;
    const SafeTensors file(original);
    std::vector<StoredTensor> tensors;
    for (const auto& tensor : file.names()) tensors.push_back(file.entry(tensor));
    write(folder.path() / "again", tensors, file.metadata());
    BOOST_TEST_CONTEXT(name) BOOST_TEST((content_of(folder.path() / "again") == content_of(original)));
  }
}

BOOST_AUTO_TEST_SUITE_END()
