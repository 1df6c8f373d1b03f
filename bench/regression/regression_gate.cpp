#include "bench/regression/regression_gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bench/peak_memory.h"
#include "bench/regression/paired_check.h"
#include "bench/reports/figures.h"
#include "bench/reports/table.h"
#include "engine/files/file_hash.h"
#include "engine/files/model_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

// The model, its tokenizer, and the windows that the text gives it.
struct Judged {
  Judged(const GateOptions& options, const Team& team)
      : tokenizer(Tokenizer::open(options.model)),
        windows(text_windows(tokenizer, options.text, options.context, options.protocol)),
        model(options.model, team) {}
  Tokenizer tokenizer;
  Windows windows;
  Model model;
};

// Tokens that decoding leaves out.
std::map<std::string, int32_t> special_tokens(const Tokenizer& tokenizer) {
  std::map<std::string, int32_t> tokens;
  const auto count =
      static_cast<int32_t>(std::min<int64_t>(tokenizer.vocab_size(), std::numeric_limits<int32_t>::max()));
  for (int32_t id = 0; id < count; ++id)
    if (const std::string text = tokenizer.decode({&id, 1}, true);
        !text.empty() && tokenizer.decode({&id, 1}, false).empty())
      tokens.emplace(text, id);
  return tokens;
}

// model: what is judged.
GateInputs inputs_of(const GateOptions& options, const Judged& judged, const Team& team,
                     const ModelFingerprint& model) {
  GateInputs inputs;
  inputs.text_hash = hash_of(options.text);
  inputs.context = options.context;
  inputs.characters = options.characters;
  inputs.protocol = judged.windows.protocol;
  inputs.vocab_size = judged.model.spec().vocab_size;
  inputs.windows_hash = hash_of_windows(judged.windows.ids);
  inputs.special_tokens = special_tokens(judged.tokenizer);
  inputs.eos_token_ids = judged.model.spec().eos_token_ids;
  inputs.model_hash = model.weights_hash;
  inputs.tokenizer_hash = model.tokenizer_hash;
  inputs.kv_cache = options.kv_cache;
  inputs.program = options.program;
  inputs.cpu = read_machine().cpu;
  inputs.isa = kernels().name;
  inputs.threads = team.size();
  inputs.model = options.model;
  inputs.baseline = options.baseline;
  inputs.text = options.text_file;
  return inputs;
}

// The models are those already hashed.
Fingerprint fingerprint_of(const GateOptions& options, const Team& team, const ModelFingerprint& model,
                           const ModelFingerprint& baseline) {
  Fingerprint fingerprint{.threads = team.size(), .models = {model, baseline}};
  fingerprint.texts = {fingerprint_of_text(options.text_file, options.text)};
  for (const GateTask& task : options.tasks)
    fingerprint.tasks.push_back(fingerprint_of_text(task.source.file, task.text));
  return fingerprint;
}

// What is measured against the unquantized weights.
struct BesideBaseline {
  AccuracyRecord accuracy;
  LayerErrors layers;  // empty where the shapes of the layers differ
};
BesideBaseline measure_beside(const GateOptions& options, const Judged& judged, const Team& team,
                              const GateProgress& progress) {
  const auto stage = [&](const char* name) {
    return [&progress, name](int64_t done, int64_t total) { progress(name, done, total); };
  };
  const Model baseline(options.baseline, team);
  BesideBaseline found;
  found.accuracy =
      record_accuracy(baseline, judged.model, team, judged.windows, options.kv_cache, stage("drift"));
  if (same_layers(baseline.spec(), judged.model.spec()))
    found.layers = layer_errors(
        measure_layer_drift(baseline, judged.model, team, judged.windows, options.kv_cache, stage("layers")));
  return found;
}

std::vector<TaskRecord> ask(const GateOptions& options, const Judged& judged, const Team& team,
                            const GateProgress& progress) {
  std::vector<TaskRecord> records;
  for (const GateTask& task : options.tasks) {
    const TaskOptions asked{.shots = task.shots, .limit = task.limit, .kv_cache = options.kv_cache};
    records.push_back(record_task(
        task, measure_task(judged.model, judged.tokenizer, team, parse_task(task.text, task.source), asked,
                           [&](int64_t done, int64_t total) { progress("tasks", done, total); })));
  }
  return records;
}

SizeRecord measure_size(const GateOptions& options, const Judged& judged, const GateProgress& progress) {
  constexpr int64_t runs = 3;
  SizeRecord size;
  const ModelSpec& spec = judged.model.spec();
  size.disk_bytes = model_size(ModelFile(options.model), spec).disk_bytes;
  size.weights_bytes = judged.model.weight_bytes();
  size.kv_cache_bytes =
      KvCache::bytes(spec, options.kv_cache, options.speed.prompt_tokens + options.speed.gen_tokens);
  for (int64_t run = 0; run < runs; ++run) {
    const int64_t peak = measure_peak_memory(options.memory_child);
    size.peak_rss_bytes = run ? std::min(size.peak_rss_bytes, peak) : peak;
    progress("peak memory", run + 1, runs);
  }
  return size;
}

// All metrics in one family of tests. tasks: of the model now, as many as before.
std::vector<Check> check_accuracy(const GateBaseline& stored, const AccuracyRecord& now,
                                  const std::vector<TaskRecord>& tasks, const Windows& windows,
                                  const GateBudgets& budgets) {
  const AccuracyRecord& before = stored.accuracy;
  const double kl = mean(before.window_kl), kl_budget = budgets.kl.value_or(default_kl_share * kl);
  // A tail varies more than a mean, and may grow by a larger share.
  constexpr double tail = 5;
  const double p99_budget = kl > 0 ? tail * kl_budget / kl * mean(before.window_kl_p99) : 0;
  std::vector<PairedMetric> metrics(4);
  metrics[0] = {.name = "perplexity",
                .before = before.window_nll,
                .now = now.window_nll,
                .shown = [](double nll) { return std::exp(nll); },
                .budget = std::log1p(budgets.perplexity_increase_percent / 100),
                .change_unit = "%",
                .change_scale = 100};
  metrics[1] = {.name = "KL divergence",
                .unit = "nats",
                .before = before.window_kl,
                .now = now.window_kl,
                .budget = kl_budget,
                .change_unit = "nats"};
  metrics[2] = {.name = "KL divergence, p99 of a window",
                .unit = "nats",
                .before = before.window_kl_p99,
                .now = now.window_kl_p99,
                .budget = p99_budget,
                .change_unit = "nats"};
  metrics[3] = {.name = "most likely token",
                .unit = "% right",
                .before = window_top_accuracy(before, windows),
                .now = window_top_accuracy(now, windows),
                .shown = [](double fraction) { return 100 * fraction; },
                .higher_is_better = true,
                .budget = budgets.top_loss_points / 100,
                .change_unit = "points",
                .change_scale = 100};
  const size_t first_task = metrics.size();
  for (size_t i = 0; i < tasks.size(); ++i)
    metrics.push_back(task_metric(stored.tasks[i], tasks[i], budgets.task_loss_points));
  std::vector<Check> checks = judge_paired(metrics);
  for (size_t i = 0; i < tasks.size(); ++i)
    checks[first_task + i].reason += "; " + flips_text(stored.tasks[i], tasks[i]);
  return checks;
}

// Figures that do not vary: a growth within `budget_percent`, or within `slack` bytes, passes.
Check check_bytes(const std::string& name, int64_t before, int64_t now, double budget_percent,
                  int64_t slack) {
  Check check{.name = name, .unit = "bytes"};
  const auto base = static_cast<double>(before), grown = static_cast<double>(now - before);
  check.before = base;
  check.now = static_cast<double>(now);
  check.change_unit = "%";
  const double percent = 100 * grown / base;
  check.change = {percent, percent, percent};
  check.budget = std::max(budget_percent, 100 * static_cast<double>(slack) / base);
  check.outcome = percent <= check.budget ? Outcome::pass : Outcome::regression;
  check.reason = now == before
                     ? "the same"
                     : fmt::format("{} {} by {} ({} %), the budget is {} %", format_bytes(check.now),
                                   now > before ? "more" : "less", format_bytes(std::abs(grown)),
                                   format_signed(percent, 2), format_number(check.budget));
  return check;
}

std::vector<Check> check_size(const SizeRecord& before, const SizeRecord& now,
                              const GateInputs& inputs_before, const GateInputs& inputs_now,
                              const GateBudgets& budgets) {
  std::vector<Check> checks = {
      check_bytes("size on disk", before.disk_bytes, now.disk_bytes, budgets.size_increase_percent, 0)};
  Check packed = check_bytes("packed weights", before.weights_bytes, now.weights_bytes,
                             budgets.size_increase_percent, 0);
  Check cache =
      check_bytes("KV cache", before.kv_cache_bytes, now.kv_cache_bytes, budgets.size_increase_percent, 0);
  Check peak = check_bytes("peak memory", before.peak_rss_bytes, now.peak_rss_bytes,
                           budgets.memory_increase_percent, budgets.memory_slack_bytes);
  const bool same_machine =
      inputs_before.isa == inputs_now.isa && inputs_before.threads == inputs_now.threads;
  for (Check* check : {&packed, &peak})
    if (!same_machine) {
      check->outcome = Outcome::not_judged;
      check->reason = fmt::format("stored with {} and {} threads, measured with {} and {}", inputs_before.isa,
                                  inputs_before.threads, inputs_now.isa, inputs_now.threads);
    }
  checks.insert(checks.end(), {packed, cache, peak});
  return checks;
}

Check speed_check(const PairedPhase& phase, const PairedSpeed& speed, const PairedSpeedOptions& options,
                  int threads) {
  const auto percent = [](double logarithm) {
    return std::isfinite(logarithm) ? 100 * std::expm1(logarithm) : logarithm;
  };
  const auto in_percent = [&](const Interval& interval) {
    return Interval{percent(interval.mean), percent(interval.low), percent(interval.high)};
  };
  Check check{.name = phase.name + " time", .outcome = phase.outcome, .change_unit = "%"};
  check.change = in_percent(phase.change_interval);
  check.budget = 100 * options.max_slowdown;
  if (phase.change.empty()) {
    check.change.mean = std::numeric_limits<double>::quiet_NaN();
    check.reason = fmt::format("no round in which all sides kept their CPUs; {} were too disturbed",
                               speed.dropped_rounds);
    return check;
  }
  check.reason = fmt::format(
      "{} % time ({:g} % interval {}), the budget is {} %; the same program against itself: {} "
      "({} rounds{}, {} turns, {} of {} threads)",
      format_signed(check.change.mean, 2), 100 * options.confidence, format_interval(check.change, " %"),
      format_number(check.budget), format_interval(in_percent(phase.control_interval), " %"), speed.rounds,
      speed.dropped_rounds ? fmt::format(" and {} too disturbed", speed.dropped_rounds) : "", speed.turns,
      speed.threads, threads);
  return check;
}

}  // namespace

void check_turns_memory(const fs::path& before, const fs::path& now, const Machine& machine) {
  // Packed, a model takes about what it takes on disk.
  const auto bytes = [](const fs::path& folder) {
    const ModelFile file(folder);
    return static_cast<double>(model_size(file, read_model_spec(file)).disk_bytes);
  };
  const double needed = 2 * bytes(before) + bytes(now);
  const auto available = static_cast<double>(machine.memory_available_bytes);
  if (available > 0 && needed > available)
    fail("speed in turns takes three processes with a model each, about {} together, and {} are available",
         format_bytes(needed), format_bytes(available));
}

GateBaseline measure_gate_baseline(const GateOptions& options, const Team& team,
                                   const GateProgress& progress) {
  GateBaseline stored;
  {
    const Judged judged(options, team);
    const ModelFingerprint model = fingerprint_of("model", options.model),
                           baseline = fingerprint_of("baseline", options.baseline);
    stored.fingerprint = fingerprint_of(options, team, model, baseline);
    stored.inputs = inputs_of(options, judged, team, model);
    stored.inputs.baseline_hash = baseline.weights_hash;
    BesideBaseline beside = measure_beside(options, judged, team, progress);
    stored.accuracy = std::move(beside.accuracy);
    stored.layers = std::move(beside.layers);
    stored.tasks = ask(options, judged, team, progress);
    stored.size = measure_size(options, judged, progress);
  }
  const SpeedReports speed =
      measure_speed({&options.model, 1}, team, options.speed,
                    [&](int64_t done, int64_t total, const std::string&) { progress("speed", done, total); });
  stored.speed = speed_record(speed.models.front());
  return stored;
}

GateReport check_gate(const nlohmann::json& json, const std::string& what, const GateOptions& options,
                      const Team& team, const GateProgress& progress) {
  GateReport report;
  report.model = folder_name(options.model);
  const GateInputs before = read_gate_inputs(json, what);
  {
    const Judged judged(options, team);
    // Read only where it is needed: the stored hash stands for one that is not there.
    const bool there = fs::exists(options.baseline / "config.json");
    const ModelFingerprint model = fingerprint_of("model", options.model);
    ModelFingerprint baseline{"baseline", folder_name(options.baseline), before.baseline_hash};
    if (there) baseline = fingerprint_of("baseline", options.baseline);
    report.fingerprint = fingerprint_of(options, team, model, baseline);
    report.inputs = inputs_of(options, judged, team, model);
    report.inputs.baseline_hash = baseline.weights_hash;
    report.checks = check_inputs(before, report.inputs);
    if (verdict(report.checks) != Outcome::pass) return report;
    const GateBaseline stored =
        read_gate_baseline(json, what, judged.windows, judged.model.spec().vocab_size);
    const std::vector<Check> other_tasks = check_task_inputs(stored.tasks, options.tasks);
    report.checks.insert(report.checks.end(), other_tasks.begin(), other_tasks.end());
    if (verdict(report.checks) != Outcome::pass) return report;
    report.stored = stored.history.back();
    report.speed_before = stored.speed;
    std::vector<Check> checks;
    if (same_bits(judged.model, team, judged.windows, options.kv_cache, stored.accuracy,
                  [&](int64_t done, int64_t total) { progress("text", done, total); })) {
      checks = {{.name = "accuracy", .outcome = Outcome::pass}};
      checks.front().reason = "the same bits";
    } else {
      if (!there)
        fail(
            "{}: no model there, and the model's answers are not those stored: what they lost shows only "
            "against the unquantized baseline",
            quote(options.baseline.string()));
      const BesideBaseline beside = measure_beside(options, judged, team, progress);
      checks = check_accuracy(stored, beside.accuracy, ask(options, judged, team, progress), judged.windows,
                              options.budgets);
      if (verdict(checks) != Outcome::pass) report.suspects = suspects(stored.layers, beside.layers);
    }
    report.checks.insert(report.checks.end(), checks.begin(), checks.end());
    checks = check_size(stored.size, measure_size(options, judged, progress), before, report.inputs,
                        options.budgets);
    report.checks.insert(report.checks.end(), checks.begin(), checks.end());
  }
  if (!options.turns.before) {
    Check speed{.name = "speed"};
    speed.reason = "needs what was there before, to run in turns with it";
    report.checks.push_back(speed);
    return report;
  }
  report.speed = compare_speed(options.turns, options.budgets.speed,
                               [&](int64_t done, int64_t total) { progress("speed", done, total); });
  for (const PairedPhase* phase : {&report.speed->prefill, &report.speed->decode})
    report.checks.push_back(speed_check(*phase, *report.speed, options.budgets.speed, team.size()));
  return report;
}

}  // namespace whittle
