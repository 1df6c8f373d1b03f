#pragma once
// A small model of every architecture and of what they may have, and what models say.

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "engine/session.h"
#include "tests/support/tiny_families.h"

namespace whittle::test {

// One of every architecture, alike in all but that. Biases and the name of a tied matrix are Llama's alone.
inline std::vector<std::filesystem::path> write_architectures(const std::filesystem::path& folder,
                                                              const TinyModel& like,
                                                              const TinyFamily& family_like,
                                                              const std::string& suffix = "") {
  std::vector<std::filesystem::path> models;
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    TinyModel model = like;
    model.architecture = architecture;
    if (model.architecture != "LlamaForCausalLM") {
      model.attention_bias = model.mlp_bias = false;
      model.tied_name = TinyModel().tied_name;
    }
    std::filesystem::create_directories(models.emplace_back(folder / (architecture + suffix)));
    write_tiny_model(models.back(), model);
  }
  for (const bool gpt2 : {true, false}) {
    TinyFamily family = family_like;
    family.gpt2 = gpt2;
    models.push_back(write_family(folder / ((gpt2 ? "gpt2" : "bloom") + suffix), family));
  }
  return models;
}

// The same with room for groups of 32.
inline std::vector<std::filesystem::path> write_grouped_models(const std::filesystem::path& folder) {
  return write_architectures(folder,
                             {.hidden_size = 64,
                              .intermediate_size = 96,
                              .num_attention_heads = 4,
                              .num_key_value_heads = 2,
                              .head_dim = 16,
                              .vocab_size = 60},
                             {});
}

// Every row of the table of architectures: with and without biases, grouped heads, heads that together are
// not as wide as the stream, sizes that are no powers of two, tied and not.
inline std::vector<std::filesystem::path> write_model_variants(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> models;
  for (const bool tied : {true, false})
    std::ranges::copy(
        write_architectures(
            folder,
            {.hidden_size = 60,
             .intermediate_size = 44,
             .num_attention_heads = 6,
             .num_key_value_heads = 2,
             .head_dim = 14,
             .vocab_size = 53,
             .attention_bias = true,
             .mlp_bias = true,
             .tied = tied,
             .tied_name = "lm_head"},
            {.based = !tied, .tied = tied, .hidden = 36, .heads = 3, .vocab = 53, .dtype = "F32"},
            tied ? "-tied" : ""),
        std::back_inserter(models));
  return models;
}

// Logits after every token of some ids, with float32 keys and values.
inline std::vector<float> logits_of(const std::shared_ptr<const WeightSource>& source, const Team& team) {
  const Model model(source, team);
  Session session(model, team, {.context = 24, .kv_cache = KvFormat::f32});
  SplitMix64 random(3);
  std::vector<int32_t> ids;
  for (int i = 0; i < 24; ++i)
    ids.push_back(static_cast<int32_t>(random.bits() % static_cast<uint64_t>(model.spec().vocab_size)));
  const Logits logits = session.forward_all(ids);
  std::vector<float> all;
  for (int64_t i = 0; i < logits.rows; ++i) all.insert(all.end(), logits.row(i).begin(), logits.row(i).end());
  return all;
}

// √(Σ(a − b)² / Σa²).
inline double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) throw std::runtime_error("sizes differ");
  double error = 0, power = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), difference = x - static_cast<double>(b[i]);
    error += difference * difference;
    power += x * x;
  }
  return std::sqrt(error / power);
}

inline std::vector<float> values_of(const WeightMatrix& matrix) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  for (int64_t row = 0; row < matrix.rows; ++row) matrix.decode_row(row, values.data() + row * matrix.cols);
  return values;
}

}  // namespace whittle::test
