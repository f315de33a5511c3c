#define BOOST_TEST_MODULE llama_golden
#include <linden/train/llama_pass.hpp>
//
#include <linden/model/checkpoint.hpp>
#include <linden/model/llama_adapter.hpp>
#include <linden/model/weighting_rows.hpp>

#include "support/golden.hpp"

// The real pretrained checkpoint against numbers from an independent float64 implementation.
namespace {
using namespace linden;
using namespace linden::test;
namespace utf = boost::unit_test;
const auto here = utf::precondition(needs_shared("models/stories260K"));

nlohmann::json shared_json(const std::string& name) {
  std::ifstream file(shared_folder() / "golden" / name);
  return nlohmann::json::parse(file);
}

/// Tolerances of the golden files' README: float32 leaves room for another order of summation.
template <class T>
struct Tolerance {
  static constexpr double logits = sizeof(T) == 8 ? 1e-8 : 1e-4, loss = sizeof(T) == 8 ? 1e-10 : 1e-5,
                          gradients = sizeof(T) == 8 ? 1e-9 : 1e-4;
};

template <class T>
struct Fixture {
  Llama<Stories260K, T> model = load_llama<Stories260K, T>(shared_folder() / "models/stories260K");
  LlamaAdapter<Stories260K, T> adapter = LlamaAdapter<Stories260K, T>::load(shared_folder() / "golden/adapter_stories260k");
  AdapterPass<Stories260K, T> pass;
};

Batch golden_batch(const nlohmann::json& samples) {
  Batch batch;
  for (const auto& s : samples) {
    Sample sample;
    sample.ids = s.at("input_ids").get<std::vector<std::int32_t>>();
    sample.labels = s.at("labels").get<std::vector<std::int32_t>>();
    batch.append(sample, 512);
  }
  return batch;
}

template <class T>
void check_training_cases() {
  const auto golden = shared_json("stories260k_adapter.json");
  Fixture<T> f;
  const Batch batch = golden_batch(golden.at("batch"));
  BOOST_REQUIRE_EQUAL(batch.counted, golden.at("labels_counted").get<long>());
  const double scale = 1.0 / static_cast<double>(batch.counted);
  for (const auto& c : golden.at("train_cases")) {
    const auto p = c.at("p").template get<std::vector<T>>();
    AlignedBuffer<T> flat(f.adapter.parameters().size());
    std::ranges::fill(flat.span(), T(0));
    AdapterFactors<Stories260K, T> gradients(flat.data(), 8);
    const double loss = f.pass.run(f.model, f.adapter.factors(), {p.data(), 8, 0}, gradients, batch, scale);
    BOOST_TEST(relative_error(loss, c.at("loss").template get<double>()) < Tolerance<T>::loss);
    double worst = 0, total = 0;
    gradients.for_each([&](const std::string& name, auto view) {
      double square = 0;
      for (const T g : view.span()) square += double(g) * double(g);
      total += square;
      const double expected = c.at("grad_l2").at("base_model.model." + name + ".weight").template get<double>();
      if (expected > 1e-8) worst = std::max(worst, relative_error(std::sqrt(square), expected));
      else BOOST_TEST(std::sqrt(square) < 1e-6);
    });
    BOOST_TEST(worst < Tolerance<T>::gradients, c.at("adapter") << " " << worst);
    BOOST_TEST(relative_error(std::sqrt(total), c.at("grad_norm").template get<double>()) < Tolerance<T>::gradients);
  }
}

/// Every element of the 70 gradients of the first case.
template <class T>
void check_every_gradient() {
  const auto golden = shared_json("stories260k_adapter.json");
  const SafeTensors expected(shared_folder() / "golden/stories260k_adapter_grads.safetensors");
  Fixture<T> f;
  const Batch batch = golden_batch(golden.at("batch"));
  const auto p = golden.at("train_cases")[0].at("p").get<std::vector<T>>();
  AlignedBuffer<T> flat(f.adapter.parameters().size());
  std::ranges::fill(flat.span(), T(0));
  AdapterFactors<Stories260K, T> gradients(flat.data(), 8);
  f.pass.run(f.model, f.adapter.factors(), {p.data(), 8, 0}, gradients, batch, 1.0 / double(batch.counted));
  double worst = 0;
  gradients.for_each([&](const std::string& name, auto view) {
    std::vector<double> reference(view.size());
    expected.read("base_model.model." + name + ".weight",
                  {std::uint64_t(view.columns()), std::uint64_t(view.rows())}, std::span<double>(reference));
    double difference = 0, norm = 0;
    for (long i = 0; i < view.rows(); ++i)
      for (long j = 0; j < view.columns(); ++j) {
        const double r = reference[std::size_t(j * view.rows() + i)];
        difference += (double(view(i, j)) - r) * (double(view(i, j)) - r);
        norm += r * r;
      }
    worst = std::max(worst, std::sqrt(difference / norm));
  });
  BOOST_TEST(worst < Tolerance<T>::gradients);
  BOOST_TEST_MESSAGE("worst relative L2 of a gradient: " << worst);
}

template <class T>
void check_inference_losses() {
  const auto golden = shared_json("stories260k_adapter.json");
  Fixture<T> f;
  const Batch batch = golden_batch(golden.at("batch"));
  std::vector<T> losses(batch.tokens()), correct(batch.tokens());
  for (const auto& c : golden.at("inference_loss")) {
    AdapterDescription description;
    description.scaling = parse_scaling(c.at("scaling").template get<std::string>());
    const int r = c.at("rank");
    WeightingRows<T> weighting(description);
    weighting.set(r);
    f.pass.score(f.model, f.adapter.factors(), weighting.rows(), batch, losses, correct);
    double sum = 0;
    for (const T l : losses) sum += double(l);
    BOOST_TEST(relative_error(sum / double(batch.counted), c.at("loss").template get<double>()) < Tolerance<T>::loss);
  }
}
}  // namespace

BOOST_AUTO_TEST_CASE(training_cases_in_double, *here) { check_training_cases<double>(); }
BOOST_AUTO_TEST_CASE(training_cases_in_float, *here) { check_training_cases<float>(); }
BOOST_AUTO_TEST_CASE(every_gradient_in_double, *here) { check_every_gradient<double>(); }
BOOST_AUTO_TEST_CASE(every_gradient_in_float, *here) { check_every_gradient<float>(); }
BOOST_AUTO_TEST_CASE(inference_losses_in_double, *here) { check_inference_losses<double>(); }
BOOST_AUTO_TEST_CASE(inference_losses_in_float, *here) { check_inference_losses<float>(); }
