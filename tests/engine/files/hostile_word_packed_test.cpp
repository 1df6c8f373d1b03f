// Hostile GPTQ and AWQ folders, and what of compressed-tensors only llm-compressor's newer files have.

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "engine/files/open_options.h"
#include "tests/support/hostile.h"
#include "tests/support/paths.h"
#include "tests/support/quantized_folders.h"

using namespace whittle;
using namespace whittle::test;
using nlohmann::json;

namespace {

const std::string up = "model.layers.0.mlp.up_proj";

// A model of which one linear, [16, 16] in groups of 8, is quantized.
struct OneQuantized {
  json config;
  std::vector<RawTensor> tensors;

  OneQuantized(const json& quantization_config, const std::vector<RawTensor>& parts) {
    TinyModel model;
    model.hidden_size = 16;
    config = config_of(model);
    config["quantization_config"] = quantization_config;
    tensors = tensors_of(model);
    std::erase_if(tensors, [](const RawTensor& tensor) { return tensor.name == up + ".weight"; });
    tensors.insert(tensors.end(), parts.begin(), parts.end());
  }
  json& root() { return config["quantization_config"]; }
  RawTensor& part(const std::string& name) {
    return *std::ranges::find(tensors, up + "." + name, &RawTensor::name);
  }
  void drop(const std::string& name) {
    std::erase_if(tensors, [&](const RawTensor& tensor) { return tensor.name == up + "." + name; });
  }
  void write(const std::filesystem::path& folder) const {
    write_text(folder / config_name, config.dump());
    write_safetensors(folder / weights_name, tensors);
  }
};

QuantizedLinear linear(bool symmetric, Order order = Order::plain, int64_t bits = 4) {
  SplitMix64 random(3);
  return random_linear(random, 16, 16, bits, 8, symmetric, order);
}

OneQuantized gptq() {
  return {gptq_config(4, 8, true, true, GptqZeros::wrapped),
          gptq_tensors(up, linear(true, Order::scattered), GptqZeros::wrapped)};
}
OneQuantized awq() { return {awq_config(8), awq_tensors(up, linear(false))}; }
OneQuantized packed() {
  json config = packed_config(8, 8, false, "group");
  config["config_groups"]["config_group_0"]["targets"] = {up};
  return {config, packed_tensors(up, linear(false, Order::scattered, 8), false, true)};
}

std::string scales_with(float bad) {
  std::vector<float> values(32, 0.25f);
  values[5] = bad;
  return encode(values, "F16");
}

struct Case {
  const char* what;
  OneQuantized (*make)();
  std::function<void(OneQuantized&)> edit;
  std::vector<std::string> names;
};

// Cases that GPTQ and AWQ share.
std::vector<Case> word_packed_cases(OneQuantized (*make)()) {
  return {
      {"scale NaN",
       make,
       [](auto& model) { model.part("scales").bytes = scales_with(NAN); },
       {weights_name, "scales", "index 5"}},
      {"scale infinite",
       make,
       [](auto& model) { model.part("scales").bytes = scales_with(INFINITY); },
       {weights_name, "scales", "index 5"}},
      {"scales the other way round",
       make,
       [](auto& model) {
         model.part("scales").shape = {16, 2};
       },
       {weights_name, "scales", "[2, 16]"}},
      {"scales of integers",
       make,
       [](auto& model) { model.part("scales").dtype = "I16"; },
       {weights_name, "scales", "I16"}},
      {"scales missing", make, [](auto& model) { model.drop("scales"); }, {weights_name, "scales"}},
      {"zero points missing", make, [](auto& model) { model.drop("qzeros"); }, {weights_name, "qzeros"}},
      {"codes missing", make, [](auto& model) { model.drop("qweight"); }, {weights_name, "up_proj"}},
      {"codes twice",
       make,
       [](auto& model) {
         model.tensors.push_back({up + ".weight", "F32", {16, 16}, std::string(1024, '\0')});
       },
       {weights_name, "up_proj.weight"}},
      {"codes of another type",
       make,
       [](auto& model) { model.part("qweight").dtype = "F32"; },
       {weights_name, "qweight", "F32"}},
      {"codes of another shape",
       make,
       [](auto& model) { model.part("qweight").shape = {32}; },
       {weights_name, "qweight"}},
      {"zero points of another size",
       make,
       [](auto& model) {
         model.part("qzeros") = {up + ".qzeros", "I32", {2, 3}, std::string(24, 'w')};
       },
       {weights_name, "qzeros", "[2, 3]"}},
      {"zero points of bytes",
       make,
       [](auto& model) {
         model.part("qzeros") = {up + ".qzeros", "I8", {2, 2}, std::string(4, 'w')};
       },
       {weights_name, "qzeros", "I8"}},
      {"a tensor of compressed-tensors",
       make,
       [](auto& model) {
         model.tensors.push_back({up + ".weight_scale", "F32", {1}, std::string(4, '\0')});
       },
       {weights_name, "weight_scale"}},
      {"a bias that adds something",
       make,
       [](auto& model) {
         std::vector<float> bias(16);
         bias[3] = 1;
         model.tensors.push_back({up + ".bias", "F32", {16}, bytes_of(bias)});
       },
       {weights_name, "up_proj.bias"}},
      {"another group size",
       make,
       [](auto& model) { model.root()["group_size"] = 16; },
       {weights_name, "scales", "[1, 16]"}},
      {"groups that kernels cannot read",
       make,
       [](auto& model) { model.root()["group_size"] = 4; },
       {weights_name, "group_size", "multiple of 8"}},
      {"group size 0",
       make,
       [](auto& model) { model.root()["group_size"] = 0; },
       {config_name, "group_size"}},
      {"group size missing",
       make,
       [](auto& model) { model.root().erase("group_size"); },
       {config_name, "group_size"}},
      {"group size huge",
       make,
       [](auto& model) { model.root()["group_size"] = INT64_MAX; },
       {config_name, "group_size"}},
      {"three bits", make, [](auto& model) { model.root()["bits"] = 3; }, {config_name, "bits"}},
      {"no bits", make, [](auto& model) { model.root().erase("bits"); }, {config_name, "bits"}},
      {"bits a string", make, [](auto& model) { model.root()["bits"] = "4"; }, {config_name, "bits"}},
      {"another layout",
       make,
       [](auto& model) { model.root()["checkpoint_format"] = "marlin"; },
       {config_name, "checkpoint_format", "marlin"}},
      {"words of 16 bits",
       make,
       [](auto& model) { model.root()["pack_dtype"] = "int16"; },
       {config_name, "pack_dtype"}},
      {"a field that is new to us",
       make,
       [](auto& model) { model.root()["rotation"] = "hadamard"; },
       {config_name, "quantization_config", "rotation"}},
  };
}

void check_all(const std::vector<Case>& cases) {
  for (const auto& [what, make, edit, names] : cases) {
    const TemporaryFolder folder;
    OneQuantized model = make();
    model.write(folder.path());
    CHECK_NOTHROW(load(folder.path()));
    edit(model);
    model.write(folder.path());
    check_refused(folder.path(), what, names);
  }
}

}  // namespace

TEST_CASE("hostile: GPTQ") {
  check_all(word_packed_cases(gptq));
  const auto index = [](std::vector<int32_t> values) {
    return [values](OneQuantized& model) { model.part("g_idx").bytes = bytes_of(values); };
  };
  check_all({
      {"a group that is not there",
       gptq,
       index({0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2}),
       {weights_name, "g_idx", "index 15"}},
      {"a group below 0",
       gptq,
       index({-1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}),
       {weights_name, "g_idx", "index 0"}},
      {"no group is set", gptq, index(std::vector<int32_t>(16, -1)), {weights_name, "g_idx", "index 0"}},
      {"groups of unequal size",
       gptq,
       index({0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1}),
       {weights_name, "g_idx", "group 0", "9"}},
      {"g_idx too short",
       gptq,
       [](auto& model) {
         model.part("g_idx") = {up + ".g_idx", "I32", {15}, std::string(60, '\0')};
       },
       {weights_name, "g_idx", "[15]"}},
      {"g_idx of 64 bits",
       gptq,
       [](auto& model) {
         model.part("g_idx") = {up + ".g_idx", "I64", {16}, std::string(128, '\0')};
       },
       {weights_name, "g_idx", "I64"}},
      {"g_idx missing", gptq, [](auto& model) { model.drop("g_idx"); }, {weights_name, "g_idx"}},
      {"zero points although symmetric, as of a file in the other format",
       gptq,
       [](auto& model) { model.root()["checkpoint_format"] = "gptq_v2"; },
       {weights_name, "qzeros", "symmetric"}},
      {"formats that differ",
       gptq,
       [](auto& model) { model.root()["format"] = "gptq_v2"; },
       {config_name, "format"}},
      {"Marlin", gptq, [](auto& model) { model.root()["is_marlin_format"] = true; }, {config_name, "marlin"}},
      {"a module with bits of its own",
       gptq,
       [](auto& model) {
         model.root()["dynamic"] = {{"-:lm_head", json::object()}, {"+:.*up_proj", {{"bits", 8}}}};
       },
       {config_name, "dynamic", "+:.*up_proj"}},
      {"float codes",
       gptq,
       [](auto& model) { model.root()["data_type"] = "fp"; },
       {config_name, "data_type"}},
      {"eight bits in half the words",
       gptq,
       [](auto& model) { model.root()["bits"] = 8; },
       {weights_name, "qweight"}},
  });
}

TEST_CASE("hostile: AWQ") {
  check_all(word_packed_cases(awq));
  check_all({
      {"another version", awq, [](auto& model) { model.root()["version"] = "gemv"; }, {config_name, "gemv"}},
      {"another packing",
       awq,
       [](auto& model) { model.root()["backend"] = "llm-awq"; },
       {config_name, "backend"}},
      {"no zero points",
       awq,
       [](auto& model) { model.root()["zero_point"] = false; },
       {config_name, "zero_point"}},
      {"a group index",
       awq,
       [](auto& model) {
         model.tensors.push_back({up + ".g_idx", "I32", {16}, std::string(64, '\0')});
       },
       {weights_name, "g_idx"}},
      {"act-order", awq, [](auto& model) { model.root()["desc_act"] = true; }, {config_name, "desc_act"}},
      {"eight bits", awq, [](auto& model) { model.root()["bits"] = 8; }, {config_name, "bits"}},
      {"a last group that is shorter",
       awq,
       [](auto& model) {
         model.root()["group_size"] = 24;
         model.config["intermediate_size"] = 40;
         const QuantizedLinear down = [] {
           SplitMix64 random(4);
           return random_linear(random, 16, 40, 4, 24, false);
         }();
         model.tensors = OneQuantized(awq_config(24), {}).tensors;
         for (RawTensor& tensor : model.tensors) {
           const bool wide = tensor.name.ends_with("gate_proj.weight") ||
                             tensor.name.ends_with("up_proj.weight"),
                      deep = tensor.name.ends_with("down_proj.weight");
           if (!wide && !deep) continue;
           tensor.shape = wide ? std::vector<int64_t>{40, 16} : std::vector<int64_t>{16, 40};
           tensor.bytes = std::string(2560, '\0');
         }
         model.tensors.push_back({up + ".weight", "F32", {40, 16}, std::string(2560, '\0')});
         const std::string module = "model.layers.0.mlp.down_proj";
         std::erase_if(model.tensors,
                       [&](const RawTensor& tensor) { return tensor.name == module + ".weight"; });
         for (RawTensor& part : awq_tensors(module, down)) model.tensors.push_back(std::move(part));
       },
       {weights_name, "down_proj", "group_size", "24"}},
  });
}

TEST_CASE("hostile: pack-quantized with 8 bits and a group index") {
  check_all({
      {"four codes a word too few",
       packed,
       [](auto& model) {
         model.part("weight_packed") = {up + ".weight_packed", "I32", {16, 3}, std::string(192, 'a')};
       },
       {weights_name, "weight_packed", "[16, 4]"}},
      {"zero points as if of 4 bits",
       packed,
       [](auto& model) {
         model.part("weight_zero_point") = {up + ".weight_zero_point", "I32", {2, 2}, std::string(16, 'a')};
       },
       {weights_name, "weight_zero_point", "[4, 2]"}},
      {"a group that is not there",
       packed,
       [](auto& model) { model.part("weight_g_idx").bytes = std::string(64, '\x07'); },
       {weights_name, "weight_g_idx", "index 0"}},
      {"some groups that were never set",
       packed,
       [](auto& model) {
         std::vector<int32_t> index(16, 1);
         std::fill_n(index.begin(), 8, -1);
         model.part("weight_g_idx").bytes = bytes_of(index);
       },
       {weights_name, "weight_g_idx", "index 0"}},
      {"an empty group index",
       packed,
       [](auto& model) {
         model.part("weight_g_idx") = {up + ".weight_g_idx", "I32", {0}, ""};
       },
       {weights_name, "weight_g_idx", "[0]"}},
      {"a scale of a linear that is not quantized",
       packed,
       [](auto& model) {
         model.tensors.push_back({"model.layers.0.mlp.gate_proj.weight_scale", "F32", {1}, "1234"});
       },
       {weights_name, "gate_proj.weight_scale"}},
      {"three bits",
       packed,
       [](auto& model) { model.root()["config_groups"]["config_group_0"]["weights"]["num_bits"] = 3; },
       {config_name, "num_bits"}},
  });
}

TEST_CASE("Fields of GPTQ's and AWQ's writers that say nothing of the weights are let by") {
  const TemporaryFolder folder;
  OneQuantized model = gptq();
  model.root().update({{"dataset", "c4"},
                       {"tokenizer", nullptr},
                       {"use_exllama", true},
                       {"modules_in_block_to_quantize", nullptr},
                       {"pack_dtype", "int32"},
                       {"format", "gptq"},
                       {"lm_head", false},
                       {"method", "gptq"},
                       {"dynamic", {{"-:.*gate_proj", json::object()}}},
                       {"meta", {{"quantizer", "other:1"}, {"mse", 0.0}}},
                       {"autoround_version", "0.5"},
                       {"data_type", "int"}});
  model.write(folder.path());
  CHECK_NOTHROW(load(folder.path()));
  model = awq();
  model.root().update({{"version", "GEMM"},
                       {"backend", "autoawq"},
                       {"do_fuse", false},
                       {"exllama_config", {{"version", 2}}},
                       {"modules_to_not_convert", {"lm_head"}}});
  model.write(folder.path());
  CHECK_NOTHROW(load(folder.path()));
  // One that the user vouches for.
  model.root()["made_in"] = "a test";
  model.write(folder.path());
  check_refused(folder.path(), "an unknown field", {config_name, "made_in"});
  allow_field("made_in");
  CHECK_NOTHROW(load(folder.path()));
}
