#pragma once
// The memory that a model would take, part by part, from the engine's own formulas.

#include <cstdint>

#include "bench/estimate/stored_model.h"
#include "engine/kv_cache.h"

namespace whittle {

// What is to be run: as `whittle bench` and `whittle generate` run it.
struct PlannedWorkload {
  int64_t context = 0;        // positions of every sequence, all of them used
  int64_t prompt_tokens = 0;  // at most `context`
  int64_t sequences = 1;      // decoded together
  KvFormat kv_cache = KvFormat::f16;
  int threads = 1;

  // Tokens that go through the layers together at most.
  int64_t rows() const;
};

struct MemoryNeed {
  int64_t weights_bytes = 0;   // packed
  int64_t kv_cache_bytes = 0;  // of all sequences
  int64_t scratch_bytes = 0;   // of a decoder
  int64_t loading_bytes = 0;   // the most that loading takes at a time, what is packed by then included
  int64_t process_bytes = 0;   // program, libraries and tokenizer

  // While it runs; and the most of all, loading included.
  int64_t running_bytes() const { return weights_bytes + kv_cache_bytes + scratch_bytes + process_bytes; }
  int64_t peak_bytes() const;
};

// Throws Error where keys and values are so many bytes that sums with them cannot be counted.
MemoryNeed memory_need(const StoredModel& model, const PlannedWorkload& workload, int64_t process_bytes);

}  // namespace whittle
