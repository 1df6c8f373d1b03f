// GPTQ and AWQ folders, and compressed-tensors as llm-compressor writes it: value for value.

#include <catch2/catch.hpp>
#include <cmath>

#include "engine/files/model_file.h"
#include "engine/model.h"
#include "engine/session.h"
#include "engine/weight_source.h"
#include "kernels/packed_weight.h"
#include "tests/support/paths.h"
#include "tests/support/quantized_folders.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;

namespace {

const std::string module_name = "model.layers.0.self_attn.q_proj";

// Rows decoded from the file's matrix, and from the packed one.
void check_values(const WeightMatrix& weight, const QuantizedLinear& linear) {
  REQUIRE(weight.rows == linear.rows);
  REQUIRE(weight.cols == linear.cols);
  const PackedWeight packed = pack(weight);
  std::vector<float> row(static_cast<size_t>(linear.cols)), packed_row(row.size());
  for (int64_t n = 0; n < linear.rows; ++n) {
    weight.decode_row(n, row.data());
    packed.decode_row(n, packed_row.data());
    for (int64_t k = 0; k < linear.cols; ++k) {
      const float expected = linear.value(n, k);
      if (row[static_cast<size_t>(k)] == expected && packed_row[static_cast<size_t>(k)] == expected) continue;
      INFO("row " << n << ", column " << k);
      CHECK(row[static_cast<size_t>(k)] == expected);
      CHECK(packed_row[static_cast<size_t>(k)] == expected);
      return;
    }
  }
}

// The module as it is read, with and without threads, of which nothing may depend.
WeightMatrix read_module(const std::filesystem::path& folder, const QuantizedLinear& linear) {
  const ModelFile file(folder);
  CHECK(file.has_weight(module_name));
  CHECK(file.is_quantized(module_name));
  const Team team(3);
  const WeightMatrix alone = file.weight(module_name, linear.rows, linear.cols);
  WeightMatrix weight = file.weight(module_name, linear.rows, linear.cols, &team);
  CHECK(std::ranges::equal(alone.codes, weight.codes));
  CHECK(alone.scales == weight.scales);
  CHECK(alone.zero_points == weight.zero_points);
  // It may outlive the file where it owns its codes.
  if (!weight.owned) weight = with_codes(weight, {weight.codes.begin(), weight.codes.end()});
  return weight;
}

}  // namespace

TEST_CASE("GPTQ modules decode value for value") {
  struct Shape {
    int64_t rows, cols, group_size;
  };
  const Shape shapes[] = {{8, 8, 0},   {16, 64, 32},  {40, 96, 32},   {8, 200, 128},
                          {72, 64, 8}, {264, 32, 16}, {136, 344, 128}};
  SplitMix64 random(5);
  for (const auto& [rows, cols, group_size] : shapes)
    for (const int64_t bits : {4, 8})
      for (const bool symmetric : {true, false})
        for (const GptqZeros zeros : {GptqZeros::wrapped, GptqZeros::borrowed, GptqZeros::plain})
          for (const Order order : {Order::plain, Order::blocks, Order::scattered}) {
            if (group_size == 0 && order != Order::plain) continue;
            // A short last group cannot stand first.
            if (order == Order::blocks && cols % group_size != 0) continue;
            INFO(rows << " x " << cols << " in groups of " << group_size << ", " << bits
                      << " bits, symmetric " << symmetric << ", zeros " << static_cast<int>(zeros)
                      << ", order " << static_cast<int>(order));
            const QuantizedLinear linear =
                random_linear(random, rows, cols, bits, group_size, symmetric, order);
            const TemporaryFolder folder;
            write_module(folder.path(),
                         gptq_config(bits, group_size, symmetric, order != Order::plain, zeros),
                         gptq_tensors(module_name, linear, zeros));
            const WeightMatrix weight = read_module(folder.path(), linear);
            check_values(weight, linear);
            CHECK(weight.zero_points.empty() == (symmetric || order == Order::scattered));
            const bool floats = order == Order::scattered;
            CHECK(weight.format == (floats      ? WeightFormat::f32
                                    : bits == 4 ? WeightFormat::int4
                                                : WeightFormat::int8));
            CHECK(ModelFile(folder.path()).notes().size() == (floats ? 2 : 1));
          }
}

TEST_CASE("Scales of GPTQ and AWQ may have any float type, and g_idx be left out where it says nothing") {
  SplitMix64 random(6);
  const QuantizedLinear linear = random_linear(random, 16, 64, 4, 32, false);
  for (const char* dtype : {"F16", "BF16", "F32"}) {
    const TemporaryFolder folder;
    std::vector<RawTensor> tensors = gptq_tensors(module_name, linear, GptqZeros::plain, dtype);
    tensors.pop_back();
    write_module(folder.path(), gptq_config(4, 32, false, false, GptqZeros::plain), tensors);
    check_values(read_module(folder.path(), linear), linear);
    write_module(folder.path(), awq_config(32), awq_tensors(module_name, linear, dtype));
    check_values(read_module(folder.path(), linear), linear);
  }
}

TEST_CASE("AWQ modules decode value for value") {
  struct Shape {
    int64_t rows, cols, group_size;
  };
  const Shape shapes[] = {{8, 8, 0},   {16, 64, 32},  {40, 96, 32},    {8, 256, 128},
                          {72, 64, 8}, {264, 32, 16}, {136, 344, 344}, {8, 13, 0}};
  SplitMix64 random(7);
  for (const auto& [rows, cols, group_size] : shapes)
    for (const bool symmetric : {true, false}) {
      INFO(rows << " x " << cols << " in groups of " << group_size << ", symmetric " << symmetric);
      const QuantizedLinear linear = random_linear(random, rows, cols, 4, group_size, symmetric);
      const TemporaryFolder folder;
      write_module(folder.path(), awq_config(group_size), awq_tensors(module_name, linear));
      const WeightMatrix weight = read_module(folder.path(), linear);
      check_values(weight, linear);
      CHECK(weight.format == WeightFormat::int4);
      CHECK(weight.zero_points.empty() == symmetric);
    }
}

TEST_CASE("pack-quantized modules of llm-compressor decode value for value") {
  struct Shape {
    int64_t rows, cols, group_size;
  };
  const Shape shapes[] = {{16, 64, 32}, {13, 64, 0}, {3, 7, 0}, {10, 96, 32}, {1, 160, 64}};
  SplitMix64 random(8);
  for (const auto& [rows, cols, group_size] : shapes)
    for (const int64_t bits : {4, 8})
      for (const bool symmetric : {true, false})
        for (const Order order : {Order::plain, Order::blocks, Order::scattered}) {
          if (order != Order::plain && (!group_size || cols % group_size != 0)) continue;
          INFO(rows << " x " << cols << " in groups of " << group_size << ", " << bits << " bits, symmetric "
                    << symmetric << ", order " << static_cast<int>(order));
          const QuantizedLinear linear =
              random_linear(random, rows, cols, bits, group_size, symmetric, order);
          const TemporaryFolder folder;
          const bool index = order != Order::plain;
          write_module(folder.path(), packed_config(bits, group_size, symmetric, index ? "group" : "static"),
                       packed_tensors(module_name, linear, symmetric, index));
          const WeightMatrix weight = read_module(folder.path(), linear);
          check_values(weight, linear);
          CHECK((weight.format == WeightFormat::f32) == (order == Order::scattered));
        }
}

TEST_CASE("A weight_g_idx that was never set leaves columns in order") {
  SplitMix64 random(9);
  const QuantizedLinear linear = random_linear(random, 8, 64, 4, 32, true);
  std::vector<RawTensor> tensors = packed_tensors(module_name, linear, true, false);
  tensors.push_back({module_name + ".weight_g_idx", "I32", {64}, std::string(256, '\xff')});
  const TemporaryFolder folder;
  write_module(folder.path(), packed_config(4, 32, true, "group"), tensors);
  check_values(read_module(folder.path(), linear), linear);
}

TEST_CASE("Whole models of GPTQ, AWQ and llm-compressor load and run") {
  TinyModel tiny;
  tiny.hidden_size = 64;
  tiny.intermediate_size = 96;
  tiny.head_dim = 16;
  tiny.num_attention_heads = 4;
  tiny.num_key_value_heads = 2;
  const auto check = [&](const nlohmann::json& config, int64_t bits, Order order, auto tensors) {
    const TemporaryFolder folder;
    SplitMix64 random(11);
    write_quantized_pair(
        folder.path() / "quantized", folder.path() / "floats", tiny, config,
        [&](int64_t rows, int64_t cols) { return random_linear(random, rows, cols, bits, 32, false, order); },
        tensors);
    const Team team(2);
    const FolderWeights quantized(folder.path() / "quantized", &team), floats(folder.path() / "floats");
    for (const Module& module : quantized.inventory().modules()) {
      if (!module.matrix()) continue;
      INFO(module.name);
      const WeightMatrix found = quantized.matrix(module), expected = floats.matrix(module);
      CHECK(std::ranges::equal(decode(found, {}, &team).codes, expected.codes));
    }
    const Model model(folder.path() / "quantized", team);
    Session session(model, team, {.context = 16});
    const int32_t ids[] = {1, 2, 3, 4, 5};
    for (const float logit : session.forward(ids).row(0)) REQUIRE(std::isfinite(logit));
  };
  for (const Order order : {Order::plain, Order::scattered}) {
    check(gptq_config(4, 32, false, true, GptqZeros::wrapped), 4, order,
          [](const std::string& module, const QuantizedLinear& linear) {
            std::vector<RawTensor> tensors = gptq_tensors(module, linear, GptqZeros::wrapped);
            // As some writers have it for every linear.
            tensors.push_back({module + ".bias",
                               "F16",
                               {linear.rows},
                               std::string(static_cast<size_t>(2 * linear.rows), '\0')});
            return tensors;
          });
    check(packed_config(8, 32, false, "group"), 8, order,
          [](const std::string& module, const QuantizedLinear& linear) {
            return packed_tensors(module, linear, false, true);
          });
  }
  check(awq_config(32), 4, Order::plain,
        [](const std::string& module, const QuantizedLinear& linear) { return awq_tensors(module, linear); });
}

TEST_CASE("GPTQ of a Conv1D is that of its linear") {
  const TinyFamily gpt2 = {};
  const std::string module = "transformer.h.1.attn.c_attn";
  SplitMix64 random(12);
  const QuantizedLinear linear = random_linear(random, 3 * gpt2.hidden, gpt2.hidden, 4, 32, true);
  std::vector<RawTensor> tensors = tensors_of(gpt2);
  std::erase_if(tensors, [&](const RawTensor& tensor) { return tensor.name == module + ".weight"; });
  for (RawTensor& part : gptq_tensors(module, linear, GptqZeros::wrapped)) tensors.push_back(std::move(part));
  nlohmann::json config = config_of(gpt2);
  config["quantization_config"] = gptq_config(4, 32, true, false, GptqZeros::wrapped);
  const TemporaryFolder folder;
  write_text(folder.path() / "config.json", config.dump());
  write_safetensors(folder.path() / "model.safetensors", tensors);
  const FolderWeights weights(folder.path());
  check_values(weights.matrix(*weights.inventory().find(module)), linear);
  const Team team(1);
  CHECK_NOTHROW(Model(folder.path(), team));
}
