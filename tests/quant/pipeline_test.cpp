#include "quant/pipeline.h"

#include <cmath>

#include "engine/model.h"
#include "tests/support/independent_reader.h"
#include "tests/support/models.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

// The values that the engine sees, through its own reader and packing.
std::vector<double> engine_matrix(const fs::path& folder, const std::string& module, int64_t rows,
                                  int64_t cols) {
  const ModelFile file(folder);
  const WeightMatrix matrix = file.weight(module, rows, cols);
  std::vector<double> out;
  std::vector<float> codes(static_cast<size_t>(cols));
  for (int64_t row = 0; row < rows; ++row) {
    info(matrix.format)
        .decode_row(matrix.codes.data() + row * row_bytes(matrix.format, cols), cols, codes.data());
    for (int64_t k = 0; k < cols; ++k) {
      double value = static_cast<double>(codes[static_cast<size_t>(k)]);
      if (matrix.groups()) {
        const auto at = static_cast<size_t>(row * matrix.groups() + k / matrix.group_size);
        value = (value - (matrix.zero_points.empty() ? 0.0 : matrix.zero_points[at])) *
                static_cast<double>(matrix.scales[at]);
      }
      out.push_back(value);
    }
  }
  return out;
}

void make_tiny(const fs::path& folder, bool tied) {
  fs::create_directory(folder);
  TinyModel tiny;
  tiny.hidden_size = 72;
  tiny.intermediate_size = 172;
  tiny.num_attention_heads = 6;
  tiny.num_key_value_heads = 3;
  tiny.head_dim = 12;
  tiny.vocab_size = 31;
  tiny.tied = tied;
  tiny.dtype = "F16";
  write_tiny_model(folder, tiny);
}

}  // namespace

TEST_CASE("What is written is read value for value by an independent reader") {
  const TemporaryFolder folder;
  make_tiny(folder.path() / "tiny", false);
  std::vector<Recipe> recipes;
  for (const bool symmetric : {true, false}) {
    for (const int64_t group : {0, 32}) {
      Recipe int8 = int8_recipe();
      int8.group_size = group;
      int8.symmetric = symmetric;
      int8.lm_head = int8.embedding = WeightFormat::int8;
      recipes.push_back(int8);
    }
    Recipe int4 = int4_recipe(32, symmetric);
    int4.lm_head = WeightFormat::int4;
    recipes.push_back(int4);
  }
  int number = 0;
  for (const Recipe& recipe : recipes) {
    CAPTURE(recipe.text());
    const fs::path out = folder.path() / std::to_string(number++);
    quantize(folder.path() / "tiny", out, recipe, Team(2), "test", {});
    const IndependentReader reader(out);
    const FolderWeights weights(out);
    for (const Module& module : weights.inventory().modules()) {
      if (!module.matrix()) continue;
      CAPTURE(module.name);
      CHECK(reader.matrix(module.name) == engine_matrix(out, module.name, module.rows, module.cols));
    }
    CHECK(reader.config()["quantization_config"]["quant_method"] == "compressed-tensors");
    CHECK(reader.header()["__metadata__"]["whittle.recipe"] == recipe.text());
  }
}

TEST_CASE("The values written are near the original's, and what is kept is kept bit for bit") {
  const fs::path out = quantized_reference(int4_recipe(32));
  const IndependentReader before(reference_model()), after(out);
  double error = 0, power = 0;
  const std::vector<double> was = before.matrix("model.layers.3.mlp.down_proj"),
                            is = after.matrix("model.layers.3.mlp.down_proj");
  REQUIRE(was.size() == is.size());
  for (size_t i = 0; i < was.size(); ++i) {
    error += (was[i] - is[i]) * (was[i] - is[i]);
    power += was[i] * was[i];
  }
  CHECK(error / power <
        0.01);  // 16 levels over ±2.7 deviations: 1.15 % at most for one scale, less with groups
  CHECK(before.matrix("model.embed_tokens") == after.matrix("model.embed_tokens"));
  CHECK(read_text(out / "tokenizer.json") == read_text(reference_model() / "tokenizer.json"));
}

TEST_CASE("The file does not depend on the number of threads") {
  const TemporaryFolder folder;
  for (const int threads : {1, 3})
    quantize(reference_model(), folder.path() / std::to_string(threads), int4_recipe(64), Team(threads),
             "test", {});
  CHECK(read_text(folder.path() / "1" / "model.safetensors") ==
        read_text(folder.path() / "3" / "model.safetensors"));
}

TEST_CASE("Excluded modules stay as they were, and the report counts real bytes") {
  const TemporaryFolder folder;
  Recipe recipe = int8_recipe();
  recipe.exclude = {"layers\\.0\\.", "down_proj"};
  const fs::path out = folder.path() / "out";
  const QuantizationReport report = quantize(reference_model(), out, recipe, Team(2), "test", {});
  const IndependentReader before(reference_model()), after(out);
  CHECK(report.modules == 7 * 6);
  CHECK(after.matrix("model.layers.0.mlp.up_proj") == before.matrix("model.layers.0.mlp.up_proj"));
  CHECK(after.matrix("model.layers.5.mlp.down_proj") == before.matrix("model.layers.5.mlp.down_proj"));
  CHECK(after.has("model.layers.5.mlp.up_proj.weight_scale"));
  CHECK(report.written_bytes == static_cast<int64_t>(fs::file_size(out / "model.safetensors")));
  CHECK(report.bits_per_weight > 8);
  CHECK(report.bits_per_weight < 8.25);
  const Model model(out, Team(2));
}

TEST_CASE("A tied matrix stays one when head and embedding agree, and becomes two when they do not") {
  const auto made = [&](std::optional<WeightFormat> head, std::optional<WeightFormat> embedding) {
    Recipe recipe = int8_recipe();
    recipe.lm_head = head;
    recipe.embedding = embedding;
    return quantized_reference(recipe);
  };
  const IndependentReader both(made(WeightFormat::int8, WeightFormat::int8));
  CHECK(both.header()["model.embed_tokens.weight"]["dtype"] == "I8");
  CHECK_FALSE(both.has("lm_head.weight"));
  CHECK(both.config()["tie_word_embeddings"] == true);
  const IndependentReader head_alone(made(WeightFormat::int4, std::nullopt));
  CHECK(head_alone.header()["model.embed_tokens.weight"]["dtype"] == "F16");
  CHECK(head_alone.has("lm_head.weight_packed"));
  CHECK(head_alone.config()["tie_word_embeddings"] == false);
  const IndependentReader embedding_alone(made(std::nullopt, WeightFormat::int8));
  CHECK(embedding_alone.header()["model.embed_tokens.weight"]["dtype"] == "I8");
  CHECK(embedding_alone.header()["lm_head.weight"]["dtype"] == "F16");
  for (const auto& [head, embedding] :
       {std::pair(std::optional(WeightFormat::int8), std::optional(WeightFormat::int8)),
        std::pair(std::optional(WeightFormat::int4), std::optional<WeightFormat>()),
        std::pair(std::optional<WeightFormat>(), std::optional(WeightFormat::int8))})
    const Model model(made(head, embedding), Team(2));
}

TEST_CASE("A weight that is not finite stops the run with tensor and index, and leaves nothing") {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    const TemporaryFolder folder;
    const fs::path source = folder.path() / "source", out = folder.path() / "out";
    make_tiny(source, true);
    TinyModel shape;
    std::string file = read_text(source / "model.safetensors");
    const IndependentReader reader(source);
    const size_t header = 8 + static_cast<size_t>(static_cast<unsigned char>(file[0])) +
                          256 * static_cast<unsigned char>(file[1]);
    const size_t at = reader.header()["model.layers.1.mlp.up_proj.weight"]["data_offsets"][0].get<size_t>();
    const auto half = static_cast<_Float16>(bad);
    std::memcpy(file.data() + header + at + 2 * 100, &half, 2);
    write_text(source / "model.safetensors", file);
    std::string message;
    try {
      quantize(source, out, int8_recipe(), Team(2), "test", {});
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(message);
    CHECK(message.find("model.layers.1.mlp.up_proj.weight") != std::string::npos);
    CHECK(message.find("element 100 ") != std::string::npos);
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) ==
          1);  // the source alone
  }
}

TEST_CASE("A model that is quantized already, or a recipe that leaves nothing to do, is refused") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(
      quantize(quantized_reference(int8_recipe()), folder.path() / "a", int8_recipe(), Team(1), "test", {}),
      Error);
  Recipe nothing = int8_recipe();
  nothing.exclude = {"layers"};
  CHECK_THROWS_AS(quantize(reference_model(), folder.path() / "b", nothing, Team(1), "test", {}), Error);
  CHECK(fs::is_empty(folder.path()));
}
