#include "bench/summary.h"

#include <algorithm>

#include "bench/peak_memory.h"
#include "bench/prompt.h"
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
        measure_drift(baseline, model, team, report.windows, options.speed.kv_cache, &tokenizer,
                      [&](int64_t done, int64_t total) {
                        const int64_t before = static_cast<int64_t>(i - 1) * total;
                        const int64_t all = static_cast<int64_t>(folders.size() - 1) * total;
                        if (progress) progress("drift", before + done, all, report.models[i].speed.name);
                      });
  }
}

}  // namespace

BenchReport measure_models(const BenchOptions& options, const BenchProgress& progress) {
  BenchReport report;
  report.options = options.speed;
  report.has_baseline = options.baseline.has_value();
  std::vector<std::filesystem::path> folders;
  if (options.baseline) folders.push_back(*options.baseline);
  folders.insert(folders.end(), options.models.begin(), options.models.end());
  for (const std::filesystem::path& folder : folders)
    check_context(read_model_spec(ModelFile(folder)), folder, options.speed);

  std::optional<Tokenizer> tokenizer;
  if (options.text) {
    if (!options.baseline) fail_option("text", "drift is measured against a baseline, and there is none");
    tokenizer = Tokenizer::open(folders.front());
    report.windows = drift_windows(folders.front(), *tokenizer, *options.text);
    for (const std::filesystem::path& folder : options.models)
      check_drift(read_model_spec(ModelFile(*options.baseline)), read_model_spec(ModelFile(folder)),
                  report.windows);
  }

  // Before this process takes memory itself.
  std::vector<int64_t> peaks;
  for (const std::filesystem::path& folder : folders) {
    peaks.push_back(measure_peak_memory(options.memory_child(folder)));
    if (progress)
      progress("peak memory", static_cast<int64_t>(peaks.size()), static_cast<int64_t>(folders.size()),
               folder.string());
  }
  report.machine = report_machine(options.threads, kernels().name);

  const Team team(options.threads);
  SpeedReports speeds =
      measure_speed(folders, team, options.speed, [&](int64_t done, int64_t total, const std::string& model) {
        if (progress) progress("speed", done, total, model);
      });
  report.alternated = speeds.alternated;
  for (size_t i = 0; i < folders.size(); ++i)
    report.models.push_back({std::move(speeds.models[i]), peaks[i], std::nullopt});
  if (tokenizer) measure_drifts(options, folders, team, *tokenizer, report, progress);
  return report;
}

}  // namespace whittle
