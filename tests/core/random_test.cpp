#define BOOST_TEST_MODULE random
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <linden/core/random.hpp>
#include <vector>

using linden::NormalRandom;
using linden::PythonRandom;
using linden::random_permutation;
using linden::TorchUniform;
using linden::UsageError;
using Indices = std::vector<std::size_t>;

namespace {

void expect_equal(const Indices& found, const Indices& expected) {
  BOOST_CHECK_EQUAL_COLLECTIONS(found.begin(), found.end(), expected.begin(), expected.end());
}

bool says(const UsageError& error, const char* part) {
  return std::string(error.what()).find(part) != std::string::npos;
}

}  // namespace

// Expected values of the python_* cases: CPython 3.11 random.Random.
BOOST_AUTO_TEST_CASE(python_words_for_one_and_two_limb_seeds) {
  const std::vector<std::pair<std::uint64_t, std::vector<std::uint32_t>>> cases = {
      {0, {3626764237U, 1654615998U, 3255389356U, 3823568514U}},
      {42, {2746317213U, 478163327U, 107420369U, 3184935163U}},
      {1234, {4150886329U, 3342196574U, 1892932127U, 501869158U}},
      {4294967296, {485306839U, 1508871100U, 1794561286U, 4014597330U}},
      {123456789012345678, {1860431118U, 3007192613U, 2189239582U, 4278163793U}}};
  for (const auto& [seed, words] : cases) {
    PythonRandom random(seed);
    for (const auto word : words) BOOST_TEST(random.next32() == word, "seed " << seed);
  }
}

BOOST_AUTO_TEST_CASE(python_doubles) {
  PythonRandom random(42);
  BOOST_TEST(random.random() == 0.6394267984578837);
  BOOST_TEST(random.random() == 0.025010755222666936);
  BOOST_TEST(random.random() == 0.27502931836911926);
}

BOOST_AUTO_TEST_CASE(python_bits_of_any_width) {
  PythonRandom random(7);
  BOOST_TEST(random.bits(40) == 1040772936760U);
  BOOST_TEST(random.bits(64) == 7283207964119141687U);
  BOOST_TEST(random.bits(1) == 1U);
  BOOST_TEST(random.bits(33) == 207388624U);
  BOOST_TEST(random.bits(0) == 0U);
  BOOST_CHECK_EXCEPTION((void)random.bits(65), UsageError, [](auto& e) { return says(e, "must be in 0..64"); });
  BOOST_CHECK_EXCEPTION((void)random.bits(-1), UsageError, [](auto& e) { return says(e, "bits(-1)"); });
}

BOOST_AUTO_TEST_CASE(python_below_and_between) {
  PythonRandom random(5);
  for (const std::int64_t expected : {1, -1, 2, -1, 3, 2, 3, 2, 2, 1, -3, 3})
    BOOST_TEST(random.between(-3, 3) == expected);
  PythonRandom wide(5);
  for (const std::uint64_t expected : {281848216645U, 394027974809U, 759329574455U})
    BOOST_TEST(wide.below(1000000000000U) == expected);
  BOOST_TEST(wide.below(1) == 0U);
  BOOST_CHECK_EXCEPTION((void)wide.below(0), UsageError, [](auto& e) { return says(e, "below(0)"); });
  BOOST_CHECK_EXCEPTION((void)wide.between(2, 1), UsageError, [](auto& e) { return says(e, "low is above high"); });
  (void)wide.between(INT64_MIN, INT64_MAX);  // the count of values is 2^64: no division by it
}

BOOST_AUTO_TEST_CASE(python_sample_on_both_sides_of_the_pool_limit) {
  PythonRandom random(9);
  expect_equal(random.sample(21, 5), {14, 19, 11, 8, 4});
  expect_equal(random.sample(22, 5), {5, 21, 0, 10, 16});
  expect_equal(random.sample(85, 6), {59, 77, 10, 42, 70, 78});
  expect_equal(random.sample(86, 6), {5, 48, 21, 57, 54, 20});
  PythonRandom boundary(9);  // 21 + 64 is the limit for 20 samples
  expect_equal(boundary.sample(85, 20), {59, 78, 47, 34, 17, 23, 0, 43, 64, 84, 10, 42, 70, 5, 48, 21, 57, 54, 20, 69});
  expect_equal(boundary.sample(86, 20), {30, 6, 14, 16, 64, 75, 8, 49, 13, 37, 26, 28, 53, 11, 34, 50, 35, 43, 5, 25});
  expect_equal(random.sample(4, 4), {1, 0, 2, 3});
  expect_equal(random.sample(4, 0), {});
  BOOST_CHECK_EXCEPTION((void)random.sample(4, 5), UsageError, [](auto& e) { return says(e, "sample(4, 5)"); });
}

BOOST_AUTO_TEST_CASE(python_sample_as_the_evaluation_harness_uses_it) {
  PythonRandom gsm8k(1234);
  expect_equal(gsm8k.sample(7473, 8), {6374, 3610, 957, 61, 742, 7462, 6610, 4769});
  expect_equal(gsm8k.sample(7473, 8), {286, 5501, 5677, 687, 806, 6279, 2905, 1939});
  PythonRandom arc(1234);
  expect_equal(arc.sample(1119, 25), {902, 239, 15,  185, 71,  171, 201, 726,  484, 35,  63,  32,  708,
                                      991, 949, 304, 186, 374, 234, 29,  1030, 996, 511, 132, 1108});
  expect_equal(arc.sample(1119, 25), {954, 140,  182, 1054, 94,  552, 129, 619, 985, 727, 545, 510, 409,
                                      928, 1085, 39,  1040, 144, 11,  683, 294, 968, 772, 342, 110});
  PythonRandom hellaswag(1234);
  expect_equal(hellaswag.sample(39905, 11), {28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519, 1142});
}

BOOST_AUTO_TEST_CASE(python_shuffle) {
  PythonRandom random(7);
  Indices items{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  random.shuffle(std::span(items));
  expect_equal(items, {8, 3, 1, 4, 7, 0, 9, 6, 2, 5});
}

BOOST_AUTO_TEST_CASE(a_copy_continues_alike) {
  PythonRandom random(3);
  (void)random.random();
  PythonRandom copy = random;
  for (int i = 0; i < 700; ++i) BOOST_REQUIRE_EQUAL(copy.next32(), random.next32());
}

BOOST_AUTO_TEST_CASE(permutation_is_torch_randperm) {
  expect_equal(random_permutation(10, 42), {2, 6, 1, 8, 4, 5, 0, 9, 3, 7});
  expect_equal(random_permutation(10, 42 + (std::uint64_t{1} << 32U)), random_permutation(10, 42));  // low 32 bits
  const Indices order = random_permutation(7473, 42);
  expect_equal(Indices(order.begin(), order.begin() + 10), {7035, 3620, 4357, 457, 1205, 6524, 1978, 831, 6698, 170});
  const Indices next = random_permutation(7473, 43);
  expect_equal(Indices(next.begin(), next.begin() + 10), {3463, 7281, 2544, 700, 204, 4467, 3771, 5486, 4175, 628});
  expect_equal(random_permutation(0, 1), {});
  expect_equal(random_permutation(1, 1), {0});
  BOOST_CHECK_EXCEPTION((void)random_permutation(std::size_t{1} << 32U, 1), UsageError,
                        [](auto& e) { return says(e, "must be below"); });
}

BOOST_AUTO_TEST_CASE(uniform_is_24_bits_of_the_twister) {
  TorchUniform random(42);  // torch.manual_seed(42); torch.rand(3) prints 0.8823 0.9150 0.3829
  for (const float expected : {0.8823F, 0.9150F, 0.3829F}) BOOST_CHECK_SMALL(random(0.0F, 1.0F) - expected, 5.1e-5F);
  TorchUniform unit(42);
  TorchUniform scaled(42);
  std::mt19937 engine(42);
  for (int i = 0; i < 1000; ++i) {
    const float u = static_cast<float>(engine() & 0xffffffU) * 0x1p-24F;
    BOOST_REQUIRE_EQUAL(unit(0.0F, 1.0F), u);
    volatile float offset = u * 0.7F;  // volatile: rounded before the addition
    BOOST_REQUIRE_EQUAL(scaled(-0.35F, 0.35F), -0.35F + offset);
  }
}

BOOST_AUTO_TEST_CASE(normal_numbers_have_the_moments_of_a_normal) {
  NormalRandom random(1);
  NormalRandom again(1);
  constexpr int n = 40000;
  double sum = 0;
  double squares = 0;
  double fourths = 0;
  double neighbours = 0;
  double previous = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random();
    BOOST_REQUIRE_EQUAL(x, again());
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
    neighbours += x * previous;
    previous = x;
  }
  // Four standard errors each: 1, sqrt 2, sqrt 96 and 1 over sqrt n.
  BOOST_CHECK_SMALL(sum / n, 0.02);
  BOOST_CHECK_SMALL(squares / n - 1.0, 0.0283);
  BOOST_CHECK_SMALL(fourths / n - 3.0, 0.196);
  BOOST_CHECK_SMALL(neighbours / n, 0.02);
}
