// GPT-2 and BLOOM through the offline work: what is rounded, what it costs, the same bits, and GGUF.

#include <cstring>
#include <memory>

#include "bench/drift/drift.h"
#include "bench/model_size.h"
#include "engine/session.h"
#include "quant/gguf/export.h"
#include "quant/inspection.h"
#include "quant/pipeline.h"
#include "quant/rounding.h"
#include "tests/support/gguf_reader.h"
#include "tests/support/independent_reader.h"
#include "tests/support/models.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

// A linear as [outputs, inputs], row by row.
std::vector<float> matrix_of(const TinyFamily& tiny, const RawTensor& tensor) {
  const std::vector<float> stored = values_of_f16(tensor);
  if (!tiny.gpt2) return stored;
  const auto inputs = static_cast<size_t>(tensor.shape[0]), outputs = static_cast<size_t>(tensor.shape[1]);
  std::vector<float> turned(stored.size());
  for (size_t i = 0; i < inputs; ++i)
    for (size_t o = 0; o < outputs; ++o) turned[o * inputs + i] = stored[i * outputs + o];
  return turned;
}

std::vector<std::string> linears(const TinyFamily& tiny) {
  return tiny.gpt2 ? std::vector<std::string>{"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}
                   : std::vector<std::string>{"self_attention.query_key_value", "self_attention.dense",
                                              "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"};
}

std::vector<Recipe> recipes() {
  Recipe activations = int8_recipe(), both = int8_recipe(), split = int4_recipe(32), head = int4_recipe(32);
  activations.activation_group_size = 32;
  activations.symmetric = false;
  both.lm_head = both.embedding = WeightFormat::int8;
  split.embedding = WeightFormat::int8;
  head.lm_head = WeightFormat::int4;
  head.exclude = {"h\\.0\\.", "c_proj|dense$"};
  return {int8_recipe(), int4_recipe(32), int4_recipe(32, false), activations, both, split, head};
}

QuantizationReport quantized(const fs::path& source, const fs::path& out, const Recipe& recipe) {
  return quantize(source, out, recipe, Team(2), {"test"}, {});
}

double kl_of(const fs::path& baseline, const fs::path& model) {
  const Team team(2);
  std::ifstream file(baseline / "golden.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  Windows windows;
  for (const nlohmann::json& prompt : golden["prompts"])
    if (prompt["ids"].size() > 1) windows.ids.push_back(prompt["ids"]);
  for (const auto& ids : windows.ids) windows.context = std::max(windows.context, std::ssize(ids));
  return measure_drift(Model(baseline, team), Model(model, team), team, windows, KvFormat::f16, nullptr, {})
      .kl.mean;
}

bool same_bits(std::span<const float> a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace

TEST_CASE(
    "Codes of a Conv1D and of a fused projection are those of the [outputs, inputs] matrix, row by row") {
  for (const bool gpt2 : {true, false})
    for (const Recipe& recipe : {int8_recipe(), int4_recipe(32), int4_recipe(32, false)}) {
      const TemporaryFolder folder;
      const TinyFamily tiny = {.gpt2 = gpt2};
      const fs::path out = folder.path() / "out";
      quantized(write_family(folder.path() / "float", tiny), out, recipe);
      const IndependentReader reader(out);
      QuantizationScheme scheme;
      scheme.format = recipe.weights.value();
      scheme.strategy = recipe.group_size ? ScaleStrategy::group : ScaleStrategy::channel;
      scheme.group_size = recipe.group_size;
      scheme.symmetric = recipe.symmetric;
      for (const std::string& linear : linears(tiny)) {
        const std::string module = "transformer.h.1." + linear;
        CAPTURE(gpt2, recipe.text(), module);
        const std::vector<RawTensor> tensors = tensors_of(tiny);
        const RawTensor& tensor = tensor_named(tensors, module + ".weight");
        const std::vector<float> values = matrix_of(tiny, tensor);
        const int64_t rows = tensor.shape[gpt2 ? 1 : 0], cols = tensor.shape[gpt2 ? 0 : 1];
        const int64_t size = recipe.group_size ? recipe.group_size : cols, groups = cols / size;
        std::vector<double> expected;
        for (int64_t row = 0; row < rows; ++row) {
          std::vector<std::byte> codes(static_cast<size_t>(row_bytes(scheme.format, cols)));
          std::vector<float> scales(static_cast<size_t>(groups)), read(static_cast<size_t>(cols));
          std::vector<int8_t> zeros(scales.size());
          round_row(values.data() + row * cols, cols, scheme, groups > 1 ? DType::F16 : DType::F32,
                    {codes.data(), scales.data(), recipe.symmetric ? nullptr : zeros.data()});
          info(scheme.format).decode_row(codes.data(), cols, read.data());
          for (int64_t k = 0; k < cols; ++k) {
            const auto group = static_cast<size_t>(k / size);
            expected.push_back((static_cast<double>(read[static_cast<size_t>(k)]) - zeros[group]) *
                               static_cast<double>(scales[group]));
          }
        }
        CHECK(reader.matrix(module) == expected);
      }
    }
}

TEST_CASE("Every recipe gives a folder that loads, with either kind of names, and masks are left out") {
  const Team team(1);
  for (const bool gpt2 : {true, false})
    for (const bool tied : {true, false})
      for (const bool based : {true, false}) {
        const TemporaryFolder folder;
        const fs::path source = write_family(folder.path() / "float",
                                             {.gpt2 = gpt2, .based = based, .tied = tied, .masks = gpt2});
        int number = 0;
        for (const Recipe& recipe : recipes()) {
          CAPTURE(gpt2, tied, based, recipe.text());
          const fs::path out = folder.path() / std::to_string(number++);
          const QuantizationReport report = quantized(source, out, recipe);
          CHECK(report.weights.modules > 0);
          const std::vector<int32_t> ids = {3, 70, 0, 12, 5};
          const auto logits = [&](const fs::path& of) {
            const Model model(of, team);
            Session session(model, team, {.context = 8});
            const auto row = session.forward(ids).row(0);
            return std::vector<float>(row.begin(), row.end());
          };
          const std::vector<float> before = logits(source), after = logits(out);
          CHECK(before != after);
          const IndependentReader reader(out);
          for (const auto& [name, unused] : reader.header().items()) {
            CHECK_FALSE(name.ends_with(".attn.bias"));
            CHECK_FALSE(name.ends_with("masked_bias"));
          }
          // Both were told, the embedding that others will not read and the Conv1D.
          std::string notes;
          for (const std::string& note : report.notes) notes += note + "\n";
          CHECK((notes.find("Conv1D") != std::string::npos) == gpt2);
          CHECK((notes.find(gpt2 ? "wte is quantized" : "word_embeddings is quantized") !=
                 std::string::npos) == (recipe.embedding.has_value()));
        }
      }
}

TEST_CASE("The memory that inspect tells is what a model packs") {
  const Team team(1);
  for (const bool gpt2 : {true, false}) {
    CAPTURE(gpt2);
    const TemporaryFolder folder;
    const fs::path source = write_family(folder.path() / "float", {.gpt2 = gpt2});
    const auto told = static_cast<double>(inspect(source, 8, KvFormat::f16, team).packed_bytes);
    const auto packed = static_cast<double>(Model(source, team).weight_bytes());
    CHECK(told <= packed);  // biases and norms are not told
    CHECK(told > 0.95 * packed);
  }
}

TEST_CASE("A mask counts neither as weights nor as their bytes") {
  const TemporaryFolder folder;
  const auto size = [&](const char* name, bool masks) {
    const ModelFile file(write_family(folder.path() / name, {.masks = masks}));
    return model_size(file, read_model_spec(file));
  };
  const ModelSize with = size("with", true), without = size("without", false);
  CHECK(with.weights == without.weights);
  CHECK(with.tensor_bytes == without.tensor_bytes);
  CHECK(with.disk_bytes > without.disk_bytes);
}

TEST_CASE("Drift of a quantized GPT-2 and BLOOM is small, and smaller the finer the format") {
  WHITTLE_NEEDS_SHARED(shared);
  for (const char* family : {"gpt2", "bloom"}) {
    const fs::path source = shared / "data" / "architectures" / family;
    const TemporaryFolder folder;
    quantized(source, folder.path() / "int8", int8_recipe());
    quantized(source, folder.path() / "int4", int4_recipe(32));
    const double same = kl_of(source, source), int8 = kl_of(source, folder.path() / "int8"),
                 int4 = kl_of(source, folder.path() / "int4");
    CAPTURE(family, same, int8, int4);
    // KL grows as the power of the noise. Of the weights' power INT8's rounding is 4e-5, and that of the
    // activations as much again; INT4's is 7e-3, about eighty times both. These models, small and with random
    // weights of great spread, pass on far more of it than trained ones: about 25 nats for each unit.
    CHECK(same < 1e-5);
    CHECK(int8 < 5e-3);
    CHECK(int4 < 0.3);
    CHECK(same < int8);
    CHECK(10 * int8 < int4);
  }
}

TEST_CASE("GPT-2 and BLOOM: the same bits on any number of threads, in any chunks, and in batches") {
  std::vector<int32_t> ids;
  for (int i = 0; i < 90; ++i) ids.push_back(i * i * 13 % 71);
  for (const bool gpt2 : {true, false}) {
    const TemporaryFolder folder;
    const fs::path source = write_family(folder.path() / "float", {.gpt2 = gpt2});
    std::vector<fs::path> folders = {source};
    for (const Recipe& recipe : {int8_recipe(), int4_recipe(32, false)}) {
      folders.push_back(folder.path() / std::to_string(folders.size()));
      quantized(source, folders.back(), recipe);
    }
    for (const fs::path& model_folder : folders) {
      std::vector<float> expected;
      for (const int threads : {1, 2, 3}) {
        const Team team(threads);
        const Model model(model_folder, team);
        for (const int64_t chunk : {1, 7, 64}) {
          CAPTURE(gpt2, model_folder, threads, chunk);
          Session session(model, team, {.context = 96, .prefill_chunk = chunk});
          const Logits logits = session.forward(ids);
          if (expected.empty()) expected.assign(logits.row(0).begin(), logits.row(0).end());
          CHECK(same_bits(logits.row(0), expected));
        }
        // Sequences at other positions beside it: another row of the table, other distances.
        const auto decoder = std::make_shared<Decoder>(model, team, 64, 96);
        std::vector<Session> sessions;
        for (size_t i = 0; i < 5; ++i)
          sessions.emplace_back(decoder, 96, KvFormat::f16)
              .forward(std::span(ids).subspan(0, i == 3 ? ids.size() - 1 : 1 + 11 * i));
        std::vector<Session*> together;
        for (Session& session : sessions) together.push_back(&session);
        CHECK(same_bits(Session::step(together, std::vector<int32_t>(5, ids.back())).row(3), expected));
      }
    }
  }
}

TEST_CASE("GGUF has GPT-2's linears as [outputs, inputs], and BLOOM's as all of q, then k, then v") {
  constexpr size_t hidden = 64, head_dim = 16;
  for (const bool gpt2 : {true, false}) {
    CAPTURE(gpt2);
    const TemporaryFolder folder;
    const TinyFamily tiny = {.gpt2 = gpt2};
    const fs::path source = write_family(folder.path() / "float", tiny), out = folder.path() / "x.gguf";
    export_gguf(source, out, GgufType::f16, Team(2), "test", {});
    const GgufReader gguf(out);
    const std::vector<RawTensor> tensors = tensors_of(tiny);
    const auto as_doubles = [](const std::vector<float>& values) {
      return std::vector<double>(values.begin(), values.end());
    };
    const auto raw = [&](const std::string& name) {
      return as_doubles(values_of_f16(tensor_named(tensors, "transformer." + name)));
    };
    for (const int layer : {0, 1}) {
      const std::string prefix = "h." + std::to_string(layer) + ".",
                        blk = "blk." + std::to_string(layer) + ".";
      const std::vector<std::string> names = linears(tiny);
      const std::vector<std::string> targets = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"};
      for (size_t i = 0; i < names.size(); ++i) {
        CAPTURE(names[i]);
        const RawTensor& tensor = tensor_named(tensors, "transformer." + prefix + names[i] + ".weight");
        std::vector<double> weight = as_doubles(matrix_of(tiny, tensor)),
                            bias = raw(prefix + names[i] + ".bias");
        if (!gpt2 && i == 0) {
          std::vector<double> w, b;
          for (size_t part = 0; part < 3; ++part)
            for (size_t head = 0; head < 4; ++head)
              for (size_t d = 0; d < head_dim; ++d) {
                const size_t row = (head * 3 + part) * head_dim + d;
                b.push_back(bias[row]);
                for (size_t k = 0; k < hidden; ++k) w.push_back(weight[row * hidden + k]);
              }
          weight = w, bias = b;
        }
        CHECK(gguf.values(blk + targets[i] + ".weight") == weight);
        CHECK(gguf.values(blk + targets[i] + ".bias") == bias);
        CHECK(gguf.tensors().at(blk + targets[i] + ".weight").dims ==
              std::vector<int64_t>{tensor.shape[gpt2 ? 0 : 1], tensor.shape[gpt2 ? 1 : 0]});
      }
    }
    CHECK(gguf.values("token_embd.weight") == raw(gpt2 ? "wte.weight" : "word_embeddings.weight"));
    if (gpt2) CHECK(gguf.values("position_embd.weight") == raw("wpe.weight"));
    if (!gpt2) CHECK(gguf.values("token_embd_norm.bias") == raw("word_embeddings_layernorm.bias"));
    CHECK(gguf.values("output_norm.bias") == raw("ln_f.bias"));
    const std::string family = gpt2 ? "gpt2" : "bloom";
    CHECK(gguf.metadata()["general.architecture"] == family);
    CHECK(gguf.metadata()[family + ".context_length"] == 96);
    CHECK(gguf.metadata()[family + ".feed_forward_length"] == 256);
    CHECK(gguf.metadata()[family + ".attention.layer_norm_epsilon"].get<float>() == 1e-5f);
    CHECK_FALSE(gguf.metadata().contains(family + ".rope.freq_base"));

    // Of a quantized folder, in blocks: the values that its codes stand for, to q8_0's precision.
    quantized(source, folder.path() / "int8", int8_recipe());
    export_gguf(folder.path() / "int8", folder.path() / "q8.gguf", GgufType::q8_0, Team(2), "test", {});
    const GgufReader blocks(folder.path() / "q8.gguf");
    for (const char* name : {"blk.1.attn_qkv.weight", "blk.0.ffn_down.weight"}) {
      CHECK(blocks.tensors().at(name).type == 8);
      const std::vector<double> exact = gguf.values(name), rounded = blocks.values(name);
      double worst = 0;
      for (size_t i = 0; i < exact.size(); ++i) worst = std::max(worst, std::abs(exact[i] - rounded[i]));
      // Weights reach to ±0.2: half a step of each of the two roundings, and what a searched scale clips.
      CHECK(worst < 1.5 * 0.2 / 127);
    }
  }
}
