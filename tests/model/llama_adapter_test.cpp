#define BOOST_TEST_MODULE llama_adapter
#include <linden/model/llama_adapter.hpp>
//
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

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
    BOOST_TEST(relative_error(file.scale("any"), scale(scaling, 8)) < 1e-15);
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
  BOOST_TEST(load_peft(folder.path() / "out", Adapter::modules()).scale("any") == 1.5);
  BOOST_TEST(Adapter::load(folder.path() / "out").description().scale_at(2) == 1.5);
}

BOOST_AUTO_TEST_CASE(contradicting_metadata_are_refused) {
  const TemporaryFolder folder;
  PeftAdapter file = foreign_adapter(4, 4, false);  // scale 1
  file.metadata = {{"linden.kind", "dylora"}, {"linden.scaling", "rank"}, {"linden.train_ranks", "1,4"}};
  expect_refusal<DataError>(
      [&] { load_description(folder, file); }, "adapter_config.json",
      "lora_alpha gives scale 1 to model.layers.0.self_attn.q_proj, but metadata linden.scaling says 0.25");
  file.metadata.erase("linden.scaling");
  expect_refusal<DataError>([&] { load_description(folder, file); }, "adapter_model.safetensors",
                            "lacks linden.scaling");
  file.metadata = {{"linden.kind", "dora"}, {"linden.scaling", "none"}, {"linden.train_ranks", "1,4"}};
  expect_refusal<DataError>([&] { load_description(folder, file); }, "adapter_model.safetensors",
                            "\"dora\" is unknown");
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

/// q has less, v has rank sets of its own, gate has nothing.
AdapterDescription mixed_ranks(AdapterKind kind, Scaling scaling) {
  AdapterDescription description{.kind = kind, .scaling = scaling, .full_rank = 8, .train_ranks = RankSet{1, 2, 8}};
  description.own[0] = {.full_rank = 3, .train_ranks = RankSet{1, 3}};
  description.own[2] = {.full_rank = 8, .train_ranks = RankSet{4, 8}};
  description.own[4] = AdapterDescription::Module{};
  return description;
}

BOOST_AUTO_TEST_CASE(ranks_of_kinds_survive_saving) {
  for (const Scaling scaling : {Scaling::none, Scaling::rank, Scaling::sqrt}) {
    const TemporaryFolder folder;
    Adapter saved = some_adapter(mixed_ranks(AdapterKind::matryoshka, scaling));
    saved.save(folder.path() / "adapter", "stories");
    Adapter loaded = Adapter::load(folder.path() / "adapter");
    BOOST_TEST(std::ranges::equal(loaded.parameters(), saved.parameters()));
    BOOST_TEST((loaded.description().scaling == scaling));
    BOOST_TEST((loaded.description().train_ranks == RankSet{1, 2, 8}));
    BOOST_TEST((loaded.description().full_ranks() == saved.description().full_ranks()));
    for (const std::size_t kind : {0U, 1U, 2U, 3U})
      BOOST_TEST((loaded.description().module(kind).train_ranks == saved.description().module(kind).train_ranks));
    const auto config = nlohmann::json::parse(content_of(folder.path() / "adapter/adapter_config.json"));
    BOOST_TEST((config["rank_pattern"] == nlohmann::json{{"q_proj", 3}}));
    BOOST_TEST((config["alpha_pattern"] ==
                (scaling == Scaling::none ? nlohmann::json{{"q_proj", 3}} : nlohmann::json::object())));
    BOOST_TEST(config["target_modules"].size() == 6U);
  }
}

/// An adapter of q_proj and v_proj whose settings `change` makes; factors of the ranks it says.
template <class Change>
PeftAdapter partial_adapter(Change change) {
  PeftAdapter file{.r = 4, .lora_alpha = 4, .base_model = "some/model"};
  file.targets.names = {"q_proj", "v_proj"};
  change(file);
  float next = 0;
  const auto draw = [&](long count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = std::sin(next += 0.11F);
    return values;
  };
  for (const ExpectedModule& module : Adapter::modules())
    if (file.targets.match(module.path)) {
      const long r = file.rank(module.path);
      file.modules.push_back({module.path, module.in, module.out, draw(r * module.in), draw(module.out * r)});
    }
  return file;
}

/// The largest difference between scale * lora_B lora_A of the file and the loaded adapter's product, over all modules.
double product_difference(const PeftAdapter& file, const Adapter& adapter) {
  AdapterFactors<Stories260K, float> factors = adapter.factors();
  std::vector<float> delta;
  double worst = 0, largest = 0;
  long in = 0;
  std::vector<float> a;
  factors.for_each([&](const std::string& name, auto view) {
    if (name.ends_with(".lora_A")) {
      in = view.rows();
      a.assign(view.span().begin(), view.span().end());
      return;
    }
    const auto module = std::ranges::find_if(file.modules, [&](auto& m) { return name.starts_with(m.path + "."); });
    const double s = adapter.description().scale_at(static_cast<int>(view.rows()));
    for (long i = 0; i < in; i += 7)
      for (long o = 0; o < view.columns(); o += 5) {
        double found = 0, expected = 0;
        for (long j = 0; j < view.rows(); ++j)
          found += s * double(a[static_cast<std::size_t>(i * view.rows() + j)]) * double(view(j, o));
        if (module != file.modules.end()) {
          const long r = file.rank(module->path);
          for (long j = 0; j < r; ++j)
            expected += file.scale(module->path) * double(module->lora_a[static_cast<std::size_t>(j * in + i)]) *
                        double(module->lora_b[static_cast<std::size_t>(o * r + j)]);
        }
        worst = std::max(worst, std::abs(found - expected));
        largest = std::max(largest, std::abs(expected));
      }
  });
  BOOST_TEST(largest > 1);
  return worst;
}

BOOST_AUTO_TEST_CASE(any_lora_of_the_projections_loads_with_its_function) {
  const TemporaryFolder folder;
  const auto loads = [&](auto change) {
    const PeftAdapter file = partial_adapter(change);
    std::filesystem::remove_all(folder.path() / "adapter");
    save_peft(folder.path() / "adapter", file);
    const Adapter adapter = Adapter::load(folder.path() / "adapter");
    BOOST_TEST(product_difference(file, adapter) < 1e-5);
    return adapter.description();
  };
  const auto subset = loads([](PeftAdapter&) {});  // two kinds of one rank
  BOOST_TEST((subset.full_ranks().of == std::array<long, 7>{4, 0, 4, 0, 0, 0, 0}));
  BOOST_TEST((subset.scaling == Scaling::none && !subset.foreign_scale && subset.kind == AdapterKind::lora));

  const auto mixed = loads([](PeftAdapter& file) {
    file.rank_pattern = {{"v_proj", 9}};
    file.lora_alpha = 1;
    file.use_rslora = true;
  });
  BOOST_TEST((mixed.full_ranks().of == std::array<long, 7>{4, 0, 9, 0, 0, 0, 0}));
  BOOST_TEST((mixed.scaling == Scaling::sqrt && !mixed.foreign_scale));
  BOOST_TEST((mixed.full_rank == 9 && mixed.train_ranks == RankSet{9} && mixed.module(0).train_ranks == RankSet{4}));

  const auto layers = loads([](PeftAdapter& file) {  // a kind's modules differ: padded
    file.rank_pattern = {{"layers.1.self_attn.q_proj", 6}};
    file.alpha_pattern = {{"layers.1.self_attn.q_proj", 6}};
    file.targets.layers = {1, 3};
  });
  BOOST_TEST((layers.full_ranks().of == std::array<long, 7>{6, 0, 4, 0, 0, 0, 0}));
  BOOST_TEST((layers.scaling == Scaling::none && !layers.foreign_scale));

  const auto same = loads([](PeftAdapter& file) {  // one scale, of no mode
    file.rank_pattern = {{"layers.1.self_attn.q_proj", 8}};
    file.alpha_pattern = {{"layers.1.self_attn.q_proj", 24}};
    file.lora_alpha = 12;
  });
  BOOST_TEST(same.foreign_scale.value() == 3);

  const auto folded = loads([](PeftAdapter& file) { file.alpha_pattern = {{"v_proj", 10}, {".*[02].*q_proj", -3}}; });
  BOOST_TEST(folded.foreign_scale.value() == 1);
  BOOST_TEST(loads([](PeftAdapter& file) {
               file.targets = {.names = {}, .expression = ".*[14].*(gate|o)_proj"};
             }).full_rank == 4);
}

BOOST_AUTO_TEST_CASE(what_was_imported_can_be_saved) {
  const TemporaryFolder folder;
  const PeftAdapter file = partial_adapter([](PeftAdapter& f) {
    f.rank_pattern = {{"layers.1.self_attn.q_proj", 6}};
    f.alpha_pattern = {{"v_proj", 10}};
  });
  save_peft(folder.path() / "in", file);
  Adapter first = Adapter::load(folder.path() / "in");
  first.save(folder.path() / "out", "some/model");
  Adapter second = Adapter::load(folder.path() / "out");
  BOOST_TEST(std::ranges::equal(first.parameters(), second.parameters()));
  BOOST_TEST(second.description().foreign_scale.value() == 1);
  BOOST_TEST((second.description().full_ranks() == first.description().full_ranks()));
  BOOST_TEST(product_difference(file, second) < 1e-5);
}

BOOST_AUTO_TEST_CASE(metadata_of_kinds_must_fit_them) {
  const TemporaryFolder folder;
  const auto refuse = [&](auto change, const std::string& message) {
    PeftAdapter file = some_adapter(mixed_ranks(AdapterKind::dylora, Scaling::none)).peft(8, "stories");
    file.metadata = peft_metadata(mixed_ranks(AdapterKind::dylora, Scaling::none));
    change(file);
    expect_refusal<DataError>([&] { load_description(folder, file); }, message);
  };
  refuse([](auto& file) { file.metadata.erase("linden.train_ranks.q_proj"); }, "lacks linden.train_ranks.q_proj");
  refuse([](auto& file) { file.metadata["linden.train_ranks.q_proj"] = "1,4"; },
         "linden.train_ranks.q_proj 1,4: the adapter's rank is 3");
  refuse([](auto& file) { file.alpha_pattern.clear(); }, "but metadata linden.scaling says 1");
}

BOOST_AUTO_TEST_CASE(a_prefix_is_an_adapter_of_its_own) {
  const Adapter whole = some_adapter(mixed_ranks(AdapterKind::dylora, Scaling::rank));
  const Adapter cut = whole.prefix(2);
  BOOST_TEST((cut.description().train_ranks == RankSet{1, 2}));
  BOOST_TEST((cut.description().module(0).train_ranks == RankSet{1}));
  BOOST_TEST((cut.description().module(2).train_ranks == RankSet{2}));  // it has none up to 2
  BOOST_TEST((cut.description().full_ranks().of == std::array<long, 7>{2, 2, 2, 2, 0, 2, 2}));
  const auto& down = cut.factors().layers[3].down;
  const auto& source = whole.factors().layers[3].down;
  BOOST_TEST((down.A(171, 1) == source.A(171, 1) && down.B(1, 63) == source.B(1, 63)));
  BOOST_TEST((whole.prefix(5).description().full_ranks().of == std::array<long, 7>{3, 5, 5, 5, 0, 5, 5}));
  for (const int r : {0, 9}) BOOST_CHECK_THROW((void)whole.prefix(r), UsageError);
}

BOOST_AUTO_TEST_CASE(alphas_of_exported_prefixes) {
  const auto settings = [](Scaling scaling, PeftExport options) {
    return peft_settings(mixed_ranks(AdapterKind::matryoshka, scaling), 5, options);
  };
  const PeftAdapter plain = settings(Scaling::none, {});
  BOOST_TEST((plain.r == 5 && plain.lora_alpha == 5 && !plain.use_rslora));
  BOOST_TEST((plain.scale("q_proj") == 1 && plain.scale("k_proj") == 1 && plain.rank("q_proj") == 3));
  const PeftAdapter rank = settings(Scaling::rank, {});
  BOOST_TEST((rank.lora_alpha == 1 && !rank.use_rslora && rank.alpha_pattern.empty()));
  const PeftAdapter root = settings(Scaling::sqrt, {});
  BOOST_TEST((root.lora_alpha == 1 && root.use_rslora && root.alpha_pattern.empty()));
  const PeftAdapter llama_cpp = settings(Scaling::sqrt, {.one_alpha = true});
  BOOST_TEST((llama_cpp.lora_alpha == std::sqrt(5.0) && !llama_cpp.use_rslora && llama_cpp.alpha_pattern.empty()));
  const PeftAdapter weighted = settings(Scaling::sqrt, {.inference = Inference::weighted});
  BOOST_TEST((weighted.lora_alpha == 5 && !weighted.use_rslora && weighted.scale("q_proj") == 1));
  BOOST_TEST(plain.targets.names.size() == 6U);
  AdapterDescription none{.full_rank = 4, .train_ranks = RankSet{4}};
  none.own.fill(AdapterDescription::Module{});
  expect_refusal<UsageError>([&] { (void)peft_settings(none, 4); }, "has no modules");
  expect_refusal<UsageError>([&] { (void)settings(Scaling::none, {}), (void)peft_settings(none, 5); },
                             "rank 5: the adapter has ranks 1 to 4");
}

BOOST_AUTO_TEST_CASE(exported_factors) {
  const Adapter adapter = some_adapter(mixed_ranks(AdapterKind::matryoshka, Scaling::sqrt));
  const auto& q = adapter.factors().layers[0].q;
  const auto& down = adapter.factors().layers[0].down;
  const PeftAdapter plain = adapter.peft(5, "stories");
  BOOST_REQUIRE_EQUAL(plain.modules.size(), 30U);
  BOOST_TEST((plain.modules[0].lora_a.size() == 3U * 64 && plain.modules[5].lora_b.size() == 5U * 64));
  BOOST_TEST((plain.modules[0].lora_a[64 + 2] == q.A(2, 1) && plain.modules[5].lora_b[5 * 3 + 4] == down.B(4, 3)));
  const PeftAdapter weighted = adapter.peft(5, "stories", {.inference = Inference::weighted});
  const double s3 = 1 / std::sqrt(3.0), s8 = 1 / std::sqrt(8.0);
  BOOST_TEST(relative_error(weighted.modules[0].lora_a[0], (1 + s3) * double(q.A(0, 0))) < 1e-6);
  BOOST_TEST(relative_error(weighted.modules[0].lora_a[64], s3 * double(q.A(0, 1))) < 1e-6);
  BOOST_TEST(relative_error(weighted.modules[5].lora_a[4 * 172], s8 * double(down.A(0, 4))) < 1e-6);
  BOOST_TEST(weighted.modules[5].lora_b[4] == down.B(4, 0));
  const PeftAdapter llama_cpp = adapter.peft(5, "stories", {.one_alpha = true});  // q: sqrt(5) / 3 * fold = 1 / sqrt(3)
  BOOST_TEST(relative_error(llama_cpp.scale("q_proj") * double(llama_cpp.modules[0].lora_a[0]),
                            s3 * double(q.A(0, 0))) < 1e-6);
  BOOST_TEST(llama_cpp.modules[5].lora_a[0] == down.A(0, 0));
  Adapter plain_lora = some_adapter(mixed_ranks(AdapterKind::lora, Scaling::sqrt));
  expect_refusal<UsageError>([&] { (void)plain_lora.peft(5, "", {.inference = Inference::weighted}); }, "of kind lora");
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
