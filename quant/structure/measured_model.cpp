#include "quant/structure/measured_model.h"

#include <algorithm>

namespace whittle {
namespace {

constexpr KvFormat kv_cache = KvFormat::f32;

}  // namespace

MeasuredModel::MeasuredModel(const WeightSource& source, const Windows& windows, int64_t memory,
                             const std::filesystem::path& spill, const Team& team,
                             const StageProgress& progress)
    : spec_(source.spec()),
      windows_(windows),
      memory_(memory),
      spill_(spill),
      team_(team),
      original_head_(source, team),
      head_(source, team) {
  original_.emplace(stream());
  changed_.emplace(stream());
  original_->embed(source);
  for (int64_t i = 0; i < spec_.num_hidden_layers; ++i) {
    progress(i, spec_.num_hidden_layers, fmt::format("layer {}", i));
    for (DecoderLayer& half : halves_of(load_layer(source, i, team))) {
      before_.emplace_back(stream()).copy(*original_);
      halves_.push_back(std::move(half));
      if (has(halves() - 1)) original_->pass(halves_.back(), i, kv_cache, true);
    }
  }
}

TokenStream MeasuredModel::stream() const {
  return {spec_, windows_.ids, team_,
          spill_folder(spec_, 2 * spec_.num_hidden_layers * tokens_of(windows_.ids), memory_, spill_)};
}

bool MeasuredModel::has(int64_t index) const { return half(index).has_attention() || half(index).has_mlp(); }

const DecoderLayer* MeasuredModel::current(int64_t index) const {
  return has(index) && !left_out_.contains(index) ? &half(index) : nullptr;
}

double MeasuredModel::kl(const Changes& changes) {
  const int64_t first = changes.empty() ? halves() - 1 : changes.begin()->first;
  changed_->copy(before_[static_cast<size_t>(first)]);
  for (int64_t i = first; i < halves(); ++i) {
    const auto change = changes.find(i);
    if (const DecoderLayer* half = change == changes.end() ? current(i) : change->second)
      changed_->pass(*half, i / 2, kv_cache, true);
  }
  return compare(windows_, *original_, original_head_, *changed_, head_, team_).kl.mean;
}

void MeasuredModel::leave_out(std::set<int64_t> halves) {
  std::vector<int64_t> differ;
  std::ranges::set_symmetric_difference(halves, left_out_, std::back_inserter(differ));
  left_out_ = std::move(halves);
  if (differ.empty()) return;
  changed_->copy(before_[static_cast<size_t>(differ.front())]);
  for (int64_t i = differ.front(); i < this->halves(); ++i) {
    before_[static_cast<size_t>(i)].copy(*changed_);
    if (const DecoderLayer* half = current(i)) changed_->pass(*half, i / 2, kv_cache, true);
  }
}

}  // namespace whittle
