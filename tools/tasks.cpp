#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "bench/reports/json_report.h"
#include "bench/tasks/measure.h"
#include "bench/tasks/report.h"
#include "bench/tasks/task_file.h"
#include "engine/files/model_file.h"
#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "kernels/error.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct TasksFlags {
  std::string model, baseline, json;
  std::vector<std::string> tasks;
  TaskOptions options;
  std::optional<double> max_loss;
  int threads = 0;
};

// One model's answers to all tasks; the model is gone when it has answered.
std::vector<TaskResult> answers(const std::string& folder, const std::string& title, const Team& team,
                                const std::vector<Task>& tasks, const TaskOptions& options) {
  const Tokenizer tokenizer = Tokenizer::open(folder);
  const Model model(folder, team);
  std::vector<TaskResult> results;
  for (const Task& task : tasks) {
    ProgressLine progress(title);
    results.push_back(measure_task(model, tokenizer, team, task, options, [&](int64_t done, int64_t total) {
      progress.update(done, total, task.name);
    }));
  }
  return results;
}

void run(const TasksFlags& flags) {
  if (!flags.json.empty()) check_report_path(flags.json);
  std::vector<Task> tasks;
  Fingerprint fingerprint;
  for (const std::string& given : flags.tasks) {
    const TaskSource source = task_source(given);
    const std::string text = read_text(source.file);
    tasks.push_back(parse_task(text, source));
    fingerprint.tasks.push_back(fingerprint_of_text(source.file, text));
    check_shots(tasks.back(), flags.options.shots);
  }
  if (!flags.baseline.empty()) check_baseline(flags.baseline);

  // Both models look at as many tokens. What is wrong with either is found before the work.
  TaskOptions options = flags.options;
  std::vector<std::string> folders = {flags.model};
  if (!flags.baseline.empty()) folders.push_back(flags.baseline);
  for (const std::string& folder : folders) {
    const int64_t context = read_model_spec(ModelFile(folder)).max_position_embeddings;
    if (!flags.options.context)
      options.context = options.context ? std::min(options.context, context) : context;
    Tokenizer::open(folder);
  }
  print_notes(flags.model);
  for (const std::string& folder : folders) note_context(folder, options.context);
  const Team team(flags.threads);
  fingerprint.threads = team.size();
  if (!flags.json.empty()) fingerprint.models = fingerprints_of(flags.baseline, {flags.model});
  std::vector<TaskResult> baseline;
  if (!flags.baseline.empty()) {
    TaskOptions exact = options;
    exact.kv_cache = KvFormat::f32;
    baseline = answers(flags.baseline, "baseline", team, tasks, exact);
  }
  std::vector<TaskResult> model = answers(flags.model, "model", team, tasks, options);
  std::vector<TaskReport> reports;
  for (size_t i = 0; i < model.size(); ++i)
    reports.push_back(make_task_report(
        std::move(model[i]), baseline.empty() ? std::nullopt : std::optional(std::move(baseline[i])),
        flags.max_loss));

  if (flags.json != "-") {
    for (const TaskReport& report : reports) {
      std::cout << (&report == &reports.front() ? "" : "\n") << task_text(report);
      if (report.gate) std::cout << task_gate_text(report) << '\n';
    }
  }
  if (!flags.json.empty()) {
    nlohmann::json json = tasks_json(reports, fingerprint);
    json["model"] = flags.model;
    json["baseline"] = flags.baseline.empty() ? nlohmann::json() : nlohmann::json(flags.baseline);
    json["kv_cache"] = name(options.kv_cache);
    write_json(flags.json, json);
  }
  bool passes = true;
  for (const TaskReport& report : reports) {
    if (!report.gate) continue;
    if (report.gate->verdict() != Verdict::kept) std::cerr << "whittle: " << task_gate_text(report) << '\n';
    passes = passes && report.gate->passes();
  }
  if (!passes) throw CLI::RuntimeError(exit_gate);
}

}  // namespace

void add_tasks(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tasks", "How many questions a model answers, beside its baseline");
  static TasksFlags flags;
  constexpr int64_t most = 1 << 30;
  command->add_option("MODEL", flags.model, "Folder of the model to judge")->required()->check(not_empty());
  CLI::Option* baseline =
      command->add_option("--baseline", flags.baseline, "Folder of the original weights, which answer too")
          ->type_name("SRC")
          ->check(not_empty());
  command
      ->add_option(
          "--tasks", flags.tasks,
          "Files of questions: JSON lines, or TSV of GLUE as SST-2/dev.tsv or sst-2=FILE; -: standard "
          "input")
      ->type_name("FILE")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(not_empty());
  command
      ->add_option("--shots", flags.options.shots,
                   "The first N items of a file are examples before each other one")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, most).description(""));
  command->add_option("--limit", flags.options.limit, "Ask only the first N of the other items; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, most).description(""));
  command
      ->add_option("--context", flags.options.context,
                   "Tokens that are looked at; what is longer loses its beginning; 0: as many as the models "
                   "can")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, most).description(""));
  command->add_option("--batch", flags.options.batch, "Items that are asked together")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1024}).description(""));
  command
      ->add_option("--max-loss", flags.max_loss,
                   "Gate: how far a task's accuracy may fall below the baseline's, in points of 100")
      ->type_name("POINTS")
      ->check(number(0, 100, "0 to 100"))
      ->needs(baseline);
  add_kv_cache(*command, flags.options.kv_cache);
  add_opening_flags(*command);
  add_threads(*command, flags.threads);
  add_json(*command, flags.json);
  command->footer(
      "Examples:\n"
      "  whittle tasks model-int4 --tasks lambada.jsonl --limit 500\n"
      "  whittle tasks model-int4 --baseline model --tasks SST-2/dev.tsv quiz.jsonl --shots 4\n"
      "  whittle tasks model-int4 --baseline model --tasks sst-2=dev.tsv --max-loss 1 --json tasks.json\n"
      "Fields of the JSON lines, one object a line: context, choices, answer (an index): multiple choice;\n"
      "template and labels in the first line, then label: classification; prompt, answer: text, matched\n"
      "exactly; text: LAMBADA. Exit code 3 says that a gate was exceeded, and standard error says which.");
  command->callback([] { run(flags); });
}

}  // namespace whittle
