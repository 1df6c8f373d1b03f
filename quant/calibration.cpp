#include "quant/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <random>

#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "engine/sampler.h"
#include "engine/session.h"

namespace whittle {
namespace {

// Sequences that are drawn together: so many, if their caches take no more than this.
constexpr int64_t most_sequences = 32, most_cache_bytes = int64_t{512} << 20;

// FNV-1a over the ids, to tell two calibrations apart.
uint64_t hash_of(const std::vector<std::vector<int32_t>>& windows) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const std::vector<int32_t>& window : windows)
    for (const int32_t id : window)
      for (int byte = 0; byte < 4; ++byte)
        hash = (hash ^ (static_cast<uint32_t>(id) >> 8 * byte & 255)) * 0x100000001b3u;
  return hash;
}

void describe(CalibrationText& text, const std::string& source) {
  text.source = fmt::format("{}: {} tokens in {} windows, fnv1a {:016x}", printable(source), text.tokens(),
                            text.windows.size(), hash_of(text.windows));
}

}  // namespace

int64_t CalibrationText::tokens() const {
  int64_t count = 0;
  for (const auto& window : windows) count += std::ssize(window);
  return count;
}

int64_t CalibrationText::longest() const {
  int64_t most = 0;
  for (const auto& window : windows) most = std::max(most, static_cast<int64_t>(window.size()));
  return most;
}

CalibrationText self_calibration(const std::filesystem::path& folder, const Team& team, int64_t tokens,
                                 int64_t context, uint64_t seed, const CalibrationProgress& progress) {
  const Model model(folder, team);
  const ModelSpec& spec = model.spec();
  context = std::min(context, spec.max_position_embeddings);
  const int64_t count = std::max<int64_t>(1, (tokens + context - 1) / context),
                caches = most_cache_bytes / KvCache::bytes(spec, KvFormat::f16, context),
                together = std::clamp(std::min(count, caches), int64_t{1}, most_sequences);
  const auto decoder = std::make_shared<Decoder>(model, team, together, context);
  std::vector<std::unique_ptr<Session>> sessions;
  for (int64_t i = 0; i < together; ++i)
    sessions.push_back(std::make_unique<Session>(decoder, context, KvFormat::f16));
  CalibrationText text;
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
      text.windows.push_back({next.back()});
    }
    for (int64_t position = 1; position < context; ++position) {
      check_interrupted();
      const Logits logits = Session::step(step, next);
      // Without filters a sampler sorts the vocabulary: each sequence on a thread of its own.
      team.for_each(batch, [&](int64_t i) {
        std::vector<int32_t>& window = text.windows[static_cast<size_t>(begin + i)];
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
  describe(text, fmt::format("self, seed {}", seed));
  return text;
}

CalibrationText first_windows(Windows windows, const std::string& source, int64_t vocab_size, int64_t tokens,
                              int64_t context) {
  check_windows(windows, vocab_size);
  CalibrationText text;
  for (std::vector<int32_t>& window : windows.ids) {
    if (text.tokens() >= tokens) break;
    if (std::ssize(window) > context) window.resize(static_cast<size_t>(context));
    text.windows.push_back(std::move(window));
  }
  describe(text, source);
  return text;
}

}  // namespace whittle
