#include "bench/subject.h"

#include <algorithm>
#include <array>

#include "engine/clock.h"

namespace whittle {
namespace {

constexpr int64_t chunk = SessionOptions{}.prefill_chunk;

}  // namespace

LoadedModel::LoadedModel(const std::filesystem::path& from, const Team& team)
    : folder(from),
      model([&] {
        const auto start = Clock::now();
        Model made(from, team);
        load_seconds = seconds_since(start);
        return made;
      }()),
      tokenizer(Tokenizer::open_if_any(from)) {}

Subject::Subject(std::shared_ptr<const LoadedModel> loaded, const Team& team, const SpeedOptions& options,
                 int64_t most_sequences)
    : loaded_(std::move(loaded)),
      team_(team),
      options_(options),
      requests_(make_requests(loaded_->model.spec(), loaded_->tokenizer ? &*loaded_->tokenizer : nullptr,
                              loaded_->folder, options)),
      decoder_(std::make_shared<Decoder>(loaded_->model, team,
                                         std::max(most_sequences, std::min(chunk, context())), context())) {}

void Subject::describe(SpeedReport& report) const {
  const Model& model = loaded_->model;
  report.has_tokenizer = loaded_->tokenizer.has_value();
  report.weights_bytes = model.weight_bytes();
  report.kv_cache_bytes = options_.sequences * KvCache::bytes(model.spec(), options_.kv_cache, context());
  report.packings = model.packings();
  report.load_seconds = loaded_->load_seconds;
  report.int8 = int8();
  report.options = options_;
  report.options.prompts = {};
  report.options.energy = nullptr;
  report.threads = team_.size();
  if (options_.energy) report.energy_missing = options_.energy->missing();
}

Workload Subject::workload(const Request& request) const {
  const Model& model = loaded_->model;
  const ModelSpec& spec = model.spec();
  Workload work{static_cast<int64_t>(request.prompt.ids.size()), request.gen_tokens, 0, 0, request.line};
  const bool head_counts = !int8() || model.head().quantized();  // it runs for the last token alone
  const int64_t macs = (int8() ? model.int8_macs() : model.macs()) * work.prompt_tokens +
                       (head_counts ? spec.vocab_size * spec.hidden_size : 0);
  work.prefill_operations = 2.0 * static_cast<double>(macs);
  double kv = 0;
  for (int64_t i = 0; i < work.gen_tokens; ++i)
    kv += KvCache::bytes_read(spec, options_.kv_cache, options_.context + work.prompt_tokens + i);
  kv *= static_cast<double>(options_.sequences);
  work.decode_bytes = static_cast<double>(model.decode_bytes()) + kv / static_cast<double>(work.gen_tokens);
  return work;
}

// The prompt's own tokens over and over: what a dense model computes does not depend on what is said.
void Subject::fill(Session& session, int64_t context) {
  const std::vector<int32_t>& prompt = requests_.front().prompt.ids;
  std::vector<int32_t> ids(static_cast<size_t>(context));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = prompt[i % prompt.size()];
  if (!ids.empty()) session.forward(ids);
}

void Subject::use_sequences(int64_t count) {
  while (std::ssize(sessions_) < count) {
    Session& session =
        *sessions_.emplace_back(std::make_unique<Session>(decoder_, context(), options_.kv_cache));
    fill(session, options_.context);
    session.forward(requests_.front().prompt.ids);
  }
  options_.sequences = count;
  used_.clear();
  for (int64_t i = 0; i < count; ++i) used_.push_back(sessions_[static_cast<size_t>(i)].get());
  // What a step of so many builds on its first use.
  std::vector<int32_t> tokens(used_.size(), requests_.front().prompt.ids.front());
  rewind_to_prompt(requests_.front());
  for (int64_t i = 0; i < std::min<int64_t>(requests_.front().gen_tokens, 4); ++i)
    Session::step(used_, tokens);
}

void Subject::warm_up() {
  use_sequences(options_.sequences);
  for (size_t i = 1; i < requests_.size(); ++i) {
    used_.front()->rewind(0);
    used_.front()->forward(requests_[i].prompt.ids);
  }
}

SpeedRepeat Subject::run(int64_t index, const ProbeBuffer& buffer) {
  const Request& request = requests_[static_cast<size_t>(index) % requests_.size()];
  SpeedRepeat repeat;
  repeat.work = workload(request);
  EnergyMeter* const meter = options_.energy;
  if (meter && meter->available()) repeat.energy = RepeatEnergy{measure_idle(*meter), {}, {}};
  std::vector<double> arithmetic = {probe_arithmetic()};
  int32_t first = 0;
  {
    const EnergyUse use(meter, repeat.energy ? &repeat.energy->prefill : nullptr);
    first = run_prompt(request, repeat);
  }
  arithmetic.push_back(probe_arithmetic());
  repeat.arithmetic_gops = mean(arithmetic);
  run_steps(request, first, buffer, repeat);
  if (meter && !meter->available()) repeat.energy.reset();
  return repeat;
}

void Subject::rewind_to_prompt(const Request& request) {
  for (Session* session : used_)
    session->rewind(options_.context + static_cast<int64_t>(request.prompt.ids.size()));
}

void Subject::sample_all(const Logits& logits, const Request& request, std::vector<int32_t>& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = sampler_.sample(logits.row(static_cast<int64_t>(i)), request.prompt.ids);
}

int32_t Subject::run_prompt(const Request& request, SpeedRepeat& repeat) {
  const std::optional<Tokenizer>& tokenizer = loaded_->tokenizer;
  used_.front()->rewind(options_.context);
  const auto start = Clock::now();
  if (tokenizer) tokenizer->encode(request.prompt.text);
  const auto tokenized = Clock::now();
  const Logits logits = used_.front()->forward(request.prompt.ids);
  const auto computed = Clock::now();
  const int32_t token = sampler_.sample(logits.row(0), request.prompt.ids);
  repeat.first_sampling = seconds_since(computed);
  repeat.prefill = seconds_between(tokenized, computed);
  repeat.tokenization = tokenizer ? seconds_between(start, tokenized) : 0;
  return token;
}

void Subject::run_steps(const Request& request, int32_t token, const ProbeBuffer& buffer,
                        SpeedRepeat& repeat) {
  constexpr double probe_interval = 0.5;
  const std::optional<Tokenizer>& tokenizer = loaded_->tokenizer;
  rewind_to_prompt(request);
  std::vector<int32_t> tokens(used_.size(), token);
  std::vector<Tokenizer::Stream> streams;
  for (size_t i = 0; tokenizer && i < used_.size(); ++i) streams.emplace_back(*tokenizer);
  std::vector<double> bandwidths = {probe_read_bandwidth(team_, buffer)};
  Energy* const energy = repeat.energy ? &repeat.energy->decode : nullptr;
  std::optional<EnergyUse> use(std::in_place, options_.energy, energy);
  auto last_probe = Clock::now();
  for (int64_t i = 0; i < request.gen_tokens; ++i) {
    const auto start = Clock::now();
    const Logits logits = Session::step(used_, tokens);
    const auto computed = Clock::now();
    sample_all(logits, request, tokens);
    const auto sampled = Clock::now();
    for (size_t j = 0; j < streams.size(); ++j) streams[j].push(tokens[j]);
    const auto end = Clock::now();
    repeat.latencies.push_back(seconds_between(start, end));
    repeat.steps.push_back(seconds_between(start, computed));
    repeat.sampling += seconds_between(computed, sampled);
    if (tokenizer) repeat.detokenization += seconds_between(sampled, end);
    if (i + 1 == request.gen_tokens || seconds_between(last_probe, end) > probe_interval) {
      use.reset();
      bandwidths.push_back(probe_read_bandwidth(team_, buffer));
      if (i + 1 < request.gen_tokens) use.emplace(options_.energy, energy);
      last_probe = Clock::now();
    }
  }
  repeat.read_gb_per_s = mean(bandwidths);
}

std::vector<PhaseProfile> Subject::profile(const ProbeBuffer& buffer) {
  const Request& request = requests_.front();
  SpeedRepeat repeat;
  int32_t token = 0;
  std::vector<PhaseProfile> phases;
  phases.push_back(profile_phase("prefill", buffer, [&] { token = run_prompt(request, repeat); }));
  rewind_to_prompt(request);
  std::vector<int32_t> tokens(used_.size(), token);
  phases.push_back(profile_phase("decode", buffer, [&] {
    for (int64_t i = 0; i < request.gen_tokens; ++i)
      sample_all(Session::step(used_, tokens), request, tokens);
  }));
  time_watching(phases[0], phases[1]);
  return phases;
}

template <class Run>
PhaseProfile Subject::profile_phase(const std::string& phase, const ProbeBuffer& buffer, Run run) {
  const auto probe = [&] {
    return ProfileLimits{probe_read_bandwidth(team_, buffer), probe_int8(team_), probe_fp32(team_)};
  };
  PhaseProfile result{phase, std::make_shared<Profile>(team_.size()), {}, {}, 0};
  const ProfileLimits before = probe();
  decoder_->watch(result.profile.get());
  run();
  decoder_->watch(nullptr);
  const ProfileLimits after = probe();
  result.limits = {(before.read_gb_per_s + after.read_gb_per_s) / 2, (before.int8_gops + after.int8_gops) / 2,
                   (before.fp32_gflops + after.fp32_gflops) / 2};
  return result;
}

// Whole prompts, and single steps: watched and unwatched in turns, of which either begins every other pair.
void Subject::time_watching(PhaseProfile& prefill, PhaseProfile& decode) {
  const Request& request = requests_.front();
  Profile unseen(team_.size());
  const auto measure = [&](PhaseProfile& phase, int64_t pairs, auto run) {
    std::vector<double> ratios;
    for (int64_t i = 0; i < pairs; ++i) {
      std::array<double, 2> times{};
      for (const bool watched : {i % 2 == 0, i % 2 != 0}) {
        decoder_->watch(watched ? &unseen : nullptr);
        const auto start = Clock::now();
        run();
        times[watched] = seconds_since(start);
      }
      ratios.push_back(times[true] / times[false]);
    }
    decoder_->watch(nullptr);
    phase.watching = median_interval_95(ratios);
    phase.pairs = pairs;
  };
  constexpr int64_t fewest = 6, most = 64;  // fewer have no interval
  SpeedRepeat ignored;
  measure(prefill, fewest, [&] { run_prompt(request, ignored); });
  const std::vector<int32_t> tokens(used_.size(), request.prompt.ids.front());
  int64_t step = 0;
  measure(decode, std::clamp(request.gen_tokens / 2, fewest, most), [&] {
    if (step++ % request.gen_tokens == 0) rewind_to_prompt(request);
    Session::step(used_, tokens);
  });
}

}  // namespace whittle
