#pragma once
// How fast models run: prompts, single tokens, and the machine's limits beside each.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/model_size.h"
#include "bench/reports/profile_report.h"
#include "engine/packing_choice.h"
#include "kernels/kernel_table.h"
#include "kernels/threads.h"

namespace whittle {

struct SpeedOptions {
  int64_t prompt_tokens = 512, gen_tokens = 128;  // each at least 1
  int64_t sequences = 1;                          // decoded together, each of its own cache, after the prompt
  int64_t repeat = 5;                             // at least 1, after one warm-up
  KvFormat kv_cache = KvFormat::f16;
  bool profile = false;  // one more run a model, operation by operation
};

// One run of a prompt and gen_tokens steps. Times in seconds.
struct SpeedRepeat {
  double tokenization = 0;    // of the prompt; 0 without a tokenizer
  double prefill = 0;         // the prompt through the model
  double first_sampling = 0;  // of the token that follows
  // Each step after the first token, from the one before it: decoder, sampling and detokenization, of all
  // sequences.
  std::vector<double> latencies;
  double sampling = 0, detokenization = 0;  // their part of all latencies together

  // Probes: arithmetic just before and after the prompt, reading before, after, and every half second during
  // the steps.
  double arithmetic_gops = 0;
  double read_gb_per_s = 0;

  double ttft() const { return tokenization + prefill + first_sampling; }
  double decode() const;  // all latencies together
};

// A prompt or the steps after it, operation by operation.
struct PhaseProfile {
  std::string phase;  // "prefill" or "decode"
  std::shared_ptr<Profile> profile;
  ProfileLimits limits;
};

struct SpeedReport {
  std::string name;  // the folder's own, or its path where names are not unique
  ModelSize size;
  bool has_tokenizer = false;
  int64_t weights_bytes = 0;           // packed, in memory
  int64_t kv_cache_bytes = 0;          // of prompt_tokens + gen_tokens positions of every sequence
  std::vector<PackingCount> packings;  // of weights that are mostly zeros
  double load_seconds = 0;  // reading and packing, from whatever of the files the system had cached
  // Multiplies and adds of the prompt: those on int8 where the model has any, else those of the float
  // matrices.
  bool int8 = false;
  double prefill_operations = 0;
  double decode_bytes = 0;  // read for a step: every weight once, and all KV caches, averaged over the steps
  int64_t prompt_tokens = 0, gen_tokens = 0, sequences = 1;
  std::vector<SpeedRepeat> repeats;
  std::vector<PhaseProfile> profiles;  // when asked for

  // One value a repeat.
  std::vector<double> ttft_ms() const;
  std::vector<double> prefill_tokens_per_s() const;
  std::vector<double> prefill_gops() const;
  std::vector<double> prefill_fraction() const;     // of the arithmetic probe beside it
  std::vector<double> decode_tokens_per_s() const;  // of all sequences together
  std::vector<double> decode_gb_per_s() const;
  std::vector<double> decode_bandwidth_fraction() const;  // of the read probe beside it
  std::vector<double> arithmetic_gops() const;
  std::vector<double> read_gb_per_s() const;
  std::vector<double> latencies_ms() const;  // of every step of every repeat
};

// The last part of its path.
std::string folder_name(const std::filesystem::path& folder);

struct SpeedReports {
  std::vector<SpeedReport> models;  // in the order given
  // All models stay in memory and take turns, repeat by repeat, so that the machine's moods meet all alike.
  // Without the memory for that, each ran alone.
  bool alternated = true;
};

using SpeedProgress = std::function<void(int64_t done, int64_t total, const std::string& name)>;

// Throws Error for a folder that does not load, and before anything is measured when prompt and generated
// tokens do not fit into a model's max_position_embeddings.
SpeedReports measure_speed(std::span<const std::filesystem::path> folders, const Team& team,
                           const SpeedOptions& options, const SpeedProgress& progress);

// Lengths cut to what `context` positions hold: at most a quarter of them is decoded.
SpeedOptions fitted(SpeedOptions options, int64_t context);

// Throws Error as above.
void check_context(const ModelSpec& spec, const std::filesystem::path& folder, const SpeedOptions& options);

}  // namespace whittle
