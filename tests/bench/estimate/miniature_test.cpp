// A miniature does the same work, and less of it.

#include "bench/estimate/miniature.h"

#include <catch2/catch.hpp>

#include "bench/estimate/stored_model.h"
#include "tests/support/estimated_models.h"

using namespace whittle;
using namespace whittle::test;

namespace {

ModelSpec large(const ModelSpec& small, int64_t layers, int64_t hidden, int64_t inner, int64_t heads,
                int64_t kv_heads) {
  ModelSpec spec = small;
  spec.layers.clear();
  spec.num_hidden_layers = layers;
  spec.hidden_size = hidden;
  spec.intermediate_size = inner;
  spec.num_attention_heads = heads;
  spec.num_key_value_heads = kv_heads;
  spec.head_dim = hidden / heads;
  spec.vocab_size = 32'000;
  return spec;
}

}  // namespace

TEST_CASE("A miniature reads about the share that it was asked for, in the same proportions") {
  const ModelSpec llama = large(small_specs().front(), 80, 8192, 28672, 64, 8),
                  bloom = large(small_specs()[8], 70, 14336, 57344, 112, 112);
  REQUIRE(bloom.model_type == "bloom");
  for (const ModelSpec& spec : {llama, bloom})
    for (const double share : {0.5, 0.1, 1.0 / 80, 1.0 / 300, 1.0 / 640}) {
      CAPTURE(spec.model_type, share);
      const ModelSpec small = miniature_of(spec, share);
      const StoredModel whole(spec, {"f16"}), part(small, {"f16"});
      const double found =
          static_cast<double>(part.decode_bytes()) / static_cast<double>(whole.decode_bytes());
      CHECK(found > share / 2);
      CHECK(found < 2 * share);
      // Multiplications in the layers, and keys and values, shrink alike.
      CHECK(static_cast<double>(part.macs()) / static_cast<double>(whole.macs()) ==
            Approx(found).epsilon(0.03));
      int64_t kv_heads = 0;
      for (const LayerShape& layer : small.layers) kv_heads += layer.num_key_value_heads;
      CHECK(static_cast<double>(kv_heads) /
                static_cast<double>(spec.num_hidden_layers * spec.num_key_value_heads) ==
            Approx(found).epsilon(0.03));
      CHECK(small.hidden_size == spec.hidden_size);
      CHECK(small.head_dim == spec.head_dim);
    }
}

TEST_CASE("The whole of a model is the model, and no share is so small that nothing is left") {
  for (const ModelSpec& spec : small_specs()) {
    CAPTURE(spec.model_type);
    CHECK(StoredModel(miniature_of(spec, 1), {"f16"}).decode_bytes() ==
          StoredModel(spec, {"f16"}).decode_bytes());
    const ModelSpec least = miniature_of(spec, 1e-9);
    CHECK(least.num_hidden_layers == 1);
    CHECK(least.vocab_size >= 1);
    CHECK((least.layers.front().intermediate_size > 0 || least.layers.front().num_key_value_heads > 0));
  }
}
