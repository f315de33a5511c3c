#define BOOST_TEST_MODULE llama_adapter
#include <linden/model/llama_adapter.hpp>
//
#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"
#include "support/golden.hpp"

namespace {
using namespace linden;
using namespace linden::test;
using Adapter = LlamaAdapter<Stories260K, float>;

Adapter some_adapter(const AdapterDescription& description) {
  Adapter adapter(description);
  float next = 0;
  for (float& element : adapter.parameters()) element = std::sin(next += 0.37F);
  return adapter;
}

/// A LoRA as another program writes it: no metadata of ours.
PeftAdapter foreign_adapter(long r, double alpha, bool rslora) {
  PeftAdapter file{.r = r, .lora_alpha = alpha, .use_rslora = rslora, .base_model = "some/model"};
  file.target_modules = {"all-linear"};
  for (const ExpectedModule& module : Adapter::modules()) {
    PeftModule weights{.path = module.path, .in = module.in, .out = module.out, .lora_a = {}, .lora_b = {}};
    weights.lora_a.assign(static_cast<std::size_t>(r * module.in), 0.5F);
    weights.lora_b.assign(static_cast<std::size_t>(module.out * r), 0.25F);
    weights.lora_a[1] = 2;  // row 0, column 1 of lora_A [r, in]: A(1, 0)
    weights.lora_b[1] = 3;  // row 0, column 1 of lora_B [out, r]: B(1, 0), as r > 1
    file.modules.push_back(weights);
  }
  return file;
}

AdapterDescription load_description(const TemporaryFolder& folder, const PeftAdapter& file) {
  const auto directory = folder.path() / "adapter";
  save_peft(directory, file);
  return Adapter::load(directory).description();
}
}  // namespace

BOOST_AUTO_TEST_CASE(a_saved_adapter_loads_as_it_was) {
  const std::vector<AdapterDescription> descriptions{{.kind = AdapterKind::lora,
                                                      .scaling = Scaling::none,
                                                      .full_rank = 4,
                                                      .train_ranks = RankSet{4},
                                                      .foreign_scale = {}},
                                                     {.kind = AdapterKind::dylora,
                                                      .scaling = Scaling::rank,
                                                      .full_rank = 8,
                                                      .train_ranks = RankSet{1, 2, 8},
                                                      .foreign_scale = {}},
                                                     {.kind = AdapterKind::matryoshka,
                                                      .scaling = Scaling::sqrt,
                                                      .full_rank = 8,
                                                      .train_ranks = RankSet{1, 4},
                                                      .foreign_scale = {}},
                                                     {.kind = AdapterKind::stratified,
                                                      .scaling = Scaling::none,
                                                      .full_rank = 3,
                                                      .train_ranks = RankSet{1, 2, 3},
                                                      .foreign_scale = {}}};
  for (const auto& description : descriptions) {
    const TemporaryFolder folder;
    Adapter saved = some_adapter(description);
    saved.save(folder.path() / "adapter", "stories");
    Adapter loaded = Adapter::load(folder.path() / "adapter");
    BOOST_CHECK_EQUAL_COLLECTIONS(loaded.parameters().begin(), loaded.parameters().end(), saved.parameters().begin(),
                                  saved.parameters().end());
    BOOST_TEST((loaded.description().kind == description.kind));
    BOOST_TEST((loaded.description().scaling == description.scaling));
    BOOST_TEST((loaded.description().train_ranks == description.train_ranks));
    BOOST_TEST(loaded.description().full_rank == description.full_rank);
    BOOST_TEST(!loaded.description().foreign_scale.has_value());
  }
}

BOOST_AUTO_TEST_CASE(what_other_loaders_see_is_the_full_rank_with_its_scale) {
  for (const Scaling scaling : {Scaling::none, Scaling::rank, Scaling::sqrt}) {
    const TemporaryFolder folder;
    some_adapter({.kind = AdapterKind::matryoshka,
                  .scaling = scaling,
                  .full_rank = 8,
                  .train_ranks = RankSet{2, 8},
                  .foreign_scale = {}})
        .save(folder.path(), "stories");
    const PeftAdapter file = load_peft(folder.path(), Adapter::modules());
    BOOST_TEST(file.r == 8);
    BOOST_TEST(relative_error(file.scale(), scale(scaling, 8)) < 1e-15);
    BOOST_TEST(file.base_model == "stories");
    BOOST_TEST(file.metadata.at("linden.kind") == "matryoshka");
    BOOST_TEST(file.metadata.at("linden.scaling") == std::string(to_string(scaling)));
    BOOST_TEST(file.metadata.at("linden.train_ranks") == "2,8");
  }
}

BOOST_AUTO_TEST_CASE(files_hold_the_transposed_factors) {
  const TemporaryFolder folder;
  save_peft(folder.path(), foreign_adapter(2, 2, false));
  const Adapter adapter = Adapter::load(folder.path());
  const auto& down = adapter.factors().layers[4].down;
  BOOST_TEST(down.A(1, 0) == 2);
  BOOST_TEST(down.A(0, 1) == 0.5F);
  BOOST_TEST(down.B(1, 0) == 3);
  BOOST_TEST(down.B(0, 1) == 0.25F);
}

BOOST_AUTO_TEST_CASE(foreign_adapters_get_the_mode_of_their_scale) {
  const TemporaryFolder folder;
  const auto of = [&](long r, double alpha, bool rslora) {
    return load_description(folder, foreign_adapter(r, alpha, rslora));
  };
  BOOST_TEST((of(4, 4, false).scaling == Scaling::none));
  BOOST_TEST((of(4, 1, false).scaling == Scaling::rank));
  BOOST_TEST((of(4, 1, true).scaling == Scaling::sqrt));
  BOOST_TEST((of(4, 2, true).scaling == Scaling::none));
  const auto twice = of(4, 8, false);
  BOOST_TEST((twice.kind == AdapterKind::lora));
  BOOST_TEST(twice.foreign_scale.value() == 2);
  BOOST_TEST(twice.scale_at(1) == 2);  // one scale for every prefix
  BOOST_TEST((twice.train_ranks == RankSet{4}));
}

BOOST_AUTO_TEST_CASE(a_foreign_scale_survives_saving) {
  const TemporaryFolder folder;
  save_peft(folder.path() / "in", foreign_adapter(4, 6, false));
  Adapter::load(folder.path() / "in").save(folder.path() / "out", "some/model");
  BOOST_TEST(load_peft(folder.path() / "out", Adapter::modules()).scale() == 1.5);
  BOOST_TEST(Adapter::load(folder.path() / "out").description().scale_at(2) == 1.5);
}

BOOST_AUTO_TEST_CASE(contradicting_metadata_are_refused) {
  const TemporaryFolder folder;
  PeftAdapter file = foreign_adapter(4, 4, false);  // scale 1
  file.metadata = {{"linden.kind", "dylora"}, {"linden.scaling", "rank"}, {"linden.train_ranks", "1,4"}};
  expect_refusal<DataError>([&] { load_description(folder, file); }, "adapter_config.json",
                            "lora_alpha 4 gives scale 1, but metadata linden.scaling says 0.25");
  file.metadata.erase("linden.scaling");
  expect_refusal<DataError>([&] { load_description(folder, file); }, "adapter_model.safetensors", "lacks linden.scaling");
  file.metadata = {{"linden.kind", "dora"}, {"linden.scaling", "none"}, {"linden.train_ranks", "1,4"}};
  expect_refusal<DataError>([&] { load_description(folder, file); }, "adapter_model.safetensors", "\"dora\" is unknown");
  file.metadata = {{"linden.kind", "dylora"}, {"linden.scaling", "none"}, {"linden.train_ranks", "4,1"}};
  expect_refusal<DataError>([&] { load_description(folder, file); }, "strictly ascending");
  file.metadata = {{"linden.kind", "dylora"}, {"linden.scaling", "none"}, {"linden.train_ranks", "1,8"}};
  expect_refusal<DataError>([&] { load_description(folder, file); }, "linden.train_ranks 1,8: the adapter's rank is 4");
}

BOOST_AUTO_TEST_CASE(adapters_of_another_model_are_refused) {
  const TemporaryFolder folder;
  PeftAdapter file = foreign_adapter(4, 4, false);
  file.modules.pop_back();
  expect_refusal<DataError>([&] { load_description(folder, file); }, "model.layers.4.mlp.down_proj.lora_A.weight",
                            "missing");
}

BOOST_AUTO_TEST_CASE(rows_for_inference) {
  const AdapterDescription nested{.kind = AdapterKind::matryoshka,
                                  .scaling = Scaling::rank,
                                  .full_rank = 8,
                                  .train_ranks = RankSet{1, 2, 4, 8},
                                  .foreign_scale = {}};
  BOOST_TEST((inference_row<double>(nested, 2, Inference::prefix) == std::vector<double>{0.5, 0.5}));
  BOOST_TEST((inference_row<double>(nested, 3, Inference::weighted) == std::vector<double>{1.875, 0.875, 0.375}));
  for (const int r : {0, 9})
    expect_refusal<UsageError>([&] { (void)inference_row<double>(nested, r, Inference::prefix); },
                               "rank " + std::to_string(r) + ": the adapter has ranks 1 to 8");
  AdapterDescription plain = nested;
  plain.kind = AdapterKind::lora;
  expect_refusal<UsageError>([&] { (void)inference_row<double>(plain, 2, Inference::weighted); }, "of kind lora");
}

BOOST_AUTO_TEST_CASE(initialisation_draws_a_and_leaves_b_zero) {
  AdapterDescription description;
  description.full_rank = 16;
  description.train_ranks = RankSet{16};
  Adapter first(description), second(description), other(description);
  first.initialise(Initialisation::reference, 7);
  second.initialise(Initialisation::reference, 7);
  other.initialise(Initialisation::reference, 8);
  BOOST_TEST(std::ranges::equal(first.parameters(), second.parameters()));
  BOOST_TEST(!std::ranges::equal(first.parameters(), other.parameters()));
  AdapterFactors<Stories260K, float> factors = first.factors();
  factors.for_each([](const std::string& name, auto view) {
    float largest = 0;
    for (const float element : view.span()) largest = std::max(largest, std::abs(element));
    if (name.ends_with(".lora_B"))
      BOOST_TEST(largest == 0);
    else
      BOOST_TEST((largest > 0.24F && largest <= 0.25F), name << " " << largest);  // 1 / sqrt(16)
  });
}

BOOST_AUTO_TEST_CASE(golden_adapter, *boost::unit_test::precondition(needs_shared("golden/adapter_stories260k"))) {
  const Adapter adapter = Adapter::load(shared_folder() / "golden/adapter_stories260k");
  BOOST_TEST(adapter.description().full_rank == 8);
  AdapterFactors<Stories260K, float> factors = adapter.factors();
  int tensor = 0;
  factors.for_each([&](const std::string& name, auto view) {  // the formulas its README gives
    const int t = tensor++ / 2;
    double worst = 0;
    for (long i = 0; i < view.rows(); ++i)
      for (long j = 0; j < view.columns(); ++j) {
        const auto row = static_cast<double>(j), column = static_cast<double>(i);  // of the transposed tensor
        const double expected = name.ends_with(".lora_A") ? 0.05 * std::sin(1.7 * row + 0.3 * column + t)
                                                          : 0.05 * std::cos(0.9 * row - 0.7 * column + t);
        worst = std::max(worst, std::abs(static_cast<double>(view(i, j)) - expected));
      }
    BOOST_TEST(worst < 4e-9, name << " " << worst);
  });
  BOOST_TEST(tensor == 70);
}
