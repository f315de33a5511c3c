// How good is an adapter at each of its ranks?
//   cmake --build build/release --target evaluate
//   build/release/bin/evaluate --model DIR --adapter DIR --data test.jsonl --ranks 1,2,4,8,16 --metric exact_match
//   build/release/bin/evaluate --model DIR --adapter DIR --task gsm8k --task-data DIR --shots 8 --json gsm8k.json
// All ranks, and the base model, go through the model together. Prints a table; --json writes the same for machines and, beside
// it, a line per document and rank: an interrupted evaluation continues from there. An --adapter directory that holds the runs of
// a sweep is evaluated run by run, into each run's folder. Under a launcher of MPI (LINDEN_MPI=ON), mpirun -np 4 evaluate ..., the
// processes share out the documents, in blocks of 32; process 0 alone writes, and what it writes is the same, byte for byte.
#include <linden/data/word_problems.hpp>
#include <linden/eval/aurac.hpp>
#include <linden/eval/read_task.hpp>
#include <linden/io/hf_config.hpp>
#include <linden/io/json_file.hpp>

#include "support/device_options.hpp"
#include "support/evaluation.hpp"
#include "support/fingerprint.hpp"
#include "support/model_tokenizer.hpp"
#include "support/processes.hpp"
#include "support/runs.hpp"
#include "support/table.hpp"

namespace {
using namespace linden;

struct Arguments {
  examples::EngineOptions engine;
  std::string adapter, data, task, task_data, inference = "prefix", metric = "token_accuracy", json, name = "evaluation";
  std::vector<int> ranks;
  long limit = all_rows, max_length = 512, shots = -1;
  std::size_t max_tokens = 256, cache_mib = 2048, chunk = 1024;
  double patience = 45;
};

void declare(CLI::App& app, Arguments& a) {
  app.add_option("--model", a.engine.model, "Hugging Face model directory")->required();
  app.add_option("--adapter", a.adapter, "PEFT directory, or a sweep's")->required();
  auto* data = app.add_option("--data", a.data, "JSONL rows (default: unseen word problems of the demo's held-out kind)");
  auto* task = app.add_option("--task", a.task, "gsm8k, arc_challenge or hellaswag, as the evaluation harness has them")
                   ->excludes(data);
  app.add_option("--task-data", a.task_data, "folder of the task's files (train.jsonl, test.jsonl, ...)")->needs(task);
  app.add_option("--shots", a.shots, "examples in front of each question (default: the task's)")
      ->needs(task)
      ->check(examples::whole_number(0));
  examples::add_list(app, "--ranks", a.ranks, "ranks to measure (default: the adapter's train ranks)");
  app.add_option("--inference", a.inference, "prefix: s_r on the first r columns; weighted: MatryoshkaLoRA's p is kept")
      ->capture_default_str()
      ->check(CLI::IsMember({"prefix", "weighted"}));
  app.add_option("--metric", a.metric, "of --data")
      ->capture_default_str()
      ->check(CLI::IsMember({"loss", "token_accuracy", "exact_match"}))
      ->excludes(task);
  app.add_option("--limit", a.limit, "use the first N rows only")->type_name("N")->check(examples::whole_number(1));
  app.add_option("--max-length", a.max_length, "samples of --data are cut to so many tokens")
      ->capture_default_str()
      ->check(examples::whole_number(2));
  app.add_option("--max-tokens", a.max_tokens, "new tokens per generated answer")
      ->capture_default_str()
      ->check(examples::whole_number(1));
  app.add_option("--cache", a.cache_mib, "MiB for keys and values")->capture_default_str()->check(examples::whole_number(1));
  app.add_option("--batch-tokens", a.chunk, "tokens in one pass, at most")->capture_default_str()->check(examples::whole_number(1));
  app.add_option("--json", a.json, "write the result here, and results per document beside it (.documents.jsonl)");
  app.add_option("--name", a.name, "of a sweep's result files: NAME.json in each run")->capture_default_str();
  examples::add_patience(app, a.patience);
  examples::add_device_options(app, a.engine);
}

std::vector<Example> examples_of(const Arguments& a) {
  if (!a.data.empty()) return read_jsonl(a.data, a.limit);
  const ProblemKind kinds[] = {held_out_kinds().front()};
  std::vector<Example> list;
  const auto count = static_cast<std::size_t>(std::min(a.limit, 200L));
  for (const WordProblem& problem : make_problems(kinds, count, /*seed=*/1, ProblemSplit::test))
    list.push_back(question_example(problem.question, problem.answer, static_cast<long>(list.size())));
  return list;
}

/// The questions, tokenised, and the metrics they are answered by; the first metric makes the curve.
struct Questions {
  std::optional<Task> task;
  std::vector<Example> examples;
  std::vector<Sample> samples;
  std::size_t count = 0;
  std::vector<std::string> metrics;
  std::string fingerprint;
};

Questions read_questions(const Arguments& a, const Tokenizer& tokenizer, long positions) {
  Questions q;
  if (!a.task.empty()) {
    const TaskDescription& description = task_description(a.task);
    if (a.task_data.empty()) throw UsageError("--task needs --task-data, the folder of its files");
    q.task = read_task(a.task, a.task_data, a.shots < 0 ? description.default_shots : static_cast<std::size_t>(a.shots));
    q.count = std::min(q.task->size(), static_cast<std::size_t>(a.limit));
    for (const auto name : metric_names(description.kind)) q.metrics.emplace_back(name);
    examples::Fingerprint print;
    for (std::size_t d = 0; d < q.count; ++d) print.add(q.task->prompt(d)).add(q.task->document(d).target);
    q.fingerprint = print.hex();
    return q;
  }
  q.examples = examples_of(a);
  q.samples = make_samples(tokenizer, q.examples, std::min(a.max_length, positions));
  q.count = q.samples.size();
  q.metrics = a.metric == "exact_match"  ? std::vector<std::string>{"exact_match"}
              : a.metric == "loss"       ? std::vector<std::string>{"loss", "token_accuracy"}
                                         : std::vector<std::string>{"token_accuracy", "loss"};
  q.fingerprint = examples::fingerprint_of(std::span<const Sample>(q.samples));
  return q;
}

/// What the results of a document depend on.
nlohmann::json settings_of(const Arguments& a, const Questions& q, const std::filesystem::path& adapter) {
  nlohmann::json settings{{"model", examples::fingerprint_of_model(a.engine.model)},
                          {"adapter", examples::fingerprint_of_adapter(adapter)},
                          {"questions", q.fingerprint},
                          {"inference", a.inference},
                          {"measures", a.task.empty() ? a.metric == "exact_match" ? "exact_match" : "scores" : a.task}};
  examples::add_device(a.engine, settings);
  if (q.task) settings["shots"] = q.task->shots();
  if (a.metric == "exact_match" || a.task == gsm8k_task.name) settings["max_tokens"] = a.max_tokens;
  return settings;
}

void measure(const Arguments& a, const Questions& q, const Tokenizer& tokenizer, long positions, examples::AdaptedModel& model,
             examples::Block& block) {
  GenerateOptions generation{.max_tokens = a.max_tokens, .stop = read_eos_ids(a.engine.model)};
  generation.stop.push_back(tokenizer.eos());
  if (q.task && q.task->description().kind == TaskKind::generation)
    examples::measure_generation(model, *q.task, tokenizer, static_cast<std::size_t>(positions), generation, block);
  else if (q.task)
    examples::measure_choices(model, *q.task, tokenizer, static_cast<std::size_t>(positions), block);
  else if (a.metric == "exact_match")
    examples::measure_exact_match(model, q.examples, tokenizer, generation, block);
  else
    examples::measure_scores(model, q.samples, block);
}

/// The table on stdout, and the JSON of the same.
nlohmann::ordered_json summary(const Questions& q, const RankSet& ranks, const examples::DocumentResults& results) {
  std::vector<std::string> header{"rank"};
  header.insert(header.end(), q.metrics.begin(), q.metrics.end());
  examples::Table table(header);
  std::vector<int> rows{0};
  rows.insert(rows.end(), ranks.begin(), ranks.end());
  nlohmann::ordered_json metrics;
  std::vector<std::vector<std::string>> cells(rows.size());
  std::vector<double> areas, log_areas;
  for (const std::string& metric : q.metrics) {
    std::vector<double> values, errors;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto [mean, error] = examples::mean_of(results, q.count, rows[i], metric);
      cells[i].push_back(examples::fixed(mean, 4) + (std::isnan(error) ? "" : " ± " + examples::fixed(error, 4)));
      values.push_back(mean);
      errors.push_back(error);
    }
    const double base = values[0], base_error = errors[0];
    values.erase(values.begin());
    errors.erase(errors.begin());
    areas.push_back(aurac(ranks, values));
    log_areas.push_back(log_aurac(ranks, values));
    metrics[metric] = {{"base", base},       {"base_stderr", base_error},  {"values", values}, {"stderr", errors},
                       {"aurac", areas.back()}, {"log_aurac", log_areas.back()}};
  }
  const auto add = [&](const std::string& name, std::vector<std::string> row) {
    row.insert(row.begin(), name);
    table.add(row);
  };
  for (std::size_t i = 0; i < rows.size(); ++i) add(i == 0 ? "base" : std::to_string(rows[i]), cells[i]);
  for (const auto& [name, list] : {std::pair("AURAC", &areas), std::pair("log-AURAC", &log_areas)}) {
    std::vector<std::string> row;
    for (const double area : *list) row.push_back(examples::fixed(area, 4));
    add(name, row);
  }
  std::cout << table;
  const auto& first = metrics.at(q.metrics[0]);
  return {{"metric", q.metrics[0]}, {"ranks", std::vector<int>(ranks.begin(), ranks.end())}, {"values", first.at("values")},
          {"base", first.at("base")}, {"aurac", first.at("aurac")}, {"log_aurac", first.at("log_aurac")},
          {"documents", q.count}, {"metrics", metrics}};
}

/// The model, the questions and the adapters; loaded alike in all processes.
struct Work {
  std::unique_ptr<examples::Engine> engine;
  std::optional<Tokenizer> tokenizer;
  Questions questions;
  struct Target {
    std::filesystem::path adapter, json;  ///< json: where the result goes, empty for nowhere
    std::string title;                    ///< of one of several
  };
  std::vector<Target> targets;
};

std::vector<Work::Target> targets_of(const Arguments& a) {
  if (file_exists(std::filesystem::path(a.adapter) / "adapter_config.json")) return {{a.adapter, a.json, ""}};
  if (!a.json.empty()) throw UsageError("--json: a sweep's results go into its runs; --name names them");
  const auto runs = examples::list_runs(a.adapter);
  if (runs.empty()) throw DataError(text(a.adapter, ": holds neither an adapter nor runs of a sweep"));
  std::vector<Work::Target> targets;
  for (const examples::RunRecord& run : runs) {
    const std::string folder = run.folder.string();
    if (run.finished)
      targets.push_back({run.folder, run.folder / (a.name + ".json"), folder});
    else
      targets.push_back({{}, {}, folder + ": not finished, left out"});
  }
  return targets;
}

Work load(const Arguments& a, const ProcessGroup& group) {
  Work work;
  examples::EngineOptions engine = a.engine;
  engine.gpu = group.index_on_host();
  work.engine = examples::make_engine(engine);
  work.tokenizer.emplace(examples::load_tokenizer(a.engine, *work.engine));
  work.questions = read_questions(a, *work.tokenizer, work.engine->positions());
  work.targets = targets_of(a);
  return work;
}

void evaluate_adapter(const Arguments& a, const Work& work, const Work::Target& target, ProcessGroup& group) {
  const Questions& q = work.questions;
  std::unique_ptr<examples::AdaptedModel> model;
  std::optional<RankSet> ranks;
  nlohmann::json settings;
  together(group, [&] {
    model = work.engine->adapted(target.adapter, {.inference = a.inference == "weighted" ? Inference::weighted : Inference::prefix,
                                                  .cache_bytes = a.cache_mib << 20U,
                                                  .chunk = a.chunk,
                                                  .on_pass = [&group] { group.alive(); }});
    ranks = a.ranks.empty() ? model->description().train_ranks : RankSet(a.ranks);
    examples::check_ranks(*ranks, model->description());
    settings = settings_of(a, q, target.adapter);
  });
  std::vector<int> with_base{0};
  with_base.insert(with_base.end(), ranks->begin(), ranks->end());
  nlohmann::json started = settings;
  started.update({{"ranks", with_base}, {"metric", a.metric}, {"cache", a.cache_mib}, {"batch_tokens", a.chunk}});
  examples::agree(group, started);

  examples::DocumentResults results;
  together(group, [&] {
    if (group.index() == 0 && !target.json.empty())
      results = {std::filesystem::path(target.json).replace_extension(".documents.jsonl"), settings};
  });
  examples::measure_blocks(q.count, with_base, results, group, [&](examples::Block& block) {
    measure(a, q, *work.tokenizer, work.engine->positions(), *model, block);
  });
  together(group, [&] {
    if (group.index() != 0) return;
    auto result = summary(q, *ranks, results);
    result["inference"] = a.inference;
    if (q.task) result.update({{"task", a.task}, {"shots", q.task->shots()}});
    if (!target.json.empty()) write_json(target.json, result);
  });
}

void evaluate(const Arguments& a, ProcessGroup& group) {
  group.set_patience(a.patience);
  Work work;
  together(group, [&] { work = load(a, group); });
  for (const Work::Target& target : work.targets) {
    if (group.index() == 0 && !target.title.empty()) std::cout << target.title << "\n";
    if (!target.adapter.empty()) evaluate_adapter(a, work, target, group);
  }
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Measures an adapter at every rank, and the area under the rank-accuracy curve.");
  Arguments a;
  declare(app, a);
  return linden::examples::run_program(argc, argv, app, [&](linden::ProcessGroup& group) { evaluate(a, group); }, std::cout, std::cerr,
                                       linden::examples::processes);
}
