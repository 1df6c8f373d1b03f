#include "bench/summary.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "bench/peak_memory.h"
#include "bench/requests.h"
#include "engine/kv_cache.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

// The windows of the text, in the baseline's tokens.
Windows drift_windows(const std::filesystem::path& baseline, const Tokenizer& tokenizer,
                      const std::string& text) {
  constexpr int64_t longest = 512;
  const ModelSpec spec = read_model_spec(ModelFile(baseline));
  return text_windows(tokenizer, text, std::min(longest, spec.max_position_embeddings), "windows");
}

void measure_drifts(const BenchOptions& options, const std::vector<std::filesystem::path>& folders,
                    const Team& team, const Tokenizer& tokenizer, BenchReport& report,
                    const BenchProgress& progress) {
  const Model baseline(folders.front(), team);
  for (size_t i = 1; i < folders.size(); ++i) {
    const Model model(folders[i], team);
    report.models[i].drift =
        measure_drift(baseline, model, team, report.windows, options.points.front().speed.kv_cache,
                      &tokenizer, [&](int64_t done, int64_t total) {
                        const int64_t before = static_cast<int64_t>(i - 1) * total;
                        const int64_t all = static_cast<int64_t>(folders.size() - 1) * total;
                        if (progress) progress("drift", before + done, all, report.models[i].speed().name);
                      });
  }
}

// The point whose KV caches take the most memory; of prompts of a file, made as long as the longest of them.
SweepPoint largest_point(const std::filesystem::path& folder, std::vector<SweepPoint> points) {
  const ModelSpec spec = read_model_spec(ModelFile(folder));
  std::optional<Tokenizer> tokenizer;
  const auto bytes = [&](const SweepPoint& point) {
    const SpeedOptions& speed = point.speed;
    return speed.sequences *
           KvCache::bytes(spec, speed.kv_cache, speed.context + speed.prompt_tokens + speed.gen_tokens);
  };
  for (SweepPoint& point : points) {
    if (point.speed.prompts.empty()) continue;
    if (!tokenizer) tokenizer = Tokenizer::open_if_any(folder);
    const std::vector<Request> requests =
        make_requests(spec, tokenizer ? &*tokenizer : nullptr, folder, point.speed);
    const auto total = [](const Request& request) {
      return static_cast<int64_t>(request.prompt.ids.size()) + request.gen_tokens;
    };
    const Request& most = *std::ranges::max_element(requests, {}, total);
    point.speed.prompt_tokens = static_cast<int64_t>(most.prompt.ids.size());
    point.speed.gen_tokens = most.gen_tokens;
  }
  return *std::ranges::max_element(points, {}, bytes);
}

// What a team of each number of threads is needed for.
using Teams = std::map<int, Team>;

std::vector<SpeedSetting> settings_of(const std::vector<SweepPoint>& points, Teams& teams) {
  std::vector<SpeedSetting> settings;
  for (const SweepPoint& point : points)
    settings.push_back({&teams.try_emplace(point.threads, point.threads).first->second, point.speed});
  return settings;
}

void measure_cells(const BenchOptions& options, const std::vector<std::filesystem::path>& folders,
                   const std::vector<SpeedSetting>& settings, BenchReport& report,
                   const BenchProgress& progress) {
  const auto tell = [&](const char* phase) {
    return [&progress, phase](int64_t done, int64_t total, const std::string& model) {
      if (progress) progress(phase, done, total, model);
    };
  };
  if (options.goal == Goal::throughput) {
    for (ThroughputSearch& search :
         find_throughput(folders, settings, options.throughput, tell("throughput"))) {
      ModelSummary& model = report.models[search.folder];
      std::ranges::move(search.tried, std::back_inserter(model.cells));
      search.tried.clear();
      model.searches.push_back(std::move(search));
    }
    report.alternated = report.models.size() == 1 && settings.size() == 1;
    return;
  }
  SpeedReports speeds = measure_speed(folders, settings, tell("speed"));
  report.alternated = speeds.alternated;
  for (size_t i = 0; i < speeds.models.size(); ++i)
    report.models[i / settings.size()].cells.push_back(std::move(speeds.models[i]));
}

}  // namespace

BenchReport measure_models(const BenchOptions& options, const BenchProgress& progress) {
  BenchReport report;
  report.points = options.points;
  report.prompts = std::ssize(options.points.front().speed.prompts);
  report.goal = options.goal;
  report.throughput = options.throughput;
  report.has_baseline = options.baseline.has_value();
  std::vector<std::filesystem::path> folders;
  if (options.baseline) folders.push_back(*options.baseline);
  folders.insert(folders.end(), options.models.begin(), options.models.end());
  for (const std::filesystem::path& folder : folders)
    if (report.prompts == 0)
      for (const SweepPoint& point : options.points)
        check_context(read_model_spec(ModelFile(folder)), folder, point.speed);

  std::optional<Tokenizer> tokenizer;
  if (options.text) {
    if (!options.baseline) fail_option("text", "drift is measured against a baseline, and there is none");
    tokenizer = Tokenizer::open(folders.front());
    report.windows = drift_windows(folders.front(), *tokenizer, *options.text);
    for (const std::filesystem::path& folder : options.models)
      check_drift(read_model_spec(ModelFile(*options.baseline)), read_model_spec(ModelFile(folder)),
                  report.windows);
  }

  // Before this process takes memory itself, and all at once, so that a prompt that does not fit is found.
  std::vector<SweepPoint> largest;
  for (const std::filesystem::path& folder : folders)
    largest.push_back(largest_point(folder, options.points));
  report.models.resize(folders.size());
  for (size_t i = 0; i < folders.size(); ++i) {
    report.models[i].peak_rss_bytes = measure_peak_memory(options.memory_child(folders[i], largest[i]));
    if (progress)
      progress("peak memory", static_cast<int64_t>(i + 1), static_cast<int64_t>(folders.size()),
               folders[i].string());
  }
  const auto most_threads = [](const SweepPoint& point) {
    return point.threads ? point.threads : physical_cores();
  };
  report.machine = report_machine(most_threads(*std::ranges::max_element(options.points, {}, most_threads)),
                                  kernels().name);

  Teams teams;
  const std::vector<SpeedSetting> settings = settings_of(options.points, teams);
  measure_cells(options, folders, settings, report, progress);
  if (tokenizer) measure_drifts(options, folders, *settings.front().team, *tokenizer, report, progress);
  return report;
}

}  // namespace whittle
