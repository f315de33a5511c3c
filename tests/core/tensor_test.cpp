#define BOOST_TEST_MODULE tensor
#include <linden/core/tensor.hpp>
//
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace {
using namespace linden;
static_assert(TensorLike<Tensor<float, Shape<3>>> && TensorLike<TensorView<const double, Shape<tokens, 3>>>);
static_assert(!TensorLike<int>);
static_assert(std::is_constructible_v<Tensor<float, Shape<tokens, 3>>, long>);
static_assert(std::is_convertible_v<TensorView<float, Shape<3>>, TensorView<const float, Shape<3>>>);
static_assert(!std::is_convertible_v<TensorView<const float, Shape<3>>, TensorView<float, Shape<3>>>);
static_assert(!std::is_convertible_v<TensorView<float, Shape<3>>, TensorView<const float, Shape<4>>>);

auto says(std::string message) {
  return [message](const ShapeError& e) { return e.what() == message; };
}
}  // namespace

BOOST_AUTO_TEST_CASE(tensors_are_zero_aligned_and_row_major) {
  Tensor<float, Shape<tokens, 3>> x(2);
  BOOST_TEST(x.rows() == 2);
  BOOST_TEST(x.columns() == 3);
  BOOST_TEST(x.size() == 6U);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(x.data()) % alignment == 0U);
  for (const float e : x.span()) BOOST_TEST(e == 0);
  x(1, 2) = 5;
  BOOST_TEST(x.data()[5] == 5);
  BOOST_TEST(x[5] == 5);
  BOOST_TEST((Tensor<float, Shape<>>().size()) == 1U);
  BOOST_TEST((Tensor<float, Shape<4>>().columns()) == 4);
  BOOST_TEST((Tensor<float, Shape<tokens, rank>>(2, 5).columns()) == 5);
  BOOST_TEST((Tensor<float, Shape<tokens, 3>>(0).size()) == 0U);
}

BOOST_AUTO_TEST_CASE(copies_are_deep_and_moves_take_the_memory) {
  Tensor<double, Shape<2, 2>> a;
  a.named("weight")(0, 1) = 3;
  Tensor<double, Shape<2, 2>> b = a;
  BOOST_TEST(std::string(b.view().name()) == "weight");
  b(0, 1) = 4;
  BOOST_TEST(a(0, 1) == 3);
  const double* memory = b.data();
  const Tensor<double, Shape<2, 2>> c = std::move(b);
  BOOST_TEST(c.data() == memory);
  a = c;
  BOOST_TEST(a(0, 1) == 4);
  BOOST_TEST(a.data() != memory);
  BOOST_TEST(a.view().data() == a.data());
}

BOOST_AUTO_TEST_CASE(views_with_strides) {
  std::vector<float> memory{0, 1, 2, 3, 4, 5, 6, 7};
  const auto prefix = TensorView<float, Shape<tokens, rank>>::strided(memory.data(), 2, 3, 4);
  BOOST_TEST(prefix(1, 2) == 6);
  BOOST_TEST(prefix[4] == 5);  // in order of the view's own elements
  const auto repeated = TensorView<float, Shape<tokens, 2>>::strided(memory.data(), 3, 2, 0);
  BOOST_TEST(repeated(2, 1) == 1);
  const TensorView<float, Shape<tokens, 2>> whole(memory.data(), 4);
  BOOST_TEST(whole.stride() == 2);
  BOOST_TEST(whole.span().size() == 8U);
  const TensorView<const float, Shape<tokens, 2>> read_only = whole.named("x");
  BOOST_TEST(std::string(read_only.name()) == "x");
  BOOST_TEST(whole.name() == nullptr);
  BOOST_TEST(read_only(3, 1) == 7);
}

BOOST_AUTO_TEST_CASE(impossible_sizes_are_refused) {
  using Matrix = Tensor<float, Shape<tokens, 3>>;
  BOOST_CHECK_EXCEPTION(Matrix(-1), ShapeError, says("linden::Tensor: sizes must not be negative, got -1 x 3"));
  using View = TensorView<float, Shape<tokens, 3>>;
  BOOST_CHECK_EXCEPTION(View::strided(nullptr, 4, 3, 2), ShapeError,
                        says("linden::TensorView: 4 rows of 3 columns cannot lie 2 elements apart"));
  BOOST_CHECK_EXCEPTION(View(nullptr, -2), ShapeError,
                        says("linden::TensorView: -2 rows of 3 columns cannot lie 3 elements apart"));
}

BOOST_AUTO_TEST_CASE(buffers_only_grow) {
  AlignedBuffer<double> buffer;
  BOOST_TEST(buffer.data() == nullptr);
  buffer.reserve(10);
  const double* memory = buffer.data();
  buffer.reserve(4);
  BOOST_TEST(buffer.data() == memory);
  BOOST_TEST(buffer.size() == 10U);
  buffer.reserve(11);
  BOOST_TEST(buffer.size() == 11U);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(buffer.data()) % alignment == 0U);
}
