#include "quant/self_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <random>

#include "engine/files/interrupts.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "kernels/error.h"
#include "quant/large_model.h"
#include "quant/quantized_matrix.h"

namespace whittle {
namespace {

// Sequences that are drawn together: so many, if their caches take no more than this.
constexpr int64_t most_sequences = 64, most_cache_bytes = int64_t{512} << 20;
// What a run takes beside the weights.
constexpr int64_t spare_bytes = int64_t{1} << 30;

// A model rounded to nearest as it is read: a matrix is in memory only while it is packed.
class RoundedWeights final : public WeightSource {
 public:
  RoundedWeights(const WeightSource& source, const QuantizationScheme& scheme, const Team& team)
      : source_(source), scheme_(scheme), team_(team) {}
  const ModelSpec& spec() const override { return source_.spec(); }
  const Inventory& inventory() const override { return source_.inventory(); }
  WeightMatrix matrix(const Module& module) const override {
    // Rows of an embedding are looked up one by one.
    if (module.kind() != ModuleKind::linear) return source_.matrix(module);
    return round_to_nearest(source_, module, scheme_, team_).matrix;
  }
  std::vector<float> weight_vector(const Module& norm) const override { return source_.weight_vector(norm); }
  std::vector<float> bias(const Module& module) const override { return source_.bias(module); }
  int64_t activation_group_size(const Module&) const override { return scheme_.activation_group_size; }
  void release(const WeightMatrix& matrix) const override { source_.release(matrix); }
  void check_unchanged() const override { source_.check_unchanged(); }

 private:
  const WeightSource& source_;
  const QuantizationScheme scheme_;
  const Team& team_;
};

// As it lies in the files, or the first rounding that fits.
std::shared_ptr<const WeightSource> fitting(const WeightSource& source, int64_t memory, const Team& team,
                                            std::string& rounded_to) {
  int64_t linears = 0, bytes = 0;
  for (const Module& module : source.inventory().modules()) {
    if (!module.matrix()) continue;
    const WeightMatrix matrix = source.matrix(module);
    bytes += std::ssize(matrix.codes);
    if (module.kind() == ModuleKind::linear) linears += matrix.rows * matrix.cols;
    source.release(matrix);
  }
  const auto unowned = [](const WeightSource& it) {
    return std::shared_ptr<const WeightSource>(&it, [](const WeightSource*) {});
  };
  if (bytes + spare_bytes <= memory && !is_large(source.inventory())) return unowned(source);
  constexpr int64_t group_size = 32;
  const bool int8 = linears + linears / 8 + spare_bytes <= memory;
  const QuantizationScheme scheme = {.format = int8 ? WeightFormat::int8 : WeightFormat::int4,
                                     .strategy = ScaleStrategy::group,
                                     .group_size = group_size,
                                     .quantized_activations = true,
                                     .activation_group_size = group_size};
  rounded_to = fmt::format(" rounded to {}", info(scheme.format).name);
  return std::make_shared<RoundedWeights>(source, scheme, team);
}

}  // namespace

SelfText self_text(const WeightSource& source, int64_t memory, const Team& team, int64_t tokens,
                   int64_t context, uint64_t seed,
                   const std::function<void(int64_t done, int64_t total)>& progress) {
  SelfText text;
  const Model model(fitting(source, memory, team, text.rounded_to), team);
  const ModelSpec& spec = model.spec();
  context = std::min(context, spec.max_position_embeddings);
  constexpr int64_t least = 2;
  if (context < least) fail("a model of {} position writes no text to calibrate on", context);
  text.windows.context = context;
  text.windows.protocol = "token ids";
  const int64_t count = std::max<int64_t>(1, (tokens + context - 1) / context),
                caches =
                    most_cache_bytes / std::max<int64_t>(1, KvCache::bytes(spec, KvFormat::f16, context)),
                most = std::clamp(caches, int64_t{1}, most_sequences), batches = (count + most - 1) / most,
                together = (count + batches - 1) / batches;
  const auto decoder = std::make_shared<Decoder>(model, team, together, context);
  std::vector<std::unique_ptr<Session>> sessions;
  for (int64_t i = 0; i < together; ++i)
    sessions.push_back(std::make_unique<Session>(decoder, context, KvFormat::f16));
  std::mt19937_64 random(seed);
  for (int64_t begin = 0; begin < count; begin += together) {
    const int64_t batch = std::min(together, count - begin);
    std::vector<Session*> step;
    std::vector<Sampler> samplers;
    std::vector<int32_t> next;
    for (int64_t i = 0; i < batch; ++i) {
      sessions[static_cast<size_t>(i)]->rewind(0);
      step.push_back(sessions[static_cast<size_t>(i)].get());
      samplers.emplace_back(SamplerOptions{.temperature = 1, .seed = random()});
      const auto drawn = static_cast<int32_t>(random() % static_cast<uint64_t>(spec.vocab_size));
      next.push_back(spec.bos_token_id >= 0 ? spec.bos_token_id : drawn);
      text.windows.ids.push_back({next.back()});
    }
    for (int64_t position = 1; position < context; ++position) {
      check_interrupted();
      const Logits logits = Session::step(step, next);
      // Without filters a sampler sorts the vocabulary: each sequence on a thread of its own.
      team.for_each(batch, [&](int64_t i) {
        std::vector<int32_t>& window = text.windows.ids[static_cast<size_t>(begin + i)];
        int32_t& id = next[static_cast<size_t>(i)];
        // An end that is a beginning as well needs no other.
        const bool ended = std::ranges::find(spec.eos_token_ids, id) != spec.eos_token_ids.end();
        id = ended && spec.bos_token_id >= 0 && id != spec.bos_token_id
                 ? spec.bos_token_id
                 : samplers[static_cast<size_t>(i)].sample(logits.row(i), {});
        window.push_back(id);
      });
      if (progress) progress(begin * context + batch * (position + 1), count * context);
    }
  }
  return text;
}

}  // namespace whittle
