#include "bench/goal.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "bench/machine.h"
#include "bench/probe.h"
#include "bench/subject.h"
#include "engine/kv_cache.h"

namespace whittle {
namespace {

// How many sequences' caches fit, at least one.
int64_t sequences_that_fit(const Model& model, const SpeedOptions& options) {
  const int64_t available = read_machine().memory_available_bytes;
  const int64_t positions = options.context + options.prompt_tokens + options.gen_tokens;
  const int64_t each = KvCache::bytes(model.spec(), options.kv_cache, positions);
  return available && each ? std::max<int64_t>(1, available / 10 * 7 / each) : INT64_MAX;
}

ThroughputSearch find_one(const std::shared_ptr<const LoadedModel>& loaded, const SpeedReport& described,
                          const SpeedSetting& setting, const ThroughputGoal& goal, const ProbeBuffer& buffer,
                          const std::function<void(int64_t sequences)>& progress) {
  ThroughputSearch found;
  const int64_t fit = sequences_that_fit(loaded->model, setting.options);
  const int64_t most = std::min(goal.max_sequences, fit);
  SpeedOptions options = setting.options;
  options.sequences = 1;
  Subject subject(loaded, *setting.team, options, most);
  subject.warm_up();
  found.search = search_sequences(goal.max_itl_ms, most, [&](int64_t sequences) {
    progress(sequences);
    subject.use_sequences(sequences);
    SpeedReport& report = found.tried.emplace_back(described);
    subject.describe(report);
    for (int64_t run = 0; run < subject.runs(); ++run) report.repeats.push_back(subject.run(run, buffer));
    return Tried{sequences, median(report.decode_tokens_per_s()), quantile(report.latencies_ms(), 0.95)};
  });
  const bool reached =
      found.search.tried.back().sequences == most && found.search.tried.back().itl_p95_ms <= goal.max_itl_ms;
  if (reached) found.end = fit < goal.max_sequences ? SearchEnd::memory : SearchEnd::max_sequences;
  return found;
}

}  // namespace

std::string_view name(Goal goal) {
  constexpr std::string_view names[] = {"none", "latency", "throughput"};
  return names[static_cast<size_t>(goal)];
}

std::string_view name(SearchEnd end) {
  constexpr std::string_view names[] = {"latency", "max_sequences", "memory"};
  return names[static_cast<size_t>(end)];
}

SequenceSearch search_sequences(double max_itl_ms, int64_t most,
                                const std::function<Tried(int64_t sequences)>& measure) {
  SequenceSearch search;
  const auto within = [&](int64_t sequences) {
    const Tried tried = measure(sequences);
    search.tried.push_back(tried);
    if (!(tried.itl_p95_ms <= max_itl_ms)) return false;
    if (!search.best || tried.tokens_per_s > search.tried[*search.best].tokens_per_s)
      search.best = search.tried.size() - 1;
    return true;
  };
  int64_t good = 0, next = 1;
  while (within(next)) {
    good = next;
    if (good >= most) return search;
    next = std::min(2 * good, most);
  }
  for (int64_t bad = next; good > 0 && bad - good > std::max<int64_t>(1, good / 16);) {
    const int64_t middle = good + (bad - good) / 2;
    (within(middle) ? good : bad) = middle;
  }
  return search;
}

std::vector<ThroughputSearch> find_throughput(std::span<const std::filesystem::path> folders,
                                              std::span<const SpeedSetting> settings,
                                              const ThroughputGoal& goal, const SpeedProgress& progress) {
  for (const std::filesystem::path& folder : folders)
    for (const auto& [team, options] : settings)
      check_context(read_model_spec(ModelFile(folder)), folder, options);
  const std::vector<SpeedReport> models = describe_models(folders);
  std::map<const Team*, ProbeBuffer> buffers;
  for (const SpeedSetting& setting : settings) buffers.try_emplace(setting.team, *setting.team);
  const auto total = static_cast<int64_t>(folders.size() * settings.size());
  std::vector<ThroughputSearch> searches;
  for (size_t folder = 0; folder < folders.size(); ++folder) {
    const auto loaded = std::make_shared<const LoadedModel>(folders[folder], *settings.front().team);
    for (size_t setting = 0; setting < settings.size(); ++setting) {
      const auto tell = [&](int64_t sequences) {
        if (progress)
          progress(std::ssize(searches), total,
                   fmt::format("{}, {} together", models[folder].name, sequences));
      };
      const SpeedSetting& at = settings[setting];
      searches.push_back(find_one(loaded, models[folder], at, goal, buffers.at(at.team), tell));
      searches.back().folder = folder;
      searches.back().setting = setting;
    }
  }
  return searches;
}

}  // namespace whittle
