#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>

#include "bench/idle_cpus.h"
#include "bench/machine.h"
#include "bench/memory.h"
#include "bench/regression/regression_gate.h"
#include "bench/regression/turn_server.h"
#include "bench/reports/json_report.h"
#include "bench/version.h"
#include "engine/files/model_file.h"
#include "tools/commands.h"
#include "tools/memory_child.h"
#include "tools/model_options.h"
#include "tools/offline_run.h"
#include "tools/options.h"
#include "tools/streams.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

struct GateFlags {
  std::string model, baseline, text, store, against, build, old_model, reason, by, json, junit, markdown;
  bool update = false, turns = false;
  std::vector<std::string> tasks;
  int64_t shots = 0, limit = 0;
  std::optional<KvFormat> kv_cache;
  GateOptions options;
  double max_slowdown_percent = 3;
  int threads = 0;
};

constexpr int64_t most_bytes = int64_t{1} << 30;  // of a stored file

// As one of 2026-11-26T18:30:00Z.
std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string user() {
  const char* name = std::getenv("USER");
  return name && *name ? name : "unknown";
}

// Paths are stored as they are seen from the stored file, so that both can move together.
fs::path folder_of(const std::string& file) { return fs::absolute(file).parent_path(); }
fs::path stored_path(const fs::path& path, const std::string& file) {
  return fs::absolute(path).lexically_normal().lexically_relative(folder_of(file));
}

// A process that runs turns with a model. `program`: ours where it is empty.
StartSide side(const GateFlags& flags, const std::string& program, const std::string& model) {
  std::vector<std::string> command = {program.empty() ? "/proc/self/exe" : program,
                                      "gate",
                                      "--turns",
                                      "--prompt-tokens",
                                      std::to_string(flags.options.speed.prompt_tokens),
                                      "--gen-tokens",
                                      std::to_string(flags.options.speed.gen_tokens),
                                      "--kv-cache",
                                      std::string(name(flags.options.kv_cache))};
  const std::vector<std::string> opening = opening_flags();
  command.insert(command.end(), opening.begin(), opening.end());
  return [command, model](int threads) {
    std::vector<std::string> whole = command;
    whole.insert(whole.end(), {"--threads", std::to_string(threads), "--", model});
    return start_turns(whole);
  };
}

void complete(GateFlags& flags, const Team& team) {
  GateOptions& options = flags.options;
  options.model = flags.model;
  options.baseline = flags.baseline;
  options.text_file = flags.text;
  options.program = version_text();
  options.budgets.speed.max_slowdown = flags.max_slowdown_percent / 100;
  options.text = read_text(flags.text);
  if (options.characters) options.text = first_characters(options.text, options.characters);
  options.speed = fitted(options.speed, read_model_spec(ModelFile(options.model)).max_position_embeddings);
  options.memory_child = memory_child(options.speed, team.size(), options.model);
}

GateTask read_task(const TaskSource& source, int64_t shots, int64_t limit) {
  GateTask task{source, read_text(source.file), shots, limit};
  check_shots(parse_task(task.text, source), shots);
  return task;
}

void write_stored(const GateFlags& flags, const std::string& file, GateBaseline stored,
                  std::vector<GateChange> history) {
  stored.history = std::move(history);
  stored.history.push_back(
      {utc_now(), flags.by.empty() ? user() : flags.by, flags.reason, flags.options.program});
  GateInputs& inputs = stored.inputs;
  for (fs::path* path : {&inputs.model, &inputs.baseline, &inputs.text}) *path = stored_path(*path, file);
  for (TaskRecord& task : stored.tasks) task.file = stored_path(task.file, file);
  write_json(file, gate_baseline_json(stored));
}

void store(GateFlags& flags, StageLines& lines) {
  if (fs::exists(flags.store))
    fail("{}: is there already; --against it with --update moves it", quote(flags.store));
  check_report_path(flags.store);
  check_baseline(flags.baseline);
  if (flags.kv_cache) flags.options.kv_cache = *flags.kv_cache;
  const Team team(flags.threads);
  complete(flags, team);
  for (const std::string& given : flags.tasks)
    flags.options.tasks.push_back(read_task(task_source(given), flags.shots, flags.limit));
  if (flags.reason.empty()) flags.reason = "first";
  const GateBaseline stored =
      measure_gate_baseline(flags.options, team, [&](const std::string& stage, int64_t done, int64_t total) {
        lines.update(stage, done, total, flags.model);
      });
  lines.finish();
  write_stored(flags, flags.store, stored, {});
  fmt::print("{}: stored in {}\n", printable(flags.model), printable(flags.store));
}

// Where the stored file says that something lies. It may be a stranger's, and can name anything: what is read
// is said before, and no device is.
std::string stored_place(const GateFlags& flags, const char* what, const fs::path& stored) {
  const fs::path path = (folder_of(flags.against) / stored).lexically_normal();
  std::error_code ignored;
  if (fs::exists(path, ignored) && !fs::is_regular_file(path, ignored) && !fs::is_directory(path, ignored))
    fail("{}: field {}: {} is neither a file nor a folder", quote(flags.against), quote(what),
         quote(path.string()));
  fmt::print(stderr, "whittle: {} names the {} {}\n", printable(flags.against), what,
             printable(path.string()));
  return path;
}

// What the stored file says of how it was measured, where no flag says otherwise.
void apply_stored(GateFlags& flags, const GateInputs& stored) {
  if (flags.baseline.empty()) flags.baseline = stored_place(flags, "baseline", stored.baseline);
  if (flags.text.empty()) flags.text = stored_place(flags, "text", stored.text);
  flags.options.context = stored.context;
  flags.options.characters = stored.characters;
  constexpr std::string_view without_bos = " without BOS";
  flags.options.protocol = stored.protocol;
  if (flags.options.protocol.ends_with(without_bos))
    flags.options.protocol.resize(flags.options.protocol.size() - without_bos.size());
  flags.options.kv_cache = flags.kv_cache.value_or(stored.kv_cache);
}

// The questions that were asked, from where they lie now.
std::vector<GateTask> stored_tasks(const GateFlags& flags, const nlohmann::json& stored) {
  const std::vector<TaskRecord> records = read_gate_tasks(stored, flags.against);
  if (!flags.tasks.empty() && flags.tasks.size() != records.size())
    throw CLI::ValidationError("--tasks", fmt::format("expected {} files, as many as are stored, found {}",
                                                      records.size(), flags.tasks.size()));
  std::vector<GateTask> tasks;
  for (size_t i = 0; i < records.size(); ++i) {
    const TaskRecord& record = records[i];
    const std::string file =
        flags.tasks.empty() ? stored_place(flags, "tasks", record.file) : task_source(flags.tasks[i]).file;
    tasks.push_back(read_task({file, find_glue_task(record.glue)}, record.shots, record.limit));
  }
  return tasks;
}

// The two sides whose speed is compared. Whether they can run is found before all else is measured.
void set_turns(GateFlags& flags, int team_size) {
  const std::string& old = flags.old_model.empty() ? flags.model : flags.old_model;
  check_turns_memory(old, flags.model, read_machine());
  if (!flags.build.empty()) {
    constexpr double patience_seconds = 60;
    const ChildReport child = run_child({flags.build, "--version"}, {patience_seconds, true});
    if (child.exit_code != 0) fail("{}: is no build of this program", quote(flags.build));
  }
  // A thread beside another program's waits, and the others for it: a speed without neighbours tells more.
  const auto free_threads = [asked = flags.threads, team_size] {
    return asked ? asked : threads_without_neighbours(team_size);
  };
  flags.options.turns = {side(flags, flags.build, old), side(flags, "", flags.model), free_threads};
}

int exit_code(Outcome outcome) {
  switch (outcome) {
    case Outcome::regression: return exit_gate;
    case Outcome::inconclusive: return exit_inconclusive;
    case Outcome::incomparable: return exit_incomparable;
    case Outcome::not_judged:
    case Outcome::pass: break;
  }
  return exit_done;
}

void check(GateFlags& flags, StageLines& lines) {
  for (const std::string& path : {flags.json, flags.junit, flags.markdown})
    if (!path.empty()) check_report_path(path);
  const nlohmann::json stored = read_json_file(flags.against, most_bytes);
  const GateInputs inputs = read_gate_inputs(stored, flags.against);
  if (!flags.baseline.empty()) check_baseline(flags.baseline);
  apply_stored(flags, inputs);
  flags.options.tasks = stored_tasks(flags, stored);
  const Team team(flags.threads ? flags.threads : inputs.threads);
  complete(flags, team);
  if (!flags.build.empty() || !flags.old_model.empty()) set_turns(flags, team.size());
  const auto progress = [&](const std::string& stage, int64_t done, int64_t total) {
    lines.update(stage, done, total, flags.model);
  };
  const GateReport report = check_gate(stored, flags.against, flags.options, team, progress);
  lines.finish();
  if (flags.json != "-" && flags.junit != "-" && flags.markdown != "-") std::cout << gate_report_text(report);
  if (!flags.json.empty()) write_json(flags.json, gate_report_json(report));
  if (!flags.junit.empty()) write_report(flags.junit, gate_report_junit(report));
  if (!flags.markdown.empty()) write_report(flags.markdown, gate_report_markdown(report));
  if (flags.update) {
    check_baseline(flags.baseline);
    const GateBaseline next = measure_gate_baseline(flags.options, team, progress);
    lines.finish();
    write_stored(flags, flags.against, next, read_history(stored, flags.against));
    fmt::print(stderr, "whittle: {}: moved to {}\n", printable(flags.against), printable(flags.model));
    return;
  }
  for (const Check& found : report.checks)
    if (found.outcome != Outcome::pass && found.outcome != Outcome::not_judged)
      fmt::print(stderr, "whittle: {}: {}: {}\n", name(found.outcome), printable(found.name),
                 printable(found.reason));
  if (const int code = exit_code(report.outcome())) throw CLI::RuntimeError(code);
}

void run(GateFlags& flags, const CLI::App& command) {
  if (flags.turns) {
    const SpeedOptions& speed = flags.options.speed;
    return serve_turns(flags.model, Team(flags.threads),
                       {speed.prompt_tokens, speed.gen_tokens, flags.kv_cache.value_or(KvFormat::f16)});
  }
  StageLines lines;
  if (!flags.store.empty()) {
    refuse_void(command, {"--build", "--old-model", "--update", "--json", "--junit", "--markdown"},
                "--store measures, and compares nothing");
    for (const auto& [flag, value] : {std::pair{"--baseline", &flags.baseline}, {"--text", &flags.text}})
      if (value->empty())
        throw CLI::ValidationError(flag, "is needed where --store measures for the first time");
    return store(flags, lines);
  }
  if (flags.against.empty()) throw CLI::ValidationError("gate", "--store or --against is required");
  refuse_void(command, {"--context", "--characters", "--protocol", "--shots", "--limit"},
              "the stored file says it");
  if (flags.update && flags.reason.empty())
    throw CLI::ValidationError("--update", "needs --reason: who reads it later wants to know why");
  if (!flags.update) refuse_void(command, {"--reason", "--by"}, "nothing is stored without --update");
  check(flags, lines);
}

void add_budgets(CLI::App& command, GateFlags& flags) {
  GateBudgets& budgets = flags.options.budgets;
  const auto add = [&](const char* flag, auto& value, const char* unit, const char* help) {
    return command.add_option(flag, value, help)->type_name(unit)->check(number(0, 1e9, "0 or more"));
  };
  add("--max-kl", budgets.kl, "NATS",
      "Budget: by how much the mean KL divergence may rise (default: 2 % of what is stored)");
  add("--max-perplexity-increase", budgets.perplexity_increase_percent, "PERCENT", "Budget")
      ->capture_default_str();
  add("--max-top-loss", budgets.top_loss_points, "POINTS",
      "Budget: percentage points of tokens that were predicted right")
      ->capture_default_str();
  add("--max-task-loss", budgets.task_loss_points, "POINTS",
      "Budget: percentage points of a task's questions that were answered right")
      ->capture_default_str();
  add("--max-slowdown", flags.max_slowdown_percent, "PERCENT", "Budget: the smallest effect that matters")
      ->capture_default_str();
  add("--max-size-increase", budgets.size_increase_percent, "PERCENT",
      "Budget: of files, packed weights and KV cache")
      ->capture_default_str();
  add("--max-memory-increase", budgets.memory_increase_percent, "PERCENT",
      "Budget: of the peak, but at least 2 MiB")
      ->capture_default_str();
  add("--speed-seconds", budgets.speed.most_seconds, "SECONDS",
      "How long the speed may be looked at before it stays inconclusive")
      ->capture_default_str();
}

}  // namespace

void add_gate(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "gate", "Stores what a good model says, weighs and takes, and holds later ones against it");
  static GateFlags flags;
  constexpr int64_t most = 1 << 24;
  const auto add_name = [&](const char* flag, std::string& value, const char* type, const char* help) {
    return command->add_option(flag, value, help)->type_name(type)->check(not_empty());
  };
  command->add_option("MODEL", flags.model, "Folder of the model to judge")->required()->check(not_empty());
  CLI::Option* stores = add_name("--store", flags.store, "FILE", "Measure, and write what was found there");
  add_name("--against", flags.against, "FILE", "Measure, and compare with what is stored there")
      ->excludes(stores);
  add_name("--baseline", flags.baseline, "SRC", "Folder of the original weights (default: as stored)");
  add_name("--text", flags.text, "FILE", "Text file to score (default: as stored)");
  add_characters(*command, flags.options.characters);
  command->add_option("--context", flags.options.context, "Tokens of a window, BOS included")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 30).description(""));
  command->add_option("--protocol", flags.options.protocol, "How the text is cut and scored")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>{"windows", "llama.cpp", "gptq"}));
  command
      ->add_option(
          "--tasks", flags.tasks,
          "Files of questions to ask too, as `whittle tasks` takes them; --against: where the stored ones "
          "lie now")
      ->type_name("FILE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(not_empty());
  command->add_option("--shots", flags.shots, "As in tasks")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""));
  command->add_option("--limit", flags.limit, "As in tasks; 0: all questions")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""));
  add_name("--build", flags.build, "WHITTLE",
           "An older build of this program: both run the model, in turns, and the speed is judged");
  add_name("--old-model", flags.old_model, "DIR",
           "An older model: both run, in turns, and the speed is judged");
  add_budgets(*command, flags);
  command->add_flag("--update", flags.update, "Then make this model the stored one, whatever was found");
  add_name("--reason", flags.reason, "TEXT", "Why it becomes the stored one");
  add_name("--by", flags.by, "NAME", "Who says so (default: $USER)");
  add_name("--junit", flags.junit, "FILE", "Write the checks as JUnit's XML");
  add_name("--markdown", flags.markdown, "FILE", "Write the checks as Markdown, for the summary of a job");
  command->add_option("--prompt-tokens", flags.options.speed.prompt_tokens, "Length of a prompt, for speed")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, most).description(""));
  command->add_option("--gen-tokens", flags.options.speed.gen_tokens, "Tokens decoded after it")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, most).description(""));
  command->add_flag("--turns", flags.turns)->group("");
  add_optional_kv_cache(*command, flags.kv_cache);
  add_opening_flags(*command);
  add_threads(
      *command, flags.threads,
      "as stored, else one per physical core, and in turns at most as many as other programs leave idle");
  add_json(*command, flags.json);
  command->footer(
      "Exit codes: 0 pass, 1 failed to run, 2 usage, 3 regression, 4 inconclusive, 5 not comparable.\n"
      "Examples:\n"
      "  whittle gate model-int8 --baseline model --text story.txt --store gate.json\n"
      "  whittle gate model-int8 --against gate.json --markdown summary.md --junit gate.xml\n"
      "  whittle gate model-int8 --against gate.json --build old/whittle\n"
      "  whittle gate model-int4 --against gate.json --update --reason 'INT4 is enough for us'");
  command->callback([command] { run(flags, *command); });
}

}  // namespace whittle
