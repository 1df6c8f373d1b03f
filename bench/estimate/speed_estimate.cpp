#include "bench/estimate/speed_estimate.h"

#include <algorithm>
#include <memory>

#include "bench/estimate/made_up_weights.h"
#include "bench/estimate/miniature.h"
#include "bench/machine.h"
#include "bench/statistics.h"
#include "engine/clock.h"
#include "engine/decoder.h"
#include "engine/files/interrupts.h"
#include "engine/positions.h"
#include "engine/sampler.h"

namespace whittle {
namespace {

// In the middle of what is generated.
int64_t decode_position(const PlannedWorkload& workload) {
  return std::min((workload.prompt_tokens + workload.context) / 2, workload.context - 1);
}

double step_bytes(const StoredModel& model, const PlannedWorkload& workload) {
  return static_cast<double>(model.decode_bytes()) +
         static_cast<double>(workload.sequences) *
             KvCache::bytes_read(model.spec(), workload.kv_cache, decode_position(workload));
}

// Where chunks of a prompt begin whose times say those of all between, which grow evenly with what a token
// looks back on: up to a window's end.
std::vector<int64_t> chunk_starts(const ModelSpec& spec, int64_t prompt, int64_t rows) {
  std::vector<int64_t> starts = {0};
  const int64_t last = prompt - rows;
  if (spec.sliding_window > 0 && spec.sliding_window < last) starts.push_back(spec.sliding_window);
  if (last > 0) starts.push_back(last);
  return starts;
}

// The mean over [starts.front(), starts.back()] of what is linear between them.
double mean_over(const std::vector<int64_t>& starts, const std::vector<double>& values) {
  if (starts.size() == 1) return values.front();
  double area = 0;
  for (size_t i = 1; i < starts.size(); ++i)
    area += static_cast<double>(starts[i] - starts[i - 1]) * (values[i] + values[i - 1]) / 2;
  return area / static_cast<double>(starts.back() - starts.front());
}

// Keys and values up to `positions`, as if tokens had been there.
void fill(KvCache& cache, const ModelSpec& spec, int64_t positions, const Team& team) {
  std::vector<float> row(static_cast<size_t>(round_up(spec.head_dim, float_block)));
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i % 7) * 0.25f - 0.75f;
  for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer)
    team.for_each(spec.layer(layer).num_key_value_heads, [&](int64_t head) {
      const KvHead room = cache.head(layer, head);
      for (int64_t position = 0; position < positions; ++position)
        kernels().store_kv(room, position, row.data(), row.data());
    });
}

// The miniature of one model, at work.
class Trial {
 public:
  Trial(const StoredModel& whole, const StoredModel& miniature, const PlannedWorkload& workload,
        const Team& team, double step_seconds)
      : workload_(workload),
        step_seconds_(step_seconds),
        team_(team),
        weights_(std::make_shared<MadeUpWeights>(miniature), team),
        decoder_(weights_, team, workload.rows(), workload.context),
        starts_(chunk_starts(miniature.spec(), workload.prompt_tokens, chunk())),
        sampler_(SamplerOptions{}) {
    estimate_.int8 = whole.int8_macs() > 0;
    const auto macs = [&](const StoredModel& model) {
      return static_cast<double>(estimate_.int8 ? model.int8_macs() : model.macs());
    };
    const auto prompt = static_cast<double>(workload.prompt_tokens);
    estimate_.decode_bytes = step_bytes(whole, workload);
    estimate_.prefill_operations = 2 * macs(whole) * prompt;
    estimate_.miniature_share = step_bytes(miniature, workload) / estimate_.decode_bytes;
    compute_share_ = macs(miniature) / macs(whole);
    const int64_t filled = std::max(decode_position(workload), workload.prompt_tokens);
    for (int64_t i = 0; i < workload.sequences; ++i)
      fill(caches_.emplace_back(miniature.spec(), workload.kv_cache, workload.context), miniature.spec(),
           filled, team);
  }

  void warm_up() {
    for (const int64_t start : starts_) run_chunk(start);
    step();
  }

  void run_round(const ProbeBuffer& buffer) {
    const auto arithmetic = [&] { return estimate_.int8 ? probe_int8(team_) : probe_fp32(team_); };
    double before = probe_read_bandwidth(team_, buffer);
    const double step_seconds = time_steps() / estimate_.miniature_share;
    const double read = (before + probe_read_bandwidth(team_, buffer)) / 2;
    before = arithmetic();
    const double prompt_seconds = time_prompt() / compute_share_;
    const double gops = (before + arithmetic()) / 2;
    estimate_.read_gb_per_s.push_back(read);
    estimate_.arithmetic_gops.push_back(gops);
    estimate_.decode_tokens_per_s.push_back(static_cast<double>(workload_.sequences) / step_seconds);
    estimate_.prefill_tokens_per_s.push_back(static_cast<double>(workload_.prompt_tokens) / prompt_seconds);
    estimate_.decode_fraction.push_back(estimate_.decode_bytes / step_seconds / 1e9 / read);
    estimate_.prefill_fraction.push_back(estimate_.prefill_operations / prompt_seconds / 1e9 / gops);
  }

  const SpeedEstimate& estimate() const { return estimate_; }

 private:
  int64_t chunk() const { return std::min(workload_.rows(), workload_.prompt_tokens); }

  // The prompt's tokens from `start` on, in the first cache.
  double run_chunk(int64_t start) {
    std::vector<DecoderRow> rows;
    for (int64_t i = 0; i < chunk(); ++i) rows.push_back({token(i), &caches_.front(), start + i});
    const auto begin = Clock::now();
    decoder_.step(rows, start == starts_.back() ? 1 : 0);
    return seconds_since(begin);
  }

  double time_prompt() {
    std::vector<double> times;
    for (const int64_t start : starts_) times.push_back(run_chunk(start));
    return mean_over(starts_, times) * static_cast<double>(workload_.prompt_tokens) /
           static_cast<double>(chunk());
  }

  void step() {
    std::vector<DecoderRow> rows;
    for (KvCache& cache : caches_) rows.push_back({token(0), &cache, decode_position(workload_)});
    const Logits logits = decoder_.step(rows, workload_.sequences);
    for (int64_t i = 0; i < workload_.sequences; ++i) sampler_.sample(logits.row(i), {});
  }

  double time_steps() {
    constexpr int fewest = 3;
    const auto begin = Clock::now();
    int steps = 0;
    for (; steps < fewest || seconds_since(begin) < step_seconds_; ++steps) step();
    return seconds_since(begin) / steps;
  }

  int32_t token(int64_t i) const { return static_cast<int32_t>(i % weights_.spec().vocab_size); }

  const PlannedWorkload workload_;
  const double step_seconds_;
  const Team& team_;
  const Model weights_;
  Decoder decoder_;
  std::vector<int64_t> starts_;
  std::vector<KvCache> caches_;
  Sampler sampler_;
  double compute_share_ = 1;
  SpeedEstimate estimate_;
};

int64_t trial_bytes(const StoredModel& miniature, const PlannedWorkload& workload) {
  return memory_need(miniature, workload, 0).peak_bytes();
}

}  // namespace

double SpeedEstimate::decode_estimate(const PlannedWorkload& workload) const {
  return static_cast<double>(workload.sequences) * median(decode_fraction) * median(read_gb_per_s) * 1e9 /
         decode_bytes;
}

double SpeedEstimate::prefill_estimate(const PlannedWorkload& workload) const {
  return static_cast<double>(workload.prompt_tokens) * median(prefill_fraction) * median(arithmetic_gops) *
         1e9 / prefill_operations;
}

std::vector<std::optional<SpeedEstimate>> estimate_speed(
    const std::vector<StoredModel>& models, const PlannedWorkload& workload, const Team& team,
    const TrialOptions& options, int64_t memory_bytes,
    const std::function<void(int64_t done, int64_t total, const std::string& name)>& progress) {
  constexpr int64_t smallest = 64 << 20, largest = int64_t{1} << 30, most_memory = int64_t{8} << 30;
  const int64_t target = options.target_bytes
                             ? options.target_bytes
                             : std::clamp(8 * read_machine().last_level_cache_bytes(), smallest, largest);
  std::vector<std::unique_ptr<Trial>> trials;
  int64_t left = std::min(memory_bytes / 2, most_memory);
  const auto total = static_cast<int64_t>(models.size()) * (options.rounds + 1);
  int64_t done = 0;
  const auto say = [&](const StoredModel& model) {
    check_interrupted();
    if (progress) progress(++done, total, model.choice().name);
  };
  for (const StoredModel& model : models) {
    check_positions(model.spec(), workload.context);
    const double share = static_cast<double>(target) / static_cast<double>(model.decode_bytes());
    // What is but a little larger is run as it is.
    const StoredModel miniature(miniature_of(model.spec(), share > 2.0 / 3 ? 1 : share), model.choice());
    std::unique_ptr<Trial>& trial = trials.emplace_back();
    if (const int64_t bytes = trial_bytes(miniature, workload); bytes <= left) {
      left -= bytes;
      trial = std::make_unique<Trial>(model, miniature, workload, team, options.step_seconds);
      trial->warm_up();
    }
    say(model);
  }
  std::optional<ProbeBuffer> buffer;
  for (int round = 0; round < options.rounds; ++round)
    for (size_t i = 0; i < models.size(); ++i) {
      if (trials[i] && !buffer) buffer.emplace(team, options.probe_bytes);
      if (trials[i]) trials[i]->run_round(*buffer);
      say(models[i]);
    }
  std::vector<std::optional<SpeedEstimate>> estimates;
  for (const std::unique_ptr<Trial>& trial : trials)
    estimates.push_back(trial ? std::optional(trial->estimate()) : std::nullopt);
  return estimates;
}

}  // namespace whittle
