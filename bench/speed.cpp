#include "bench/speed.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>

#include "bench/machine.h"
#include "bench/probe.h"
#include "bench/subject.h"
#include "engine/kv_cache.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

std::vector<double> each(const std::vector<SpeedRepeat>& repeats,
                         const std::function<double(const SpeedRepeat&)>& value) {
  std::vector<double> values;
  for (const SpeedRepeat& repeat : repeats) values.push_back(value(repeat));
  return values;
}

std::vector<double> ratios(std::vector<double> numerators, const std::vector<double>& denominators) {
  for (size_t i = 0; i < numerators.size(); ++i) numerators[i] /= denominators[i];
  return numerators;
}

double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

double as_double(int64_t value) { return static_cast<double>(value); }

// A folder at a setting.
struct Cell {
  size_t folder = 0, setting = 0;
};

// Cells that take turns, group after group: all if there is the memory for it, else those of one folder,
// else each by itself. Within a group, folders stand side by side at each setting.
std::vector<std::vector<Cell>> make_groups(std::span<const std::filesystem::path> folders,
                                           std::span<const SpeedSetting> settings,
                                           const std::vector<SpeedReport>& models) {
  // Packed, a model takes about what it takes on disk.
  const int64_t available = read_machine().memory_available_bytes, usable = available / 10 * 7;
  std::vector<int64_t> needs;
  for (size_t folder = 0; folder < folders.size(); ++folder) {
    const ModelSpec spec = read_model_spec(ModelFile(folders[folder]));
    int64_t& bytes = needs.emplace_back(models[folder].size.disk_bytes);
    for (const auto& [team, options] : settings)
      if (settings.size() > 1)
        bytes +=
            options.sequences * KvCache::bytes(spec, options.kv_cache,
                                               options.context + options.prompt_tokens + options.gen_tokens);
  }
  const bool single = folders.size() * settings.size() == 1;
  const bool all_fit =
      single || !available || std::accumulate(needs.begin(), needs.end(), int64_t{0}) < usable;
  std::vector<std::vector<Cell>> groups;
  if (all_fit) {
    groups.emplace_back();
    for (size_t setting = 0; setting < settings.size(); ++setting)
      for (size_t folder = 0; folder < folders.size(); ++folder) groups[0].push_back({folder, setting});
    return groups;
  }
  for (size_t folder = 0; folder < folders.size(); ++folder)
    for (size_t setting = 0; setting < settings.size(); ++setting) {
      if (setting == 0 || needs[folder] >= usable) groups.emplace_back();
      groups.back().push_back({folder, setting});
    }
  return groups;
}

// What stands in the way of any run.
void check_requests(const std::filesystem::path& folder, std::span<const SpeedSetting> settings) {
  const ModelSpec spec = read_model_spec(ModelFile(folder));
  const bool texts = std::ranges::any_of(
      settings, [](const SpeedSetting& setting) { return !setting.options.prompts.empty(); });
  const std::optional<Tokenizer> tokenizer = texts ? Tokenizer::open_if_any(folder) : std::nullopt;
  for (const auto& [team, options] : settings)
    if (texts)
      make_requests(spec, tokenizer ? &*tokenizer : nullptr, folder, options);
    else
      check_context(spec, folder, options);
}

}  // namespace

std::string_view name(Timing timing) {
  constexpr std::string_view names[] = {"usual", "end_to_end", "model_only"};
  return names[static_cast<size_t>(timing)];
}

std::string folder_name(const std::filesystem::path& folder) {
  const std::filesystem::path whole = std::filesystem::weakly_canonical(folder);
  return whole.has_filename() ? whole.filename().string() : folder.string();
}

double SpeedRepeat::decode() const { return sum(latencies); }

double SpeedReport::ttft(const SpeedRepeat& repeat) const {
  return options.timing == Timing::model_only ? repeat.prefill : repeat.ttft();
}
double SpeedReport::decode(const SpeedRepeat& repeat) const {
  return options.timing == Timing::model_only ? sum(repeat.steps) : repeat.decode();
}

std::vector<double> SpeedReport::ttft_ms() const {
  return each(repeats, [&](const SpeedRepeat& repeat) { return 1e3 * ttft(repeat); });
}
std::vector<double> SpeedReport::request_ms() const {
  return each(repeats, [&](const SpeedRepeat& repeat) { return 1e3 * (ttft(repeat) + decode(repeat)); });
}
std::vector<double> SpeedReport::prefill_tokens_per_s() const {
  return each(repeats, [&](const SpeedRepeat& repeat) {
    const double seconds = options.timing == Timing::end_to_end ? repeat.ttft() : repeat.prefill;
    return as_double(repeat.work.prompt_tokens) / seconds;
  });
}
std::vector<double> SpeedReport::prefill_gops() const {
  return each(repeats, [](const SpeedRepeat& repeat) {
    return repeat.work.prefill_operations / repeat.prefill / 1e9;
  });
}
std::vector<double> SpeedReport::prefill_fraction() const {
  return ratios(prefill_gops(), arithmetic_gops());
}
std::vector<double> SpeedReport::decode_tokens_per_s() const {
  return each(repeats, [&](const SpeedRepeat& repeat) {
    return as_double(repeat.work.gen_tokens * options.sequences) / decode(repeat);
  });
}
std::vector<double> SpeedReport::decode_gb_per_s() const {
  return each(repeats, [&](const SpeedRepeat& repeat) {
    return repeat.work.decode_bytes * as_double(repeat.work.gen_tokens) / decode(repeat) / 1e9;
  });
}
std::vector<double> SpeedReport::decode_bandwidth_fraction() const {
  return ratios(decode_gb_per_s(), read_gb_per_s());
}
std::vector<double> SpeedReport::decode_bytes() const {
  return each(repeats, [](const SpeedRepeat& repeat) { return repeat.work.decode_bytes; });
}
std::vector<double> SpeedReport::arithmetic_gops() const {
  return each(repeats, [](const SpeedRepeat& repeat) { return repeat.arithmetic_gops; });
}
std::vector<double> SpeedReport::read_gb_per_s() const {
  return each(repeats, [](const SpeedRepeat& repeat) { return repeat.read_gb_per_s; });
}
std::vector<double> SpeedReport::latencies_ms() const {
  std::vector<double> values;
  for (const SpeedRepeat& repeat : repeats)
    for (const double latency : options.timing == Timing::model_only ? repeat.steps : repeat.latencies)
      values.push_back(1e3 * latency);
  return values;
}

SpeedOptions fitted(SpeedOptions options, int64_t context) {
  if (options.prompt_tokens + options.gen_tokens <= context) return options;
  options.gen_tokens = std::clamp<int64_t>(context / 4, 1, options.gen_tokens);
  options.prompt_tokens = std::clamp<int64_t>(context - options.gen_tokens, 1, options.prompt_tokens);
  return options;
}

void check_context(const ModelSpec& spec, const std::filesystem::path& folder, const SpeedOptions& options) {
  if (options.context + options.prompt_tokens + options.gen_tokens <= spec.max_position_embeddings) return;
  const std::string before = options.context ? fmt::format(" after a context of {}", options.context) : "";
  fail_option("prompt_tokens",
              "a prompt of {} tokens{} and gen_tokens {} do not fit into the {} positions of {} "
              "(max_position_embeddings)",
              options.prompt_tokens, before, options.gen_tokens, spec.max_position_embeddings,
              (folder / "config.json").string());
}

std::vector<SpeedReport> describe_models(std::span<const std::filesystem::path> folders) {
  std::vector<SpeedReport> models;
  for (const std::filesystem::path& folder : folders) {
    const ModelFile file(folder);
    const bool unique = std::ranges::count(folders, folder_name(folder), folder_name) == 1;
    SpeedReport& report = models.emplace_back();
    report.name = unique ? folder_name(folder) : folder.string();
    report.size = model_size(file, read_model_spec(file));
  }
  return models;
}

SpeedReports measure_speed(std::span<const std::filesystem::path> folders,
                           std::span<const SpeedSetting> settings, const SpeedProgress& progress) {
  for (const std::filesystem::path& folder : folders) check_requests(folder, settings);
  const std::vector<SpeedReport> models = describe_models(folders);
  std::map<const Team*, ProbeBuffer> buffers;  // a thread reads a slice of its own
  for (const SpeedSetting& setting : settings) buffers.try_emplace(setting.team, *setting.team);

  SpeedReports reports;
  for (const SpeedReport& model : models) reports.models.insert(reports.models.end(), settings.size(), model);
  const std::vector<std::vector<Cell>> groups = make_groups(folders, settings, models);
  reports.alternated = groups.size() == 1;

  int64_t total = 0, done = 0;
  for (const SpeedSetting& setting : settings)
    total += std::ssize(folders) *
             (1 + setting.options.repeat * std::max<int64_t>(1, std::ssize(setting.options.prompts)));
  std::vector<std::shared_ptr<const LoadedModel>> loaded(folders.size());
  for (const std::vector<Cell>& group : groups) {
    for (size_t folder = 0; folder < folders.size(); ++folder)
      if (std::ranges::count(group, folder, &Cell::folder) == 0) loaded[folder].reset();
    std::vector<std::unique_ptr<Subject>> subjects;
    const auto report = [&](size_t i) -> SpeedReport& {
      return reports.models[group[i].folder * settings.size() + group[i].setting];
    };
    const auto buffer = [&](size_t i) -> const ProbeBuffer& {
      return buffers.at(settings[group[i].setting].team);
    };
    const auto advance = [&](size_t i) {
      if (progress) progress(++done, total, report(i).name);
    };
    for (size_t i = 0; i < group.size(); ++i) {
      const auto& [team, options] = settings[group[i].setting];
      std::shared_ptr<const LoadedModel>& model = loaded[group[i].folder];
      if (!model) model = std::make_shared<const LoadedModel>(folders[group[i].folder], *team);
      subjects.push_back(std::make_unique<Subject>(model, *team, options));
      subjects[i]->describe(report(i));
      subjects[i]->warm_up();
      advance(i);
    }
    for (int64_t run = 0; run < subjects.front()->runs(); ++run)
      for (size_t i = 0; i < group.size(); ++i) {
        report(i).repeats.push_back(subjects[i]->run(run, buffer(i)));
        advance(i);
      }
    for (size_t i = 0; i < group.size(); ++i)
      if (settings[group[i].setting].options.profile) report(i).profiles = subjects[i]->profile(buffer(i));
  }
  for (SpeedReport& report : reports.models)
    if (report.energy_missing) report.energy_missing = settings.front().options.energy->missing();
  return reports;
}

SpeedReports measure_speed(std::span<const std::filesystem::path> folders, const Team& team,
                           const SpeedOptions& options, const SpeedProgress& progress) {
  const SpeedSetting setting{&team, options};
  return measure_speed(folders, {&setting, 1}, progress);
}

}  // namespace whittle
