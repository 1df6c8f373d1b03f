// A model that does not exist is counted as the engine counts one that does.

#include "bench/estimate/stored_model.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>

#include "bench/estimate/made_up_weights.h"
#include "engine/model.h"
#include "tests/support/estimated_models.h"

using namespace whittle;
using namespace whittle::test;

TEST_CASE("What a stored model is said to take is what the engine takes for it, family by family") {
  const Team team(1);
  for (const ModelSpec& spec : small_specs())
    for (const StorageChoice& choice : some_choices()) {
      CAPTURE(spec.model_type, spec.tie_word_embeddings, choice.name);
      const StoredModel stored(spec, choice);
      const Model model(std::make_shared<MadeUpWeights>(stored), team);
      // Made-up weights have no file that an embedding of its own could stay in.
      const Module& embedding = stored.inventory().embedding();
      const QuantizationScheme* const scheme = stored.scheme(embedding);
      const int64_t apart =
          stored.inventory().tied()
              ? 0
              : embedding.rows * row_bytes(scheme ? scheme->format : choice.floats, embedding.cols);
      CHECK(stored.weight_bytes() == model.weight_bytes() - apart);
      CHECK(stored.decode_bytes() == model.decode_bytes());
      CHECK(stored.macs() == model.macs());
      CHECK(stored.int8_macs() == model.int8_macs());
      CHECK(std::ranges::is_permutation(stored.activation_group_sizes(), model.activation_group_sizes()));
      CHECK(model.packings().empty());
    }
}

TEST_CASE("BLOOM-176B is 176,247,271,424 numbers, 352 GB of them in 16 bits") {
  const ModelSpec spec = read_config({{"architectures", {"BloomForCausalLM"}},
                                      {"model_type", "bloom"},
                                      {"vocab_size", 250880},
                                      {"n_embed", 14336},
                                      {"n_layer", 70},
                                      {"n_head", 112},
                                      {"seq_length", 2048}},
                                     nlohmann::json::object(), "bloom");
  const StoredModel floats(spec, {"f16"});
  CHECK(floats.file_bytes() == 2 * 176'247'271'424);
  // Packed, biases and norms have four bytes a number, and nothing else has more than two.
  CHECK(floats.weight_bytes() - floats.file_bytes() > 0);
  CHECK(floats.weight_bytes() - floats.file_bytes() < floats.file_bytes() / 1000);
}

TEST_CASE("A tied matrix whose uses are stored differently becomes two") {
  ModelSpec spec = small_specs().front();
  spec.tie_word_embeddings = true;
  StorageChoice choice{"int8"};
  choice.head = QuantizationScheme{};
  CHECK_FALSE(StoredModel(spec, choice).spec().tie_word_embeddings);
  choice.embedding = QuantizationScheme{};
  CHECK(StoredModel(spec, choice).spec().tie_word_embeddings);
}
