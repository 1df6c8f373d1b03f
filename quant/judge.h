#pragma once
// How far models are from the original on text that no method saw. The original is run once for all of them.

#include <cstdint>
#include <filesystem>
#include <optional>

#include "bench/drift/drift.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/method.h"
#include "quant/output_head.h"
#include "quant/token_stream.h"

namespace whittle {

class Judge {
 public:
  // Takes the windows, one at least, through the original. spill_folder: as of RowStore. Original, windows
  // and team must outlive this.
  Judge(const WeightSource& original, const Windows& windows, const std::filesystem::path& spill_folder,
        const Team& team, const StageProgress& progress);

  // A model, from its embedding over its layers to its head, no more of it in memory at a time than who calls
  // has; with keys and values in f16. It may have fewer or smaller layers than the original.
  void begin(const WeightSource& model);
  void pass(const DecoderLayer& layer, int64_t index);
  DriftReport end(const WeightSource& model);

 private:
  const WeightSource& original_;
  const Windows& windows_;
  const Team& team_;
  const std::filesystem::path spill_folder_;
  TokenStream baseline_;
  std::optional<TokenStream> model_;
};

}  // namespace whittle
