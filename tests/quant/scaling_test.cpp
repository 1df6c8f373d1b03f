#include "quant/scaling.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/error.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

constexpr Role producers[] = {Role::attention_norm, Role::v, Role::mlp_norm, Role::up};

// As in rotation_test.cpp: sums of up to 60 terms, some thirty after one another.
constexpr double rounding = 60 * 30 * 0x1p-24;

std::vector<float> some_scales(const ModelSpec& spec, Role producer, uint64_t seed) {
  SplitMix64 random(seed);
  std::vector<float> scales(static_cast<size_t>(scaled_channels(spec, 0, producer)));
  for (float& scale : scales) scale = std::exp2(random.uniform(-3, 3));
  return scales;
}

}  // namespace

TEST_CASE("Scaled models of every family say what they said before, whatever is scaled in them") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const fs::path& path : write_model_variants(folder.path())) {
    const FolderWeights source(path);
    const std::vector<float> expected = logits_of(std::make_shared<FolderWeights>(path), team);
    const auto all = std::make_shared<ScaledWeights>(source, team);
    for (const Role producer : producers) {
      CAPTURE(path.filename(), info(producer).name);
      if (!can_scale(source.spec(), producer)) continue;
      const auto one = std::make_shared<ScaledWeights>(source, team);
      one->scale(1, producer, some_scales(source.spec(), producer, 5));
      CHECK(relative_difference(expected, logits_of(one, team)) < rounding);
      for (int64_t layer = 0; layer < source.spec().num_hidden_layers; ++layer)
        all->scale(layer, producer, some_scales(source.spec(), producer, 6 + static_cast<uint64_t>(layer)));
    }
    CAPTURE(path.filename());
    CHECK(relative_difference(expected, logits_of(all, team)) < rounding);
  }
}

TEST_CASE("Columns are multiplied by the scales that their producer's outputs are divided by") {
  const TemporaryFolder folder;
  const Team team(2);
  write_tiny_model(folder.path(), {.hidden_size = 12,
                                   .num_attention_heads = 6,
                                   .num_key_value_heads = 2,
                                   .head_dim = 4,
                                   .attention_bias = true});
  const FolderWeights source(folder.path());
  ScaledWeights scaled(source, team);
  std::vector<float> powers;  // which change no bit of a mantissa
  for (int i = 0; i < 8; ++i) powers.push_back(std::exp2(static_cast<float>(i)));
  scaled.scale(0, Role::v, powers);
  const Module &v = *source.inventory().find(0, Role::v), &o = *source.inventory().find(0, Role::o);
  const std::vector<float> v_before = values_of(source.matrix(v)), v_after = values_of(scaled.matrix(v));
  for (size_t row = 0; row < 8; ++row) {
    for (size_t k = 0; k < 12; ++k) CHECK(v_after[row * 12 + k] * powers[row] == v_before[row * 12 + k]);
    CHECK(scaled.bias(v)[row] * powers[row] == source.bias(v)[row]);
  }
  // Query heads 0, 1 and 2 read key/value head 0, the others head 1.
  const std::vector<float> o_before = values_of(source.matrix(o)), o_after = values_of(scaled.matrix(o));
  for (size_t row = 0; row < 12; ++row)
    for (size_t k = 0; k < 24; ++k)
      CHECK(o_after[row * 24 + k] == o_before[row * 24 + k] * powers[k / 12 * 4 + k % 4]);
  for (const Module& module : source.inventory().modules())
    CHECK(scaled.changed(module) == (module.name == v.name || module.name == o.name));
}

TEST_CASE("What is scaled has changed, and nothing else") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const fs::path& path : write_model_variants(folder.path())) {
    const FolderWeights source(path);
    for (const Role producer : producers) {
      if (!can_scale(source.spec(), producer)) continue;
      ScaledWeights scaled(source, team);
      scaled.scale(1, producer, some_scales(source.spec(), producer, 5));
      for (const Module& module : source.inventory().modules()) {
        CAPTURE(path.filename(), info(producer).name, module.name);
        bool differs = module.matrix() ? values_of(scaled.matrix(module)) != values_of(source.matrix(module))
                                       : scaled.weight_vector(module) != source.weight_vector(module);
        if (module.bias) differs |= scaled.bias(module) != source.bias(module);
        CHECK(scaled.changed(module) == differs);
      }
    }
  }
}

TEST_CASE("Scales that would not be exact or do not fit are refused") {
  const TemporaryFolder folder;
  const Team team(2);
  const FolderWeights gpt2(write_family(folder.path() / "gpt2", {}));
  ScaledWeights scaled(gpt2, team);
  // A GELU stands between up and down.
  CHECK_THROWS_WITH(scaled.scale(0, Role::up, std::vector<float>(256, 1.0f)), Contains("up"));
  CHECK_THROWS_AS(scaled.scale(0, Role::o, std::vector<float>(64, 1.0f)), Error);
  CHECK_THROWS_WITH(scaled.scale(0, Role::v, std::vector<float>(63, 1.0f)), Contains("64") && Contains("63"));
  for (const float wrong : {0.0f, -1.0f, NAN, INFINITY}) {
    std::vector<float> scales(64, 1.0f);
    scales[5] = wrong;
    CHECK_THROWS_AS(scaled.scale(0, Role::v, scales), Error);
  }
  scaled.scale(1, Role::v, std::vector<float>(64, 1e-40f));
  CHECK_THROWS_WITH(scaled.matrix(*gpt2.inventory().find(1, Role::qkv)), Contains("h.1.attn.c_attn.weight"));
  CHECK_THROWS_WITH(scaled.bias(*gpt2.inventory().find(1, Role::qkv)), Contains("h.1.attn.c_attn.bias"));
}
