#define BOOST_TEST_MODULE low_rank
#include <linden/adapter/low_rank.hpp>
//
#include <linden/adapter/weighting.hpp>
#include <linden/backend/executor.hpp>

#include "adapter/golden_layer.hpp"

// The adapted layer as models use it (W [out, in], P a row per token), against the golden layer.
namespace {
using namespace linden;
using namespace linden::test;

template <class Mode>
using Factors = LowRank<6, 5>::Factors<Mode>;

constexpr auto layer = [](Expr<Shape<tokens, 6>> x, Frozen<Expr<Shape<5, 6>>> W, Factors<Symbolic> adapter,
                          Frozen<Expr<Shape<tokens, rank>>> P) { return adapted_linear(x, W, adapter, P); };

template <class T>
using Rows = TensorView<const T, Shape<tokens, rank>>;

/// The first r columns of A and the first r rows of B where they lie.
template <class T>
Factors<Bound<T>> prefix(Tensor<T, Shape<6, 8>>& A, Tensor<T, Shape<8, 5>>& B, long r) {
  Factors<Bound<T>> factors;
  factors.A = TensorView<T, Shape<6, rank>>::strided(A.data(), 6, r, 8).named("lora_A");
  factors.B = TensorView<T, Shape<rank, 5>>::strided(B.data(), r, 5, 5).named("lora_B");
  return factors;
}

template <class T>
Rows<T> one_row(const std::vector<T>& p, long r) {
  return Rows<T>::strided(p.data(), 4, r, 0);
}

template <class T>
struct Gradients {
  Tensor<T, Shape<tokens, 6>> dx{4};
  Tensor<T, Shape<6, 8>> dA;
  Tensor<T, Shape<8, 5>> dB;
};

/// Gradients of rank r written into the prefixes of full-size buffers that start at zero.
template <class T>
Gradients<T> gradients_at(GoldenLayer<T>& g, Rows<T> P, long r) {
  Gradients<T> d;
  Workspace<T> workspace;
  auto results = std::tuple(d.dx.view(), prefix(d.dA, d.dB, r));
  evaluate_into<decltype(vjp<0, 2>(layer))>(workspace, results, g.x, g.W, prefix(g.A, g.B, r), P, g.G);
  return d;
}

template <class T>
void check_case(const Gradients<T>& d, const nlohmann::json& c) {
  check_close(d.dx, c.at("dx"));
  check_close(d.dA, c.at("dA"));
  check_close(d.dB, c.at("dB"));
}

/// P at full rank, as one row with stride 0 and as a row per token.
template <class T>
void check_full_rank() {
  GoldenLayer<T> g;
  for (const auto& c : g.file.at("train_cases")) {
    const auto p = c.at("p").template get<std::vector<T>>();
    std::vector<T> repeated;
    for (int t = 0; t < 4; ++t) repeated.insert(repeated.end(), p.begin(), p.end());
    for (const Rows<T>& P : {one_row(p, 8), Rows<T>(repeated.data(), 4, 8)}) {
      check_close(compile(layer)(g.x, g.W, prefix(g.A, g.B, 8), P), c.at("y"));
      check_case(gradients_at(g, P, 8), c);
    }
  }
}

/// DyLoRA at rank b reads and writes b columns of A and b rows of B only.
template <class T>
void check_dylora_prefixes() {
  GoldenLayer<T> g;
  int cases = 0;
  for (const auto& c : g.file.at("train_cases")) {
    if (c.at("adapter") != "dylora") continue;
    ++cases;
    const int b = c.at("rank");
    std::vector<T> p(8);
    dylora_weights(p, b, parse_scaling(c.at("scaling").template get<std::string>()));
    check_close(compile(layer)(g.x, g.W, prefix(g.A, g.B, b), one_row(p, b)), c.at("y"));
    const Gradients<T> d = gradients_at(g, one_row(p, b), b);
    check_case(d, c);
    for (long i = 0; i < 6; ++i)
      for (long j = b; j < 8; ++j) BOOST_TEST(d.dA(i, j) == T(0));
  }
  BOOST_TEST(cases == 24);
}

/// Inference at rank r is the prefix with s_r, and equals a plain layer with W merged.
template <class T>
void check_inference() {
  GoldenLayer<T> g;
  for (const auto& c : g.file.at("inference_cases")) {
    const int r = c.at("rank");
    const double s = scale(parse_scaling(c.at("scaling").template get<std::string>()), r);
    BOOST_TEST(relative_error(s, c.at("scale").template get<double>()) < 1e-15);
    const std::vector<T> row(static_cast<std::size_t>(r), static_cast<T>(s));
    const auto adapter = prefix(g.A, g.B, r);
    BOOST_TEST(adapter.A.data() == g.A.data());  // a view, not a copy
    check_close(compile(layer)(g.x, g.W, adapter, one_row(row, r)), c.at("y"));
    const auto merge = compile([](Expr<Shape<5, 6>> W, Factors<Symbolic> a, Expr<Shape<rank>> p) {
      return W + transpose(a.A * diag(p) * a.B);
    });
    const auto p = TensorView<const T, Shape<rank>>(row.data(), r);
    const auto merged = merge(g.W, adapter, p);
    check_close(merged, c.at("W_merged"));
    const auto plain = compile([](Expr<Shape<tokens, 6>> x, Expr<Shape<5, 6>> W) { return x * transpose(W); });
    check_close(plain(g.x, merged), c.at("y"));
  }
}
}  // namespace

BOOST_AUTO_TEST_CASE(training_at_full_rank_in_double) { check_full_rank<double>(); }
BOOST_AUTO_TEST_CASE(training_at_full_rank_in_float) { check_full_rank<float>(); }
BOOST_AUTO_TEST_CASE(dylora_prefixes_in_double) { check_dylora_prefixes<double>(); }
BOOST_AUTO_TEST_CASE(dylora_prefixes_in_float) { check_dylora_prefixes<float>(); }
BOOST_AUTO_TEST_CASE(inference_in_double) { check_inference<double>(); }
BOOST_AUTO_TEST_CASE(inference_in_float) { check_inference<float>(); }

BOOST_AUTO_TEST_CASE(what_lies_beyond_the_prefix_is_neither_read_nor_written) {
  GoldenLayer<double> g;
  const std::vector<double> p(3, 0.5);
  const auto expected = gradients_at(g, one_row(p, 3), 3);
  const double poison = std::numeric_limits<double>::quiet_NaN();
  for (long j = 3; j < 8; ++j) {
    for (long i = 0; i < 6; ++i) g.A(i, j) = poison;
    for (long o = 0; o < 5; ++o) g.B(j, o) = poison;
  }
  const auto found = gradients_at(g, one_row(p, 3), 3);
  const auto equal = [](const auto& a, const auto& b) {
    BOOST_CHECK_EQUAL_COLLECTIONS(a.span().begin(), a.span().end(), b.span().begin(), b.span().end());
  };
  equal(found.dx, expected.dx);
  equal(found.dA, expected.dA);
  equal(found.dB, expected.dB);
}

BOOST_AUTO_TEST_CASE(lora_and_dylora_are_special_rows) {
  const nlohmann::json file = golden("linear.json");
  int compared = 0;
  for (const auto& c : file.at("train_cases")) {
    const auto expected = c.at("p").get<std::vector<double>>();
    const Scaling scaling = parse_scaling(c.at("scaling").get<std::string>());
    const auto ranks = c.at("train_ranks").get<std::vector<int>>();
    std::vector<double> p(8);
    if (c.at("adapter") == "lora") lora_weights(p, scaling);
    if (c.at("adapter") == "dylora") dylora_weights(p, c.at("rank").get<int>(), scaling);
    if (!ranks.empty()) matryoshka_weights(p, RankSet(std::span<const int>(ranks)), scaling);
    if (c.at("adapter") == "matryoshka_binary")
      for (double& weight : p) weight /= static_cast<double>(ranks.size());  // that mask averages
    for (std::size_t i = 0; i < 8; ++i) BOOST_TEST(std::abs(p[i] - expected[i]) < 1e-15);
    ++compared;
  }
  BOOST_TEST(compared == 45);
  std::vector<double> lora(8), only_full(8);
  lora_weights(lora, Scaling::sqrt);
  matryoshka_weights(only_full, RankSet{8}, Scaling::sqrt);
  BOOST_TEST(lora == only_full);
}

/// Rows of P at another rank each: every token's output is that of its own rank, in one pass.
BOOST_AUTO_TEST_CASE(a_batch_may_hold_every_rank) {
  GoldenLayer<double> g;
  std::vector<double> rows(32);
  for (int t = 0; t < 4; ++t)
    dylora_weights(std::span(rows).subspan(static_cast<std::size_t>(8 * t), 8), 2 * t + 1, Scaling::rank);
  const auto mixed = compile(layer)(g.x, g.W, prefix(g.A, g.B, 8), Rows<double>(rows.data(), 4, 8));
  for (int t = 0; t < 4; ++t) {
    const std::vector<double> p(rows.begin() + 8 * t, rows.begin() + 8 * t + 8);
    const auto alone = compile(layer)(g.x, g.W, prefix(g.A, g.B, 8), one_row(p, 8));
    for (long o = 0; o < 5; ++o) BOOST_TEST(mixed(t, o) == alone(t, o));
  }
}

/// The layer is linear in each argument, so central differences are exact up to rounding.
BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  GoldenLayer<double> g;
  std::vector<double> rows(32);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = std::sin(static_cast<double>(i));
  const Rows<double> P(rows.data(), 4, 8);
  const auto loss = [&] {
    const auto y = compile(layer)(g.x, g.W, prefix(g.A, g.B, 8), P);
    double sum = 0;
    for (long i = 0; i < 20; ++i) sum += y[i] * g.G[i];
    return sum;
  };
  const auto d = gradients_at(g, P, 8);
  const auto check = [&](auto& tensor, const auto& gradient) {
    for (long i = 0; i < static_cast<long>(tensor.size()); ++i) {
      const double step = 1e-3, at = tensor[i];
      tensor[i] = at + step;
      const double above = loss();
      tensor[i] = at - step;
      const double below = loss();
      tensor[i] = at;
      BOOST_TEST(std::abs((above - below) / (2 * step) - gradient[i]) < 1e-10);
    }
  };
  check(g.x, d.dx);
  check(g.A, d.dA);
  check(g.B, d.dB);
}

BOOST_AUTO_TEST_CASE(factors_of_another_rank_than_p_are_refused) {
  GoldenLayer<double> g;
  const std::vector<double> p(8, 1.0);
  BOOST_CHECK_EXCEPTION(compile(layer)(g.x, g.W, prefix(g.A, g.B, 4), one_row(p, 3)), ShapeError,
                        [](const ShapeError& e) {
                          return std::string(e.what()).find("axis 1 (rank): bound 3, expected 4") != std::string::npos;
                        });
}
