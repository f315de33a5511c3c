// What linden makes of the harness's tasks, one JSON object a line, for harness.py to compare. Needs no model.
//   harness_prompts prompts TASK FOLDER SHOTS                      {"doc", "prompt", "target", "choices", "gold"}
//   harness_prompts tokens  TASK FOLDER SHOTS MODEL LENGTH LIMIT   {"doc", "ids"} or {"doc", "choices": [{"ids",
//   "labels"}]} harness_prompts score   TASK FOLDER EOS < answers              {"doc", "response" | "log_likelihoods"}
//   -> to_json
// Build: g++ -std=c++20 -O2 -Iinclude tests/oracle/harness_prompts.cpp -o harness_prompts -lpcre2-8
#include <iostream>
#include <linden/eval/multiple_choice.hpp>
#include <linden/eval/read_task.hpp>
#include <linden/eval/score.hpp>

namespace {
using namespace linden;
using Arguments = std::vector<std::string>;
using Json = nlohmann::ordered_json;

void print_prompts(const Task& task) {
  for (std::size_t i = 0; i < task.size(); ++i) {
    const TaskDocument& document = task.document(i);
    std::cout << Json{{"doc", i},
                      {"prompt", task.prompt(i)},
                      {"target", document.target},
                      {"choices", document.choices},
                      {"gold", document.gold}}
              << '\n';
  }
}

void print_tokens(const Task& task, const Tokenizer& tokenizer, std::size_t length, std::size_t limit) {
  for (std::size_t i = 0; i < std::min(limit, task.size()); ++i) {
    Json line{{"doc", i}};
    if (task.description().kind == TaskKind::generation) {
      line["ids"] = generation_prompt_ids(tokenizer, task.prompt(i), length);
    } else {
      for (const Sample& sample : choice_samples(tokenizer, task.prompt(i), task.document(i).choices, length))
        line["choices"].push_back({{"ids", sample.ids}, {"labels", sample.labels}});
    }
    std::cout << line << '\n';
  }
}

void print_scores(const Task& task, const std::string& eos) {
  std::vector<DocumentResult> results;
  for (std::string line; std::getline(std::cin, line);) {
    const nlohmann::json answer = parse_json(line, "answer");
    const auto document = answer.at("doc").get<std::size_t>();
    if (task.description().kind == TaskKind::generation)
      results.push_back(score_response(
          task, document, cut_at_stop_strings(answer.at("response").get<std::string>(), gsm8k_stop_strings(eos))));
    else
      results.push_back(score_choices(task, document, answer.at("log_likelihoods").get<std::vector<double>>()));
    std::cout << to_json(results.back()) << '\n';
  }
  Json summary;
  const auto names = metric_names(task.description().kind);
  const auto summaries = summarize(results);
  for (std::size_t m = 0; m < names.size(); ++m)
    summary[std::string(names[m])] = {summaries[m].mean, summaries[m].standard_error};
  std::cout << summary << '\n';
}

void run(const Arguments& a) {
  const std::size_t n = a.size();
  if (n == 4 && a[0] == "prompts") return print_prompts(read_task(a[1], a[2], std::stoul(a[3])));
  if (n == 7 && a[0] == "tokens")
    return print_tokens(read_task(a[1], a[2], std::stoul(a[3])), Tokenizer::load(a[4]), std::stoul(a[5]),
                        std::stoul(a[6]));
  if (n == 4 && a[0] == "score") return print_scores(read_task(a[1], a[2], 0), a[3]);
  throw UsageError("arguments: see the head of harness_prompts.cpp");
}
}  // namespace

int main(int argc, char** argv) try { run(Arguments(argv + 1, argv + argc)); } catch (const std::exception& error) {
  std::cerr << "harness_prompts: " << error.what() << '\n';
  return 1;
}
