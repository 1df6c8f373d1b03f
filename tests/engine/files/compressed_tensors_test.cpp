#include "engine/files/compressed_tensors.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/files/model_file.h"
#include "engine/files/output_folder.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

QuantizationScheme scheme_of(WeightFormat format, int64_t group_size, bool symmetric,
                             int64_t activation_group_size) {
  QuantizationScheme scheme;
  scheme.format = format;
  scheme.strategy = group_size ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.group_size = group_size;
  scheme.symmetric = symmetric;
  scheme.quantized_activations = true;
  scheme.activation_group_size = activation_group_size;
  return scheme;
}

// A random quantized matrix that owns its codes.
struct OwnedMatrix {
  std::vector<std::byte> codes;
  WeightMatrix weight;

  OwnedMatrix(const QuantizationScheme& scheme, int64_t rows, int64_t cols, SplitMix64& random) {
    weight.format = scheme.format;
    weight.rows = rows;
    weight.cols = cols;
    weight.group_size = scheme.group_size ? std::min(scheme.group_size, cols) : cols;
    const WeightFormatInfo& format = info(scheme.format);
    const auto code = [&] {
      return static_cast<int>(random.bits() % static_cast<uint64_t>(format.code_max - format.code_min + 1)) +
             format.code_min;
    };
    codes.resize(static_cast<size_t>(rows * row_bytes(scheme.format, cols)));
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<float> values;
      for (int64_t k = 0; k < cols; ++k) values.push_back(static_cast<float>(code()));
      format.encode_row(values.data(), cols, codes.data() + row * row_bytes(scheme.format, cols));
    }
    weight.codes = codes;
    for (int64_t i = 0; i < rows * weight.groups(); ++i) {
      weight.scales.push_back(static_cast<float>(random.bits() % 128) /
                              128);  // exact in BF16, some of them 0
      if (!scheme.symmetric) weight.zero_points.push_back(static_cast<int8_t>(code()));
    }
  }
};

void check_same(const WeightMatrix& a, const WeightMatrix& b) {
  CHECK(a.format == b.format);
  CHECK(a.rows == b.rows);
  CHECK(a.cols == b.cols);
  CHECK(a.group_size == b.group_size);
  CHECK(std::ranges::equal(a.codes, b.codes));
  CHECK(a.scales == b.scales);
  CHECK(a.zero_points == b.zero_points);
}

json weights_args(int bits, bool symmetric, const std::string& strategy, const json& group_size) {
  return {{"num_bits", bits},         {"type", "int"},
          {"symmetric", symmetric},   {"strategy", strategy},
          {"group_size", group_size}, {"block_structure", nullptr},
          {"dynamic", false},         {"actorder", nullptr},
          {"observer", "minmax"},     {"observer_kwargs", json::object()}};
}

// As llm-compressor writes it.
json quantization(const std::string& format, const json& weights, const json& targets = {"Linear"}) {
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"quantization_status", "compressed"},
          {"global_compression_ratio", nullptr},
          {"kv_cache_scheme", nullptr},
          {"ignore", {"lm_head"}},
          {"sparsity_config", json::object()},
          {"transform_config", json::object()},
          {"version", "0.12.2"},
          {"config_groups",
           {{"group_0",
             {{"targets", targets},
              {"weights", weights},
              {"input_activations", nullptr},
              {"output_activations", nullptr}}}}}};
}

void write_folder(const std::filesystem::path& folder, const json& quantization_config,
                  const std::vector<RawTensor>& tensors) {
  write_text(folder / "config.json", json{{"quantization_config", quantization_config}}.dump());
  write_safetensors(folder / "model.safetensors", tensors);
}

}  // namespace

TEST_CASE("what we write reads back to exactly the same") {
  const struct {
    QuantizationScheme scheme;
    DType scale_dtype;
  } rows[] = {{scheme_of(WeightFormat::int8, 0, true, 0), DType::F32},
              {scheme_of(WeightFormat::int8, 0, false, 0), DType::F16},
              {scheme_of(WeightFormat::int8, 32, true, 32), DType::F16},
              {scheme_of(WeightFormat::int8, 32, false, 0), DType::BF16},
              {scheme_of(WeightFormat::int4, 32, true, 0), DType::F16},
              {scheme_of(WeightFormat::int4, 32, false, 0), DType::F16},
              {scheme_of(WeightFormat::int4, 0, false, 64), DType::F32},
              {scheme_of(WeightFormat::int4, 16, true, 0), DType::F32},
              {scheme_of(WeightFormat::int5, 32, true, 32), DType::F16},
              {scheme_of(WeightFormat::int5, 0, false, 0), DType::F32},
              {scheme_of(WeightFormat::int6, 16, false, 0), DType::F16},
              {scheme_of(WeightFormat::int6, 0, true, 64), DType::F32}};
  const std::pair<int64_t, int64_t> shapes[] = {{16, 64}, {13, 64}, {1, 32}, {11, 50}, {3, 7}};
  for (const auto& [scheme, scale_dtype] : rows) {
    for (const auto& [n, k] : shapes) {
      INFO(info(scheme.format).name << " group " << scheme.group_size << " symmetric " << scheme.symmetric
                                    << " of " << n << " x " << k);
      TemporaryFolder root;
      SplitMix64 random(static_cast<uint64_t>(n * 1000 + k));
      const std::string module = "model.layers.0.mlp.up_proj";
      const OwnedMatrix matrix(scheme, n, k, random);
      OutputFolder folder(root.path() / "out");
      const auto infos = quantized_tensors(module, scheme, n, k, scale_dtype);
      SafetensorsWriter writer(folder.path() / "model.safetensors", infos, {});
      write_quantized(writer, module, scheme, matrix.weight, scale_dtype);
      writer.finish();
      const QuantizedModule modules[] = {{module, scheme}};
      folder.commit({{"quantization_config", quantization_config_json(modules, {})}});

      const ModelFile file(root.path() / "out");
      CHECK(file.has_weight(module));
      check_same(file.weight(module, n, k), matrix.weight);
      CHECK(file.activation_group_size(module) == scheme.activation_group_size);
    }
  }
}

TEST_CASE("quantization_config says the same of every module after a round trip") {
  const auto int8 = scheme_of(WeightFormat::int8, 0, true, 0),
             int8_grouped = scheme_of(WeightFormat::int8, 128, true, 128);
  const auto int4 = scheme_of(WeightFormat::int4, 128, false, 0);
  QuantizationScheme weights_only = int4;
  weights_only.quantized_activations = false;
  const std::string up = "model.layers.0.mlp.up_proj", down = "model.layers.0.mlp.down_proj",
                    gate = "model.layers.0.mlp.gate_proj";
  const std::vector<QuantizedModule> cases[] = {
      {{up, int8}, {down, int8}},
      {{up, int4}, {down, int4}, {"model.embed_tokens", int8}},
      {{up, int4}, {down, int8_grouped}, {"lm_head", int8}},
      {{up, weights_only}, {"model.embed_tokens", weights_only}},
      {{up, scheme_of(WeightFormat::int6, 64, true, 64)},
       {down, scheme_of(WeightFormat::int5, 32, false, 32)}},
      {},
  };
  for (const auto& modules : cases) {
    std::vector<std::string> ignore = {gate};
    const auto written = [&](const std::string& name) {
      return std::ranges::find(modules, name, &QuantizedModule::name) != modules.end();
    };
    if (!written("lm_head")) ignore.push_back("lm_head");
    const json text = json::parse(quantization_config_json(modules, ignore).dump());
    const QuantizationConfig config(text, "test");
    for (const auto& [name, scheme] : modules) {
      INFO(name);
      REQUIRE(config.find(name));
      CHECK(*config.find(name) == scheme);
    }
    for (const std::string& name : ignore) CHECK(config.find(name) == nullptr);
    if (!written("model.embed_tokens")) CHECK(config.find("model.embed_tokens") == nullptr);
  }
}

TEST_CASE("int-quantized by channel as others write it") {
  TemporaryFolder folder;
  json config = quantization("int-quantized", weights_args(8, true, "channel", nullptr));
  config["config_groups"]["group_0"]["input_activations"] = {
      {"num_bits", 8},         {"type", "int"},   {"symmetric", true},  {"strategy", "token"},
      {"group_size", nullptr}, {"dynamic", true}, {"observer", nullptr}};
  const std::vector<int8_t> codes = {1, -2, 127, -128, 5, 6};
  write_folder(folder.path(), config,
               {{"m.q_proj.weight", "I8", {2, 3}, bytes_of(codes)},
                {"m.q_proj.weight_scale", "BF16", {2, 1}, encode({0.5f, 0.25f}, "BF16")},
                {"lm_head.weight", "F16", {1, 2}, encode({1, 2}, "F16")}});
  const ModelFile file(folder.path());
  const WeightMatrix weight = file.weight("m.q_proj", 2, 3);
  CHECK(weight.format == WeightFormat::int8);
  CHECK(weight.group_size == 3);
  CHECK(weight.scales == std::vector{0.5f, 0.25f});
  CHECK(weight.zero_points.empty());
  CHECK(static_cast<int8_t>(weight.codes[3]) == -128);
  CHECK(file.weight("lm_head", 1, 2).format == WeightFormat::f16);  // ignored
  CHECK(file.activation_group_size("m.q_proj") == 0);
}

TEST_CASE("weights made for float inputs are told from those made for int8 ones") {
  TemporaryFolder folder;
  const auto notes = [&](const json& config) {
    write_folder(folder.path(), config, {{"x", "F32", {}, "1234"}});
    return ModelFile(folder.path()).notes();
  };
  json config = quantization("pack-quantized", weights_args(4, true, "group", 32));
  REQUIRE(notes(config).size() == 1);
  CHECK_THAT(notes(config)[0], Contains("config.json") && Contains("input_activations"));
  config["config_groups"]["group_0"]["targets"] = {"Embedding"};
  CHECK(notes(config).empty());
  const QuantizedModule modules[] = {
      {"model.layers.0.mlp.up_proj", scheme_of(WeightFormat::int4, 32, true, 32)}};
  CHECK(notes(quantization_config_json(modules, {})).empty());
}

TEST_CASE("one scale for a whole matrix") {
  TemporaryFolder folder;
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{}, {1}, {1, 1}}) {
    write_folder(
        folder.path(), quantization("int-quantized", weights_args(8, true, "tensor", nullptr)),
        {{"m.weight", "I8", {2, 2}, "abcd"}, {"m.weight_scale", "F32", shape, encode({0.5f}, "F32")}});
    CHECK(ModelFile(folder.path()).weight("m", 2, 2).scales == std::vector{0.5f, 0.5f});
  }
}

// Asymmetric, of thirteen rows, so that zero points take several words along the rows. With 5 and 6 bits
// codes and zero points begin in one word and end in the next. Words are put together here bit by bit from
// the written rules of the format.
TEST_CASE("pack-quantized with packed zero points as others write it") {
  struct Case {
    int bits;
    WeightFormat format;
    int64_t group_size;
  };
  for (const auto& [bits, format, group_size] :
       {Case{4, WeightFormat::int4, 8}, Case{5, WeightFormat::int5, 32}, Case{6, WeightFormat::int6, 16}}) {
    for (const int64_t last : {group_size, int64_t{3}}) {  // inputs of the last group
      const int64_t rows = 13, groups = 3, cols = 2 * group_size + last;
      INFO(bits << " bits, " << cols << " inputs");
      const int levels = 1 << bits;
      const auto code = [&](int64_t n, int64_t k) {
        return static_cast<int>((3 * n + 5 * k) % levels) - levels / 2;
      };
      const auto zero = [&](int64_t n, int64_t g) {
        return static_cast<int>((7 * n + 11 * g) % levels) - levels / 2;
      };
      const auto words = [&](int64_t codes) { return (codes * bits + 31) / 32; };
      // Bit b of code i of a line of words that lie `stride` apart.
      const auto put = [&](std::vector<uint32_t>& packed, int64_t first, int64_t stride, int64_t i,
                           int value) {
        for (int b = 0; b < bits; ++b)
          if ((value + levels / 2) >> b & 1)
            packed[static_cast<size_t>(first + (i * bits + b) / 32 * stride)] |= 1u << ((i * bits + b) % 32);
      };
      std::vector<uint32_t> packed(static_cast<size_t>(rows * words(cols))),
          zeros(static_cast<size_t>(words(rows) * groups));
      std::vector<float> scales;
      for (int64_t n = 0; n < rows; ++n) {
        for (int64_t k = 0; k < cols; ++k) put(packed, n * words(cols), 1, k, code(n, k));
        for (int64_t g = 0; g < groups; ++g) {
          put(zeros, g, groups, n, zero(n, g));
          scales.push_back(static_cast<float>(n + 1) / 16 + static_cast<float>(g));
        }
      }
      TemporaryFolder folder;
      const std::string m = "model.layers.0.self_attn.q_proj";
      json weights = weights_args(bits, false, "group", group_size);
      weights["scale_dtype"] = nullptr;
      weights["zp_dtype"] = "torch.int8";
      write_folder(folder.path(), quantization("pack-quantized", weights),
                   {{m + ".weight_packed", "I32", {rows, words(cols)}, bytes_of(packed)},
                    {m + ".weight_shape", "I64", {2}, bytes_of<int64_t>({rows, cols})},
                    {m + ".weight_scale", "F16", {rows, groups}, encode(scales, "F16")},
                    {m + ".weight_zero_point", "I32", {words(rows), groups}, bytes_of(zeros)}});
      const ModelFile file(folder.path());
      const WeightMatrix weight = file.weight(m, rows, cols);
      CHECK(weight.format == format);
      CHECK(weight.group_size == group_size);
      CHECK(weight.scales == scales);
      for (int64_t n = 0; n < rows; ++n) {
        std::vector<float> row(static_cast<size_t>(cols));
        weight.decode_row(n, row.data());
        for (int64_t k = 0; k < cols; ++k) {
          const int64_t g = k / group_size;
          CHECK(row[static_cast<size_t>(k)] ==
                static_cast<float>(code(n, k) - zero(n, g)) * scales[static_cast<size_t>(n * groups + g)]);
        }
        for (int64_t g = 0; g < groups; ++g)
          CHECK(weight.zero_points[static_cast<size_t>(n * groups + g)] == zero(n, g));
      }
    }
  }
}

TEST_CASE("targets and ignore lists") {
  json config = quantization("int-quantized", weights_args(8, true, "channel", nullptr));
  json& groups = config["config_groups"];
  groups["group_0"]["targets"] = {"re:.*mlp\\.(up|down)_proj$", "model.embed_tokens"};
  groups["group_1"] = groups["group_0"];
  groups["group_1"]["targets"] = {"Linear"};
  groups["group_1"]["format"] = "pack-quantized";
  groups["group_1"]["weights"] = weights_args(4, true, "group", 32);
  groups["group_2"] = groups["group_1"];
  groups["group_2"]["targets"] = {"model.layers.3.mlp.up_proj"};
  groups["group_2"]["weights"]["group_size"] = 64;
  config["format"] = "mixed-precision";
  groups["group_0"]["format"] = "int-quantized";
  config["ignore"] = {"lm_head", "re:model.layers.1\\."};
  const QuantizationConfig parsed(config, "test");
  const auto format = [&](const char* module) { return parsed.find(module)->format; };
  CHECK(format("model.layers.0.mlp.up_proj") == WeightFormat::int8);
  CHECK(format("model.layers.0.mlp.gate_proj") == WeightFormat::int4);
  CHECK(format("model.embed_tokens") == WeightFormat::int8);
  CHECK(parsed.find("model.layers.3.mlp.up_proj")->group_size == 64);  // a name before a regular expression
  CHECK(parsed.find("lm_head") == nullptr);
  CHECK(parsed.find("model.layers.1.mlp.up_proj") == nullptr);
  CHECK(parsed.find("model.layers.10.mlp.up_proj") != nullptr);
  config["ignore"] = {"re:mlp"};  // matches from the beginning of a name only
  CHECK(QuantizationConfig(config, "test").find("model.layers.0.mlp.up_proj") != nullptr);
}

TEST_CASE("zeros stored for a symmetric scheme are dropped, others refused") {
  TemporaryFolder folder;
  const auto open = [&](const std::string& zeros) {
    write_folder(folder.path(), quantization("int-quantized", weights_args(8, true, "channel", nullptr)),
                 {{"m.weight", "I8", {2, 2}, "abcd"},
                  {"m.weight_scale", "F32", {2, 1}, encode({1, 2}, "F32")},
                  {"m.weight_zero_point", "I8", {2, 1}, zeros}});
    return ModelFile(folder.path()).weight("m", 2, 2).zero_points;
  };
  CHECK(open(std::string(2, '\0')).empty());
  CHECK_THROWS_WITH(open("ab"), Contains("m.weight_zero_point") && Contains("symmetric"));
}
