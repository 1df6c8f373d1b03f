#pragma once
// How fast models run: prompts, single tokens, and the machine's limits beside each.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/energy.h"
#include "bench/model_size.h"
#include "bench/prompt_file.h"
#include "bench/reports/profile_report.h"
#include "bench/statistics.h"
#include "engine/packing_choice.h"
#include "kernels/kernel_table.h"
#include "kernels/threads.h"

namespace whittle {

// Whether a figure holds what stands around the decoder: tokenization, sampling, detokenization.
//                        usual   end_to_end   model_only
//   time to first token  holds   holds        not
//   prefill speed        not     holds        not
//   latency, decoding    holds   holds        not
enum class Timing : uint8_t { usual, end_to_end, model_only };
std::string_view name(Timing timing);

struct SpeedOptions {
  int64_t prompt_tokens = 512, gen_tokens = 128;  // each at least 1
  int64_t sequences = 1;                          // decoded together, each of its own cache, after the prompt
  int64_t repeat = 5;                             // at least 1, after one warm-up
  KvFormat kv_cache = KvFormat::f16;
  bool profile = false;  // one more run a model, operation by operation, and what watching costs
  int64_t context = 0;   // tokens that every cache holds before the prompt
  Timing timing = Timing::usual;
  // If any: these, one after the other, instead of a prompt of prompt_tokens; with `sequences` 1 and
  // `context` 0. gen_tokens are generated where a line does not say how many.
  std::span<const PromptLine> prompts;
  EnergyMeter* energy = nullptr;
};

// What a run has to do.
struct Workload {
  int64_t prompt_tokens = 0, gen_tokens = 0;  // the latter of each sequence, one a step
  // Multiplies and adds of the prompt: those on int8 where the model has any, else those of the float
  // matrices.
  double prefill_operations = 0;
  double decode_bytes = 0;  // read for a step: every weight once, and all KV caches, averaged over the steps
  int64_t line = 0;         // of the file of prompts; 0: no such file
};

struct RepeatEnergy {
  Energy idle, prefill, decode;
};

// One run of a prompt and the steps after it. Times in seconds.
struct SpeedRepeat {
  double tokenization = 0;    // of the prompt; 0 without a tokenizer
  double prefill = 0;         // the prompt through the model
  double first_sampling = 0;  // of the token that follows
  // Each step after the first token, from the one before it: decoder, sampling and detokenization, of all
  // sequences.
  std::vector<double> latencies;
  std::vector<double> steps;                // the decoder's part of each
  double sampling = 0, detokenization = 0;  // their part of all latencies together

  // Probes: arithmetic just before and after the prompt, reading before, after, and every half second during
  // the steps.
  double arithmetic_gops = 0;
  double read_gb_per_s = 0;
  Workload work;
  std::optional<RepeatEnergy> energy;  // of the machine, without the probes

  double ttft() const { return tokenization + prefill + first_sampling; }
  double decode() const;  // all latencies together
};

// A prompt or the steps after it, operation by operation.
struct PhaseProfile {
  std::string phase;  // "prefill" or "decode"
  std::shared_ptr<Profile> profile;
  ProfileLimits limits;
  // The time that it takes watched over that unwatched: median of `pairs` neighbours, and its interval.
  Interval watching;
  int64_t pairs = 0;
};

// A model at one setting.
struct SpeedReport {
  std::string name;  // the folder's own, or its path where names are not unique
  ModelSize size;
  bool has_tokenizer = false;
  int64_t weights_bytes = 0;           // packed, in memory
  int64_t kv_cache_bytes = 0;          // of all positions of every sequence
  std::vector<PackingCount> packings;  // of weights that are mostly zeros
  double load_seconds = 0;  // reading and packing, from whatever of the files the system had cached
  bool int8 = false;        // whether the multiplies and adds that count are int8
  SpeedOptions options;     // without `prompts` and `energy`
  int threads = 0;
  std::vector<SpeedRepeat> repeats;           // of prompts of a file: each, as often as options.repeat
  std::vector<PhaseProfile> profiles;         // when asked for
  std::optional<std::string> energy_missing;  // where energy was asked for: why it is not known, or empty

  // One value a repeat.
  std::vector<double> ttft_ms() const;
  std::vector<double> request_ms() const;  // from the text to the last token
  std::vector<double> prefill_tokens_per_s() const;
  std::vector<double> prefill_gops() const;
  std::vector<double> prefill_fraction() const;     // of the arithmetic probe beside it
  std::vector<double> decode_tokens_per_s() const;  // of all sequences together
  std::vector<double> decode_gb_per_s() const;
  std::vector<double> decode_bandwidth_fraction() const;  // of the read probe beside it
  std::vector<double> decode_bytes() const;               // a step
  std::vector<double> arithmetic_gops() const;
  std::vector<double> read_gb_per_s() const;
  std::vector<double> latencies_ms() const;  // of every step of every repeat

 private:
  double ttft(const SpeedRepeat& repeat) const;
  double decode(const SpeedRepeat& repeat) const;
};

// The last part of its path.
std::string folder_name(const std::filesystem::path& folder);

struct SpeedSetting {
  const Team* team = nullptr;
  SpeedOptions options;
};

struct SpeedReports {
  std::vector<SpeedReport> models;  // in the order given; of each, setting by setting
  // All models stay in memory and take turns, repeat by repeat, so that the machine's moods meet all alike.
  // Without the memory for that, each model ran alone, or each setting of it.
  bool alternated = true;
};

using SpeedProgress = std::function<void(int64_t done, int64_t total, const std::string& name)>;

// Every folder at every setting. Throws Error for a folder that does not load, and before anything is
// measured where context, prompt and generated tokens do not fit into a model's max_position_embeddings.
SpeedReports measure_speed(std::span<const std::filesystem::path> folders,
                           std::span<const SpeedSetting> settings, const SpeedProgress& progress);
// The same at one setting.
SpeedReports measure_speed(std::span<const std::filesystem::path> folders, const Team& team,
                           const SpeedOptions& options, const SpeedProgress& progress);

// Lengths cut to what `context` positions hold: at most a quarter of them is decoded.
SpeedOptions fitted(SpeedOptions options, int64_t context);

// Name and size of each, without a setting. Throws Error as above.
std::vector<SpeedReport> describe_models(std::span<const std::filesystem::path> folders);
void check_context(const ModelSpec& spec, const std::filesystem::path& folder, const SpeedOptions& options);

}  // namespace whittle
