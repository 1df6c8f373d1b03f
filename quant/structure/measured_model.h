#pragma once
// A model whose halves of layers are exchanged or left out one by one, and the KL divergence from the
// original that each change brings: only what comes after it runs again.

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "quant/method.h"
#include "quant/output_head.h"
#include "quant/structure/halves.h"

namespace whittle {

class MeasuredModel {
 public:
  // Takes the windows through the model, which stays in memory. memory, spill: as of RestorationOptions.
  // Source, windows and team must outlive this.
  MeasuredModel(const WeightSource& source, const Windows& windows, int64_t memory,
                const std::filesystem::path& spill, const Team& team, const StageProgress& progress);

  // Halves are numbered in the order in which tokens meet them: a layer's attention, its MLP.
  int64_t halves() const { return std::ssize(halves_); }
  // Whether the original has it.
  bool has(int64_t half) const;
  const DecoderLayer& half(int64_t index) const { return halves_[static_cast<size_t>(index)]; }

  // From here on the model is without these, and with all others.
  void leave_out(std::set<int64_t> halves);
  const std::set<int64_t>& left_out() const { return left_out_; }
  // Mean KL of the model as it is but for some halves; nullptr: none in this place.
  using Changes = std::map<int64_t, const DecoderLayer*>;
  double kl(const Changes& changes);

 private:
  TokenStream stream() const;
  const DecoderLayer* current(int64_t half) const;

  const ModelSpec spec_;
  const Windows& windows_;
  const int64_t memory_;
  const std::filesystem::path spill_;
  const Team& team_;
  std::vector<DecoderLayer> halves_;
  std::set<int64_t> left_out_;
  std::vector<TokenStream> before_;  // the stream before each half, as the model now is
  std::optional<TokenStream> original_, changed_;
  OutputHead original_head_, head_;
};

}  // namespace whittle
