#define BOOST_TEST_MODULE module_options
#include "support/module_options.hpp"
//
#include <boost/test/unit_test.hpp>

#include "io/temporary_folder.hpp"

namespace {
using namespace linden;
using namespace linden::examples;
using namespace linden::test;

AdapterDescription adapter() {
  AdapterDescription description;
  description.full_rank = 16;
  description.train_ranks = RankSet{1, 4, 16};
  return description;
}
long rank_in(const AdapterDescription& description, ModuleKind kind) { return description.full_ranks().at(rank_of(kind)); }
}  // namespace

BOOST_AUTO_TEST_CASE(targets_are_adapted_and_nothing_else) {
  auto description = adapter();
  set_targets(description, {"v_proj", "q_proj"});
  for (const ModuleKind kind : {ModuleKind::q, ModuleKind::v}) BOOST_TEST(rank_in(description, kind) == 16);
  for (const ModuleKind kind : {ModuleKind::k, ModuleKind::o, ModuleKind::gate, ModuleKind::up, ModuleKind::down})
    BOOST_TEST(rank_in(description, kind) == 0);
  auto all = adapter();
  set_targets(all, {});
  BOOST_TEST((all.full_ranks() == ModuleRanks(16)));
}

BOOST_AUTO_TEST_CASE(a_kind_with_its_own_rank_and_rank_set) {
  auto description = adapter();
  set_module(description, "down_proj=8");
  set_module(description, "k_proj=6:2,3,9");
  const auto down = description.module(static_cast<std::size_t>(ModuleKind::down));
  BOOST_TEST(down.full_rank == 8);
  BOOST_TEST((down.train_ranks == RankSet{1, 4}));
  const auto k = description.module(static_cast<std::size_t>(ModuleKind::k));
  BOOST_TEST(k.full_rank == 6);
  BOOST_TEST((k.train_ranks == RankSet{2, 3}));
  BOOST_TEST(rank_in(description, ModuleKind::q) == 16);
}

BOOST_AUTO_TEST_CASE(refusals) {
  const auto refused = [](const char* option, const char* why) {
    auto description = adapter();
    set_targets(description, {"q_proj", "v_proj"});
    expect_refusal<UsageError>([&] { set_module(description, option); }, option, why);
  };
  refused("query=8", "\"query\" is no kind of module, expected one of q_proj, k_proj");
  refused("q_proj", "expected KIND=RANK");
  refused("q_proj=17", "expected one rank from 1 to 16");
  refused("q_proj=0", "expected one rank from 1 to 16");
  refused("q_proj=4,8", "expected one rank from 1 to 16");
  refused("o_proj=4", "o_proj is no target");
  auto twice = adapter();
  set_module(twice, "q_proj=4");
  expect_refusal<UsageError>([&] { set_module(twice, "q_proj=8"); }, "q_proj is named twice");
  expect_refusal<UsageError>([&] { set_targets(twice, {"q_proj", "q_proj"}); }, "--target: q_proj is named twice");
  expect_refusal<UsageError>([&] { set_targets(twice, {"lm_head"}); }, "\"lm_head\" is no kind of module");
}
