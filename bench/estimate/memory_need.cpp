#include "bench/estimate/memory_need.h"

#include <algorithm>

#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// What stands beside the packed weights while a module is read: its pages of the file, scales as float32, and
// copies of what lies otherwise there.
int64_t reading_bytes(const StoredModel& model, const Module& module) {
  const int64_t stored = model.file_bytes(module);
  int64_t copies = 0;
  if (const QuantizationScheme* scheme = model.scheme(module))
    copies += module.rows * static_cast<int64_t>(sizeof(float)) *
              (scheme->strategy == ScaleStrategy::group
                   ? (module.cols + scheme->group_size - 1) / scheme->group_size
                   : 1);
  else if (module.transposed)
    copies += stored;
  if (module.role == Role::qkv) copies += stored / module.rows * model.spec().q_size(module.layer);
  return stored + copies;
}

// In the order of Model: the head, then the layers, then the rest.
int64_t loading_peak(const StoredModel& model) {
  int64_t packed = 0, peak = 0;
  const auto load = [&](const Module& module) {
    packed += model.kept_bytes(module);
    peak = std::max(peak, packed + (model.kept_bytes(module) ? reading_bytes(model, module) : 0));
  };
  const Inventory& inventory = model.inventory();
  load(inventory.head());
  for (const bool in_layers : {true, false})
    for (const Module& module : inventory.modules())
      if ((module.layer >= 0) == in_layers && &module != &inventory.head()) load(module);
  return peak;
}

}  // namespace

int64_t PlannedWorkload::rows() const {
  return std::max(sequences, std::min(SessionOptions{}.prefill_chunk, prompt_tokens));
}

int64_t MemoryNeed::peak_bytes() const { return std::max(running_bytes(), loading_bytes + process_bytes); }

MemoryNeed memory_need(const StoredModel& model, const PlannedWorkload& workload, int64_t process_bytes) {
  MemoryNeed need;
  need.weights_bytes = model.weight_bytes();
  need.process_bytes = process_bytes;
  need.loading_bytes = loading_peak(model);
  need.scratch_bytes = Decoder::scratch_bytes(model.spec(), model.activation_group_sizes(), workload.threads,
                                              workload.rows(), workload.context, workload.sequences);
  const int64_t one = KvCache::bytes(model.spec(), workload.kv_cache, workload.context);
  // The weights of the largest config are below 2e18 bytes: what is left is enough for all sums.
  constexpr int64_t most = int64_t{3} << 61;
  if (__builtin_mul_overflow(one, workload.sequences, &need.kv_cache_bytes) || need.kv_cache_bytes > most)
    fail("keys and values of {} sequences of {} positions do not fit into memory", workload.sequences,
         workload.context);
  return need;
}

}  // namespace whittle
