#include "bench/speed.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <numeric>

#include "bench/machine.h"
#include "bench/probe.h"
#include "bench/prompt.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// A model that is being measured.
class Subject {
 public:
  Subject(const std::filesystem::path& folder, const Team& team, const SpeedOptions& options)
      : team_(team),
        options_(options),
        load_start_(Clock::now()),
        model_(folder, team),
        load_seconds_(seconds(load_start_, Clock::now())),
        tokenizer_(Tokenizer::open_if_any(folder)),
        prompt_(make_prompt(model_.spec(), tokenizer_ ? &*tokenizer_ : nullptr, options.prompt_tokens)),
        decoder_(std::make_shared<Decoder>(
            model_, team, std::max(options.sequences, std::min(chunk, context())), context())) {
    for (int64_t i = 0; i < options.sequences; ++i)
      sessions_.emplace_back(decoder_, context(), options.kv_cache);
    for (Session& session : sessions_) all_sessions_.push_back(&session);
  }

  void describe(SpeedReport& report) const {
    const ModelSpec& spec = model_.spec();
    report.has_tokenizer = tokenizer_.has_value();
    report.weights_bytes = model_.weight_bytes();
    report.kv_cache_bytes = options_.sequences * KvCache::bytes(spec, options_.kv_cache, context());
    report.packings = model_.packings();
    report.load_seconds = load_seconds_;
    report.int8 = int8();
    const bool head_counts = !int8() || model_.head().quantized();  // it runs for the last token alone
    const int64_t macs = (int8() ? model_.int8_macs() : model_.macs()) * options_.prompt_tokens +
                         (head_counts ? spec.vocab_size * spec.hidden_size : 0);
    report.prefill_operations = 2.0 * static_cast<double>(macs);
    double kv = 0;
    for (int64_t i = 0; i < options_.gen_tokens; ++i)
      kv += KvCache::bytes_read(spec, options_.kv_cache, options_.prompt_tokens + i);
    kv *= static_cast<double>(options_.sequences);
    report.decode_bytes =
        static_cast<double>(model_.decode_bytes()) + kv / static_cast<double>(options_.gen_tokens);
    report.sequences = options_.sequences;
    report.prompt_tokens = options_.prompt_tokens;
    report.gen_tokens = options_.gen_tokens;
  }

  // Touches every buffer and builds whatever is built on first use.
  void warm_up() {
    for (Session& session : sessions_) session.forward(prompt_.ids);
    std::vector<int32_t> tokens(sessions_.size(), prompt_.ids.front());
    for (int64_t i = 0; i < std::min<int64_t>(options_.gen_tokens, 4); ++i)
      Session::step(all_sessions_, tokens);
  }

  SpeedRepeat run(const ProbeBuffer& buffer) {
    SpeedRepeat repeat;
    std::vector<double> arithmetic = {probe_arithmetic()};
    const int32_t first = run_prompt(repeat);
    arithmetic.push_back(probe_arithmetic());
    repeat.arithmetic_gops = mean(arithmetic);
    run_steps(repeat, first, buffer);
    return repeat;
  }

  // A run of its own: the repeats know nothing of it.
  std::vector<PhaseProfile> profile(const ProbeBuffer& buffer) {
    SpeedRepeat repeat;
    int32_t token = 0;
    std::vector<PhaseProfile> phases;
    phases.push_back(profile_phase("prefill", buffer, [&] { token = run_prompt(repeat); }));
    rewind_to_prompt();
    std::vector<int32_t> tokens(sessions_.size(), token);
    phases.push_back(profile_phase("decode", buffer, [&] {
      for (int64_t i = 0; i < options_.gen_tokens; ++i)
        sample_all(Session::step(all_sessions_, tokens), tokens);
    }));
    return phases;
  }

 private:
  template <class Run>
  PhaseProfile profile_phase(const std::string& phase, const ProbeBuffer& buffer, Run run) {
    const auto probe = [&] {
      return ProfileLimits{probe_read_bandwidth(team_, buffer), probe_int8(team_), probe_fp32(team_)};
    };
    PhaseProfile result{phase, std::make_shared<Profile>(team_.size()), {}};
    const ProfileLimits before = probe();
    decoder_->watch(result.profile.get());
    run();
    decoder_->watch(nullptr);
    const ProfileLimits after = probe();
    result.limits = {(before.read_gb_per_s + after.read_gb_per_s) / 2,
                     (before.int8_gops + after.int8_gops) / 2, (before.fp32_gflops + after.fp32_gflops) / 2};
    return result;
  }

  static constexpr int64_t chunk = SessionOptions{}.prefill_chunk;
  int64_t context() const { return options_.prompt_tokens + options_.gen_tokens; }
  // The first sequence's prompt has just been timed; the others keep the warm-up's in their caches.
  void rewind_to_prompt() {
    for (Session& session : sessions_) session.rewind(options_.prompt_tokens);
  }
  void sample_all(const Logits& logits, std::vector<int32_t>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = sampler_.sample(logits.row(static_cast<int64_t>(i)), prompt_.ids);
  }

  bool int8() const { return model_.int8_macs() > 0; }
  double probe_arithmetic() const { return int8() ? probe_int8(team_) : probe_fp32(team_); }

  int32_t run_prompt(SpeedRepeat& repeat) {
    sessions_.front().rewind(0);
    const auto start = Clock::now();
    if (tokenizer_) tokenizer_->encode(prompt_.text);
    const auto tokenized = Clock::now();
    const Logits logits = sessions_.front().forward(prompt_.ids);
    const auto computed = Clock::now();
    const int32_t token = sampler_.sample(logits.row(0), prompt_.ids);
    repeat.first_sampling = seconds(computed, Clock::now());
    repeat.prefill = seconds(tokenized, computed);
    repeat.tokenization = tokenizer_ ? seconds(start, tokenized) : 0;
    return token;
  }

  void run_steps(SpeedRepeat& repeat, int32_t token, const ProbeBuffer& buffer) {
    constexpr double probe_interval = 0.5;
    rewind_to_prompt();
    std::vector<int32_t> tokens(sessions_.size(), token);
    std::vector<Tokenizer::Stream> streams;
    for (size_t i = 0; tokenizer_ && i < sessions_.size(); ++i) streams.emplace_back(*tokenizer_);
    std::vector<double> bandwidths = {probe_read_bandwidth(team_, buffer)};
    auto last_probe = Clock::now();
    for (int64_t i = 0; i < options_.gen_tokens; ++i) {
      const auto start = Clock::now();
      const Logits logits = Session::step(all_sessions_, tokens);
      const auto computed = Clock::now();
      sample_all(logits, tokens);
      const auto sampled = Clock::now();
      for (size_t j = 0; j < streams.size(); ++j) streams[j].push(tokens[j]);
      const auto end = Clock::now();
      repeat.latencies.push_back(seconds(start, end));
      repeat.sampling += seconds(computed, sampled);
      if (tokenizer_) repeat.detokenization += seconds(sampled, end);
      if (i + 1 == options_.gen_tokens || seconds(last_probe, end) > probe_interval) {
        bandwidths.push_back(probe_read_bandwidth(team_, buffer));
        last_probe = Clock::now();
      }
    }
    repeat.read_gb_per_s = mean(bandwidths);
  }

  const Team& team_;
  const SpeedOptions options_;
  Clock::time_point load_start_;
  Model model_;
  double load_seconds_;
  std::optional<Tokenizer> tokenizer_;
  Prompt prompt_;
  std::shared_ptr<Decoder> decoder_;
  std::vector<Session> sessions_;
  std::vector<Session*> all_sessions_;
  Sampler sampler_{SamplerOptions{}};  // greedy
};

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

}  // namespace

std::string folder_name(const std::filesystem::path& folder) {
  const std::filesystem::path whole = std::filesystem::weakly_canonical(folder);
  return whole.has_filename() ? whole.filename().string() : folder.string();
}

double SpeedRepeat::decode() const { return std::accumulate(latencies.begin(), latencies.end(), 0.0); }

std::vector<double> SpeedReport::ttft_ms() const {
  return each(repeats, [](const SpeedRepeat& repeat) { return 1e3 * repeat.ttft(); });
}
std::vector<double> SpeedReport::prefill_tokens_per_s() const {
  return each(repeats,
              [&](const SpeedRepeat& repeat) { return static_cast<double>(prompt_tokens) / repeat.prefill; });
}
std::vector<double> SpeedReport::prefill_gops() const {
  return each(repeats, [&](const SpeedRepeat& repeat) { return prefill_operations / repeat.prefill / 1e9; });
}
std::vector<double> SpeedReport::prefill_fraction() const {
  return ratios(prefill_gops(), arithmetic_gops());
}
std::vector<double> SpeedReport::decode_tokens_per_s() const {
  return each(repeats, [&](const SpeedRepeat& repeat) {
    return static_cast<double>(gen_tokens * sequences) / repeat.decode();
  });
}
std::vector<double> SpeedReport::decode_gb_per_s() const {
  return each(repeats, [&](const SpeedRepeat& repeat) {
    return decode_bytes * static_cast<double>(gen_tokens) / repeat.decode() / 1e9;
  });
}
std::vector<double> SpeedReport::decode_bandwidth_fraction() const {
  return ratios(decode_gb_per_s(), read_gb_per_s());
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
    for (const double latency : repeat.latencies) values.push_back(1e3 * latency);
  return values;
}

SpeedOptions fitted(SpeedOptions options, int64_t context) {
  if (options.prompt_tokens + options.gen_tokens <= context) return options;
  options.gen_tokens = std::clamp<int64_t>(context / 4, 1, options.gen_tokens);
  options.prompt_tokens = std::clamp<int64_t>(context - options.gen_tokens, 1, options.prompt_tokens);
  return options;
}

void check_context(const ModelSpec& spec, const std::filesystem::path& folder, const SpeedOptions& options) {
  if (options.prompt_tokens + options.gen_tokens > spec.max_position_embeddings)
    fail_option("prompt_tokens",
                "a prompt of {} tokens and gen_tokens {} do not fit into the {} positions of {} "
                "(max_position_embeddings)",
                options.prompt_tokens, options.gen_tokens, spec.max_position_embeddings,
                (folder / "config.json").string());
}

SpeedReports measure_speed(std::span<const std::filesystem::path> folders, const Team& team,
                           const SpeedOptions& options, const SpeedProgress& progress) {
  SpeedReports reports;
  int64_t disk_bytes = 0;
  for (const std::filesystem::path& folder : folders) {
    const ModelFile file(folder);
    const ModelSpec spec = read_model_spec(file);
    check_context(spec, folder, options);
    const bool unique = std::ranges::count(folders, folder_name(folder), folder_name) == 1;
    SpeedReport& report = reports.models.emplace_back();
    report.name = unique ? folder_name(folder) : folder.string();
    report.size = model_size(file, spec);
    disk_bytes += report.size.disk_bytes;
  }
  const ProbeBuffer buffer(team);
  // Packed, a model takes about what it takes on disk.
  const int64_t available = read_machine().memory_available_bytes;
  reports.alternated = folders.size() == 1 || !available || disk_bytes < available / 10 * 7;

  const size_t together = reports.alternated ? folders.size() : 1;
  const int64_t total = static_cast<int64_t>(folders.size()) * (options.repeat + 1);
  int64_t done = 0;
  for (size_t first = 0; first < folders.size(); first += together) {
    std::vector<std::unique_ptr<Subject>> subjects;
    const auto advance = [&](size_t i) {
      if (progress) progress(++done, total, reports.models[first + i].name);
    };
    for (size_t i = 0; i < together; ++i) {
      subjects.push_back(std::make_unique<Subject>(folders[first + i], team, options));
      subjects[i]->describe(reports.models[first + i]);
      subjects[i]->warm_up();
      advance(i);
    }
    for (int64_t repeat = 0; repeat < options.repeat; ++repeat)
      for (size_t i = 0; i < together; ++i) {
        reports.models[first + i].repeats.push_back(subjects[i]->run(buffer));
        advance(i);
      }
    if (options.profile)
      for (size_t i = 0; i < together; ++i) reports.models[first + i].profiles = subjects[i]->profile(buffer);
  }
  return reports;
}

}  // namespace whittle
