#include "quant/gguf/export.h"

#include <cmath>

#include "kernels/error.h"
#include "tests/support/gguf_reader.h"
#include "tests/support/independent_reader.h"
#include "tests/support/models.h"
#include "tests/support/pruned_folders.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

TinyModel tiny_of(const std::string& architecture) {
  TinyModel tiny;
  tiny.architecture = architecture;
  tiny.hidden_size = 64;
  tiny.intermediate_size = 96;
  tiny.num_attention_heads = 4;
  tiny.num_key_value_heads = 2;
  tiny.head_dim = 16;
  tiny.vocab_size = 40;
  return tiny;
}

GgufReport export_to(const fs::path& source, const fs::path& out, GgufType type = GgufType::f16) {
  return export_gguf(source, out, type, Team(2), "test", {});
}

GgufReader exported(const fs::path& source, GgufType type = GgufType::f16) {
  const TemporaryFolder folder;
  export_to(source, folder.path() / "x.gguf", type);
  return GgufReader(folder.path() / "x.gguf");
}

// A folder with the tiny model and config fields changed.
void write_changed(const fs::path& folder, const TinyModel& tiny, const json& changes) {
  write_tiny_model(folder, tiny);
  json config = config_of(tiny);
  config.merge_patch(changes);
  write_text(folder / "config.json", config.dump());
}

void check_refused(const fs::path& source, const std::string& part, GgufType type = GgufType::f16) {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(export_to(source, folder.path() / "x.gguf", type), Contains(part));
  CHECK(fs::is_empty(folder.path()));
}

std::string gguf_name(std::string name) {
  static const std::vector<std::pair<std::string, std::string>> parts = {
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"lm_head", "output"},
      {"model.layers", "blk"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
      {"input_layernorm", "attn_norm"},
      {"post_attention_layernorm", "ffn_norm"}};
  for (const auto& [from, to] : parts)
    if (const size_t at = name.find(from); at != name.npos) name.replace(at, from.size(), to);
  return name;
}

std::vector<double> values_of(const RawTensor& tensor) {
  std::vector<double> out;
  const size_t size = tensor.dtype == "F32" ? 4 : 2;
  for (size_t i = 0; i < tensor.bytes.size(); i += size) {
    uint32_t bits = 0;
    std::memcpy(&bits, tensor.bytes.data() + i, size);
    const auto low = static_cast<uint16_t>(bits);
    out.push_back(static_cast<double>(tensor.dtype == "F32"   ? std::bit_cast<float>(bits)
                                      : tensor.dtype == "F16" ? f16_to_float(low)
                                                              : bf16_to_float(low)));
  }
  return out;
}

// Hugging Face keeps the two halves of a head apart; llama.cpp's "llama" has value i of each half side by
// side.
std::vector<double> halves_apart(const std::vector<double>& values, int64_t rows, int64_t head_dim) {
  const int64_t cols = static_cast<int64_t>(values.size()) / rows;
  std::vector<double> out(values.size());
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = row / head_dim, pair = row % head_dim / 2, half = row % 2;
    const int64_t target = head * head_dim + half * head_dim / 2 + pair;
    for (int64_t k = 0; k < cols; ++k)
      out[static_cast<size_t>(target * cols + k)] = values[static_cast<size_t>(row * cols + k)];
  }
  return out;
}

// How far a value may be from what was written, in a block whose largest magnitude is `largest`.
double tolerance(uint32_t type, double value, double largest) {
  switch (type) {
    case 0: return 0;
    case 1: return std::abs(value) * 0x1p-11 + 0x1p-25;
    case 8: return largest / 127 * 0.51;
    default: return largest / 8 * 1.01;  // the positive end of the grid is one step short
  }
}

}  // namespace

TEST_CASE("Every tensor has its values, in every architecture and type") {
  for (const std::string architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    for (const std::string dtype : {"F32", "F16", "BF16"}) {
      for (const GgufType type : {GgufType::f16, GgufType::q8_0, GgufType::q4_0}) {
        TinyModel tiny = tiny_of(architecture);
        tiny.dtype = dtype;
        tiny.tied = dtype == "F16";
        const bool llama = architecture == "LlamaForCausalLM",
                   paired = llama || architecture == "MistralForCausalLM";
        tiny.attention_bias = tiny.mlp_bias = llama;
        const TemporaryFolder folder;
        write_tiny_model(folder.path(), tiny);
        const GgufReader reader = exported(folder.path(), type);
        const std::vector<RawTensor> tensors = tensors_of(tiny);
        CHECK(reader.tensors().size() == tensors.size());
        for (const RawTensor& tensor : tensors) {
          const std::string name = gguf_name(tensor.name);
          INFO(architecture << " " << dtype << " " << static_cast<int>(type) << " " << name);
          REQUIRE(reader.tensors().contains(name));
          const GgufReader::Tensor& found = reader.tensors().at(name);
          CHECK(std::vector<int64_t>(found.dims.rbegin(), found.dims.rend()) == tensor.shape);
          CHECK(found.type == (tensor.shape.size() == 1 ? 0u : static_cast<uint32_t>(type)));
          std::vector<double> values = reader.values(name);
          const bool rotated = name.find("attn_q.") != name.npos || name.find("attn_k.") != name.npos;
          if (rotated && paired) values = halves_apart(values, tensor.shape[0], tiny.head_dim);
          const std::vector<double> expected = values_of(tensor);
          size_t wrong = 0;
          for (size_t i = 0; i < expected.size(); ++i) {
            double largest = 0;
            for (size_t k = i / 32 * 32; k < std::min(expected.size(), i / 32 * 32 + 32); ++k)
              largest = std::max(largest, std::abs(expected[k]));
            const double allowed =
                dtype == "F16" && type == GgufType::f16 ? 0 : tolerance(found.type, expected[i], largest);
            wrong += !(std::abs(values[i] - expected[i]) <= allowed);
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
}

TEST_CASE("The metadata say what config.json says") {
  const TemporaryFolder folder;
  TinyModel tiny = tiny_of("MistralForCausalLM");
  write_changed(
      folder.path(), tiny,
      {{"sliding_window", 32}, {"rope_theta", 5e5}, {"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}});
  const json metadata = exported(folder.path(), GgufType::q4_0).metadata();
  const json expected = {
      {"general.architecture", "llama"},
      {"general.file_type", 2},
      {"llama.context_length", 32},  // beyond the window llama.cpp would compute something else
      {"llama.attention.sliding_window", 32},
      {"llama.embedding_length", 64},
      {"llama.block_count", 2},
      {"llama.feed_forward_length", 96},
      {"llama.attention.head_count", 4},
      {"llama.attention.head_count_kv", 2},
      {"llama.attention.key_length", 16},
      {"llama.attention.value_length", 16},
      {"llama.rope.dimension_count", 16},
      {"llama.rope.freq_base", 5e5},
      {"llama.rope.scaling.type", "linear"},
      {"llama.rope.scaling.factor", 4.0},
      {"llama.vocab_size", 40},
      {"tokenizer.ggml.model", "no_vocab"}};
  for (const auto& [key, value] : expected.items()) {
    INFO(key);
    REQUIRE(metadata.contains(key));
    CHECK(metadata[key] == value);
  }
  CHECK(metadata["llama.attention.layer_norm_rms_epsilon"].get<double>() == Approx(1e-6));
  write_tiny_model(folder.path(), tiny_of("Qwen3ForCausalLM"));
  CHECK(exported(folder.path()).metadata()["qwen3.context_length"] == 64);
}

TEST_CASE("Llama 3's frequencies become factors") {
  const TemporaryFolder folder;
  write_changed(folder.path(), tiny_of("LlamaForCausalLM"),
                {{"rope_scaling",
                  {{"rope_type", "llama3"},
                   {"factor", 8.0},
                   {"low_freq_factor", 1.0},
                   {"high_freq_factor", 4.0},
                   {"original_max_position_embeddings", 64}}}});
  const std::vector<double> factors = exported(folder.path()).values("rope_freqs.weight");
  REQUIRE(factors.size() == 8);
  CHECK(factors.front() == 1);
  CHECK(factors.back() == Approx(8));
  CHECK(std::is_sorted(factors.begin(), factors.end()));
  // θ^(−2/16) turns once in 19.87 positions: 64 / 19.87 = 3.22, and (3.22 − 1) / 3 of it stays as it was.
  const double kept = (64 / (2 * M_PI * std::pow(10000.0, 2.0 / 16)) - 1) / 3;
  CHECK(factors[1] == Approx(1 / (kept + (1 - kept) / 8)));
}

TEST_CASE("Matrices whose rows are no whole number of blocks stay f16") {
  const TemporaryFolder folder;
  TinyModel tiny = tiny_of("LlamaForCausalLM");
  tiny.intermediate_size = 40;  // the columns of down_proj
  write_tiny_model(folder.path(), tiny);
  const GgufReader reader = exported(folder.path(), GgufType::q8_0);
  CHECK(reader.tensors().at("blk.0.ffn_down.weight").type == 1);
  CHECK(reader.tensors().at("blk.0.ffn_up.weight").type == 8);
}

TEST_CASE("A quantized folder is written as the values that it stands for") {
  for (const Recipe& recipe : {int8_recipe(), int4_recipe(32, false)}) {
    const fs::path source = quantized_reference(recipe);
    const IndependentReader original(source);
    const GgufReader reader = exported(source);
    const std::vector<double> expected = original.matrix("model.layers.3.mlp.up_proj"),
                              found = reader.values("blk.3.ffn_up.weight");
    REQUIRE(found.size() == expected.size());
    size_t wrong = 0;
    for (size_t i = 0; i < found.size(); ++i)
      wrong += !(std::abs(found[i] - expected[i]) <= tolerance(1, expected[i], 0));
    CHECK(wrong == 0);
  }
}

TEST_CASE("What GGUF cannot hold is an error, and leaves nothing") {
  const TemporaryFolder folder;
  TinyModel tiny = tiny_of("Qwen3ForCausalLM");
  tiny.attention_bias = true;
  write_tiny_model(folder.path(), tiny);
  check_refused(folder.path(), "biases of o_proj");
  tiny = tiny_of("Qwen2ForCausalLM");
  tiny.head_dim = 32;
  write_tiny_model(folder.path(), tiny);
  check_refused(folder.path(), "heads that differ from hidden_size");

  tiny = tiny_of("LlamaForCausalLM");
  for (const float bad : {NAN, INFINITY, 1e5f}) {
    std::vector<RawTensor> tensors = tensors_of(tiny);
    RawTensor& tensor = tensors[3];
    REQUIRE(tensor.name == "model.layers.0.self_attn.k_proj.weight");
    std::memcpy(tensor.bytes.data() + 4 * (64 * 5 + 7), &bad, 4);
    write_text(folder.path() / "config.json", config_of(tiny).dump());
    write_safetensors(folder.path() / "model.safetensors", tensors);
    check_refused(folder.path(), "\"model.layers.0.self_attn.k_proj\": row 5, column 7");
    if (!std::isfinite(bad)) check_refused(folder.path(), "row 5, column 7", GgufType::q4_0);
  }
  CHECK(exported(folder.path(), GgufType::q8_0).tensors().size() > 0);  // 1e5 fits there
}

TEST_CASE("The file appears when it is complete") {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "x.gguf";
  int64_t last = 0, all = 0;
  const auto progress = [&](int64_t done, int64_t total, const std::string&) {
    CHECK(done > last);
    CHECK_FALSE(fs::exists(out));
    last = done;
    all = total;
  };
  const GgufReport report = export_gguf(reference_model(), out, GgufType::q8_0, Team(1), "test", progress);
  CHECK(last == all);
  CHECK(report.bytes == static_cast<int64_t>(fs::file_size(out)));
  CHECK_THROWS_WITH(export_to(reference_model(), out), Contains("exists already"));
  CHECK(static_cast<int64_t>(fs::file_size(out)) == report.bytes);
  fs::remove(out);

  const auto interrupt = [](int64_t done, int64_t total, const std::string&) {
    if (done > total / 2) throw Error("interrupted");
  };
  CHECK_THROWS_WITH(export_gguf(reference_model(), out, GgufType::f16, Team(1), "test", interrupt),
                    "interrupted");
  CHECK(fs::is_empty(folder.path()));
  CHECK_THROWS_WITH(export_to(reference_model(), folder.path() / "absent" / "x.gguf"),
                    Contains("cannot create"));
}

TEST_CASE("Layers that differ have their sizes in arrays, where a reader computes what they say") {
  const TemporaryFolder folder;
  const TinyModel tiny = tiny_of("LlamaForCausalLM");
  write_tiny_model(folder.path(), tiny);
  std::vector<int64_t> some, all;
  for (int64_t i = 0; i < 96; ++i) (i % 3 ? some : all).push_back(i);
  const auto pruned = [&](const std::vector<Kept>& kept) {
    return write_pruned(folder.path(), folder.path() / "pruned", kept, false);
  };
  const GgufReader file = exported(pruned({{some, {1}}, {all, {}}}));
  const json& metadata = file.metadata();
  CHECK(metadata.at("general.architecture") == "deci");
  CHECK(metadata.at("deci.feed_forward_length") == json{64, 32});
  CHECK(metadata.at("deci.attention.head_count") == json{2, 0});
  CHECK(metadata.at("deci.attention.head_count_kv") == json{1, 0});
  CHECK(metadata.at("deci.attention.key_length") == 16);
  CHECK(file.tensors().at("blk.0.attn_q.weight").dims == std::vector<int64_t>{64, 32});
  CHECK(file.tensors().at("blk.1.ffn_down.weight").dims == std::vector<int64_t>{32, 64});
  CHECK(!file.tensors().contains("blk.1.attn_norm.weight"));
  // What it would leave out in silence, or take for something else.
  check_refused(pruned({{some, {1}}, {{}, {0, 1}}}), "layers that differ");
  check_refused(pruned({{some, {}}, {all, {0, 1}}}), "layers that differ");
  const TemporaryFolder qwen;
  write_tiny_model(qwen.path(), tiny_of("Qwen2ForCausalLM"));
  check_refused(write_pruned(qwen.path(), qwen.path() / "pruned", {{some, {1}}, {all, {}}}, false),
                "layers that differ");
}
