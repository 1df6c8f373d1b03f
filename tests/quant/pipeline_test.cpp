#include "quant/pipeline.h"

#include <cmath>

#include "bench/model_size.h"
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
    for (const WeightFormat format : {WeightFormat::int5, WeightFormat::int6}) {
      Recipe narrow = int4_recipe(format == WeightFormat::int5 ? 32 : 128, symmetric);
      narrow.weights = format;
      narrow.lm_head = format;
      recipes.push_back(narrow);
    }
  }
  int number = 0;
  for (const Recipe& recipe : recipes) {
    CAPTURE(recipe.text());
    const fs::path out = folder.path() / std::to_string(number++);
    quantize(folder.path() / "tiny", out, recipe, Team(2), {"test"}, {});
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
             {"test"}, {});
  CHECK(read_text(folder.path() / "1" / "model.safetensors") ==
        read_text(folder.path() / "3" / "model.safetensors"));
}

TEST_CASE("Excluded modules stay as they were, and the report counts real bytes") {
  const TemporaryFolder folder;
  Recipe recipe = int8_recipe();
  recipe.exclude = {"layers\\.0\\.", "down_proj"};
  const fs::path out = folder.path() / "out";
  const QuantizationReport report = quantize(reference_model(), out, recipe, Team(2), {"test"}, {});
  const IndependentReader before(reference_model()), after(out);
  CHECK(report.weights.modules == 7 * 6);
  CHECK(after.matrix("model.layers.0.mlp.up_proj") == before.matrix("model.layers.0.mlp.up_proj"));
  CHECK(after.matrix("model.layers.5.mlp.down_proj") == before.matrix("model.layers.5.mlp.down_proj"));
  CHECK(after.has("model.layers.5.mlp.up_proj.weight_scale"));
  CHECK(report.written_bytes == static_cast<int64_t>(fs::file_size(out / "model.safetensors")));
  CHECK(report.weights.bits_per_weight > 8);
  CHECK(report.weights.bits_per_weight < 8.25);
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
      quantize(source, out, int8_recipe(), Team(2), {"test"}, {});
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

namespace {

// A folder of the tiny model whose config says tied although the file holds a head too, as some on the hub
// do.
fs::path make_tied_with_head(const fs::path& folder) {
  make_tiny(folder, false);
  nlohmann::json config = nlohmann::json::parse(read_text(folder / "config.json"));
  config["tie_word_embeddings"] = true;
  write_text(folder / "config.json", config.dump());
  return folder;
}

std::vector<std::string> ignored(const fs::path& folder) {
  return IndependentReader(folder).config()["quantization_config"]["ignore"];
}

bool has(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

TEST_CASE("A tied matrix whose other treatment is excluded stays one") {
  for (const std::string name : {"embed_tokens", "lm_head"}) {
    const TemporaryFolder folder;
    Recipe recipe = int8_recipe();
    (name == "lm_head" ? recipe.lm_head : recipe.embedding) = WeightFormat::int8;
    recipe.exclude = {name};
    const fs::path out = folder.path() / "out";
    quantize(reference_model(), out, recipe, Team(2), {"test"}, {});
    const IndependentReader reader(out);
    CAPTURE(name);
    CHECK(reader.has("model.embed_tokens.weight"));
    CHECK_FALSE(reader.has("lm_head.weight"));
    CHECK(reader.config()["tie_word_embeddings"] == true);
  }
}

TEST_CASE("A head that nobody reads is neither written nor counted") {
  const TemporaryFolder folder;
  const fs::path source = make_tied_with_head(folder.path() / "source");
  make_tiny(folder.path() / "plain", true);
  const auto size = [](const fs::path& model) {
    const ModelFile file(model);
    const ModelSize found = model_size(file, read_model_spec(file));
    return std::pair(found.weights, found.tensor_bytes);
  };
  CHECK(size(source) == size(folder.path() / "plain"));
  const std::optional<WeightFormat> keep, int8 = WeightFormat::int8, int4 = WeightFormat::int4;
  int number = 0;
  for (const auto& [head, embedding] : {std::pair(keep, keep), std::pair(keep, int8), std::pair(int8, int8),
                                        std::pair(int8, keep), std::pair(int4, int8)}) {
    Recipe recipe = int8_recipe();
    recipe.lm_head = head;
    recipe.embedding = embedding;
    CAPTURE(recipe.text());
    const fs::path out = folder.path() / std::to_string(number++),
                   plain = folder.path() / std::to_string(number++);
    const QuantizationReport report = quantize(source, out, recipe, Team(1), {"test"}, {});
    const QuantizationReport expected =
        quantize(folder.path() / "plain", plain, recipe, Team(1), {"test"}, {});
    CHECK(report.written_bytes == expected.written_bytes);
    CHECK(report.weights.bits_per_weight == expected.weights.bits_per_weight);
    const IndependentReader reader(out);
    CHECK(reader.has("lm_head.weight") == IndependentReader(plain).has("lm_head.weight"));
    if (embedding == keep)
      CHECK(reader.matrix("model.embed_tokens") == IndependentReader(source).matrix("model.embed_tokens"));
    const Model model(out, Team(1));
  }
}

TEST_CASE("Other readers are told of every linear that has no codes, a tied head among them") {
  const TemporaryFolder folder;
  make_tiny(folder.path() / "tied", true);
  make_tiny(folder.path() / "untied", false);
  const auto quantized = [&](const char* source, const Recipe& recipe) {
    static int number = 0;
    const fs::path out = folder.path() / std::to_string(number++);
    quantize(folder.path() / source, out, recipe, Team(1), {"test"}, {});
    return out;
  };
  const std::string excluded = "model.layers.1.mlp.down_proj";
  for (const char* source : {"tied", "untied"}) {
    Recipe recipe = int8_recipe();
    recipe.exclude = {excluded};
    const std::vector<std::string> names = ignored(quantized(source, recipe));
    CHECK(has(names, "lm_head"));
    CHECK(has(names, excluded));
    recipe.embedding = recipe.lm_head = WeightFormat::int8;
    const bool tied = std::string(source) == "tied";
    CHECK(has(ignored(quantized(source, recipe)), "lm_head") == tied);
    recipe.embedding.reset();  // the head gets a matrix of its own
    CHECK_FALSE(has(ignored(quantized(source, recipe)), "lm_head"));
  }

  // What was written before "lm_head" was ignored still loads.
  const fs::path old = quantized("tied", int8_recipe());
  nlohmann::json config = nlohmann::json::parse(read_text(old / "config.json"));
  config["quantization_config"]["ignore"] = {"model.embed_tokens"};
  write_text(old / "config.json", config.dump());
  const Model model(old, Team(1));
}

TEST_CASE("What other readers will not take is said") {
  const TemporaryFolder folder;
  make_tiny(folder.path() / "tiny", false);  // 72 and 172 inputs
  int number = 0;
  const auto notes = [&](const Recipe& recipe) {
    return quantize(folder.path() / "tiny", folder.path() / std::to_string(number++), recipe, Team(1),
                    {"test"}, {})
        .notes;
  };
  CHECK(notes(int8_recipe()).empty());
  Recipe recipe = int8_recipe();
  recipe.embedding = WeightFormat::int8;
  REQUIRE(notes(recipe).size() == 1);
  CHECK(notes(recipe)[0].find("model.embed_tokens") != std::string::npos);
  REQUIRE(notes(int4_recipe(32)).size() == 1);
  CHECK(notes(int4_recipe(32))[0].find("14 modules") != std::string::npos);
  recipe = int4_recipe(32);
  recipe.exclude = {"layers"};
  recipe.lm_head = WeightFormat::int4;
  CHECK(notes(recipe)[0].find("lm_head has 72 inputs") != std::string::npos);
}

TEST_CASE("A tensor whose shape contradicts config.json stops the run before anything is written") {
  TinyModel tiny;
  tiny.architecture = "Qwen3ForCausalLM";
  tiny.attention_bias = true;
  tiny.tied = false;
  for (const std::string name :
       {"model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight", "lm_head.weight",
        "model.embed_tokens.weight", "model.norm.weight", "model.layers.1.input_layernorm.weight",
        "model.layers.0.self_attn.k_norm.weight", "model.layers.0.self_attn.v_proj.bias"}) {
    const TemporaryFolder folder;
    std::vector<RawTensor> tensors = tensors_of(tiny);
    RawTensor& tensor =
        *std::find_if(tensors.begin(), tensors.end(), [&](const RawTensor& t) { return t.name == name; });
    tensor.shape.front() *= 2;
    tensor.bytes += tensor.bytes;
    write_text(folder.path() / "config.json", config_of(tiny).dump());
    write_safetensors(folder.path() / "model.safetensors", tensors);
    std::string message;
    try {
      // The parent is not there: to create the output would be another error.
      quantize(folder.path(), folder.path() / "none" / "out", int8_recipe(), Team(1), {"test"}, {});
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(message);
    for (const std::string& part : {std::string("model.safetensors"), name, std::string("expected"),
                                    std::string("found"), shape_text(tensor.shape)})
      CHECK(message.find(part) != std::string::npos);
  }
}

TEST_CASE("The size of weights does not matter to what quantizing them loses") {
  const std::string name = "model.layers.0.mlp.up_proj";
  TinyModel tiny;
  tiny.hidden_size = 64;
  int refused = 0;
  for (const Recipe& recipe : {int4_recipe(32), int4_recipe(32, false), int8_recipe()}) {
    double usual = 0;
    for (const int exponent : {0, -8, -20, -24, -30, -80, -110, 12, 17, 24, 30, 100, 127, -145}) {
      const TemporaryFolder folder;
      std::vector<RawTensor> tensors = tensors_of(tiny);
      RawTensor& tensor = *std::find_if(tensors.begin(), tensors.end(),
                                        [&](const RawTensor& t) { return t.name == name + ".weight"; });
      std::vector<float> values(tensor.bytes.size() / 4);
      std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
      for (float& value : values) value = std::ldexp(value, exponent);
      tensor.bytes = bytes_of(values);
      write_text(folder.path() / "config.json", config_of(tiny).dump());
      write_safetensors(folder.path() / "model.safetensors", tensors);
      const fs::path out = folder.path() / "out";
      CAPTURE(recipe.text(), exponent);
      if (exponent == -145) {
        std::string message;
        try {
          quantize(folder.path(), out, recipe, Team(1), {"test"}, {});
        } catch (const Error& error) {
          message = error.what();
        }
        CAPTURE(message);
        CHECK(message.find(name) != std::string::npos);
        CHECK(message.find("group 0") != std::string::npos);
        CHECK_FALSE(fs::exists(out));
        ++refused;
        continue;
      }
      quantize(folder.path(), out, recipe, Team(1), {"test"}, {});
      const std::vector<double> kept = IndependentReader(out).matrix(name);
      double error = 0, power = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        const double value = static_cast<double>(values[i]);
        error += (value - kept[i]) * (value - kept[i]);
        power += value * value;
      }
      if (exponent == 0) usual = error / power;
      CHECK(error / power < 1.05 * usual);
      CHECK(error / power > 0.95 * usual);
      CHECK(kept == engine_matrix(out, name, tiny.intermediate_size, tiny.hidden_size));
      if (recipe.group_size)
        CHECK(IndependentReader(out).header()[name + ".weight_scale"]["dtype"] ==
              (exponent >= 20 || exponent <= -20 ? "BF16" : "F16"));
    }
  }
  CHECK(refused == 3);
}

TEST_CASE("A model that is quantized already, or a recipe that leaves nothing to do, is refused") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(
      quantize(quantized_reference(int8_recipe()), folder.path() / "a", int8_recipe(), Team(1), {"test"}, {}),
      Error);
  Recipe nothing = int8_recipe();
  nothing.exclude = {"layers"};
  CHECK_THROWS_AS(quantize(reference_model(), folder.path() / "b", nothing, Team(1), {"test"}, {}), Error);
  CHECK(fs::is_empty(folder.path()));
}
