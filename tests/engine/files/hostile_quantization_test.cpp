// Hostile model folders: quantized tensors and quantization_config.

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "tests/support/hostile.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const std::string up = "model.layers.0.mlp.up_proj";

struct QuantizedModel {
  json config = config_of(wide());
  std::vector<RawTensor> tensors = tensors_of(wide());

  static TinyModel wide() {
    TinyModel model;
    model.hidden_size = 16;
    return model;
  }
  // One linear of [16, 16] in groups of 8, asymmetric, packed.
  QuantizedModel() {
    std::erase_if(tensors, [](const RawTensor& tensor) { return tensor.name == up + ".weight"; });
    tensors.push_back({up + ".weight_packed", "I32", {16, 2}, std::string(128, '\x55')});
    tensors.push_back({up + ".weight_shape", "I64", {2}, bytes_of<int64_t>({16, 16})});
    tensors.push_back({up + ".weight_scale", "F16", {16, 2}, encode(std::vector<float>(32, 0.25f), "F16")});
    tensors.push_back({up + ".weight_zero_point", "I32", {2, 2}, std::string(16, '\x77')});
    config["quantization_config"] = {
        {"quant_method", "compressed-tensors"},
        {"format", "pack-quantized"},
        {"quantization_status", "compressed"},
        {"config_groups",
         {{"group_0",
           {{"targets", {up}},
            {"weights",
             {{"num_bits", 4},
              {"type", "int"},
              {"symmetric", false},
              {"strategy", "group"},
              {"group_size", 8}}},
            {"input_activations",
             {{"num_bits", 8}, {"type", "int"}, {"dynamic", true}, {"strategy", "token"}}}}}}}};
  }
  json& root() { return config["quantization_config"]; }
  json& group() { return root()["config_groups"]["group_0"]; }
  RawTensor& part(const std::string& name) {
    return *std::ranges::find(tensors, up + "." + name, &RawTensor::name);
  }
  void write(const fs::path& folder) const {
    write_text(folder / config_name, config.dump());
    write_safetensors(folder / weights_name, tensors);
  }
};

}  // namespace

TEST_CASE("hostile: quantized tensors") {
  const auto scales = [](float bad) {
    std::vector<float> values(32, 0.25f);
    values[5] = bad;
    return encode(values, "F16");
  };
  const struct {
    const char* what;
    std::function<void(QuantizedModel&)> edit;
    std::vector<std::string> names;
  } cases[] = {
      {"scale NaN",
       [&](auto& model) { model.part("weight_scale").bytes = scales(NAN); },
       {weights_name, "weight_scale", "index 5"}},
      {"scale infinite",
       [&](auto& model) { model.part("weight_scale").bytes = scales(INFINITY); },
       {weights_name, "weight_scale", "index 5"}},
      {"scale of another shape",
       [](auto& model) {
         model.part("weight_scale").shape = {2, 16};
       },
       {weights_name, "weight_scale"}},
      {"scale per row",
       [](auto& model) {
         model.part("weight_scale") = {up + ".weight_scale", "F16", {16, 1}, std::string(32, '\x11')};
       },
       {weights_name, "weight_scale"}},
      {"scale of integers",
       [](auto& model) { model.part("weight_scale").dtype = "I16"; },
       {weights_name, "weight_scale"}},
      {"scale missing",
       [](auto& model) { model.part("weight_scale").name = up + ".weight_g_idx"; },
       {weights_name, "weight_scale"}},
      {"codes of another type",
       [](auto& model) { model.part("weight_packed").dtype = "F32"; },
       {weights_name, "weight_packed"}},
      {"codes of another shape",
       [](auto& model) {
         model.part("weight_packed").shape = {1, 32};
       },
       {weights_name, "weight_packed"}},
      {"codes missing",
       [](auto& model) { model.part("weight_packed").name = up + ".weight"; },
       {weights_name, "weight_packed"}},
      {"another weight_shape",
       [](auto& model) {
         model.part("weight_shape").bytes = bytes_of<int64_t>({8, 32});
       },
       {weights_name, "weight_shape"}},
      {"a huge weight_shape",
       [](auto& model) {
         model.part("weight_shape").bytes = bytes_of<int64_t>({INT64_MAX, INT64_MIN});
       },
       {weights_name, "weight_shape"}},
      {"weight_shape of three",
       [](auto& model) {
         model.part("weight_shape") = {up + ".weight_shape", "I64", {3}, std::string(24, 1)};
       },
       {weights_name, "weight_shape"}},
      {"zero points of another shape",
       [](auto& model) {
         model.part("weight_zero_point").shape = {4, 1};
       },
       {weights_name, "weight_zero_point"}},
      {"zero points of floats",
       [](auto& model) { model.part("weight_zero_point").dtype = "F32"; },
       {weights_name, "weight_zero_point"}},
      {"zero points out of range",
       [](auto& model) {
         model.part("weight_zero_point") = {up + ".weight_zero_point", "I8", {16, 2}, std::string(32, 9)};
       },
       {weights_name, "weight_zero_point", "index 0"}},
      {"zero points missing",
       [](auto& model) { model.part("weight_zero_point").name = "model.layers.0.mlp.up_proj.weight_g_idx"; },
       {weights_name, "weight_zero_point"}},
      {"zero points although symmetric",
       [](auto& model) { model.group()["weights"]["symmetric"] = true; },
       {weights_name, "weight_zero_point"}},
      {"a module quantized that is not",
       [](auto& model) {
         model.group()["targets"] = {up, "model.norm", "lm_head", "model.layers.0.mlp.down_proj"};
       },
       {weights_name, "down_proj"}},
      {"a module not quantized that is",
       [](auto& model) { model.root()["ignore"] = {up}; },
       {weights_name, "up_proj"}},
  };
  TemporaryFolder folder;
  QuantizedModel().write(folder.path());
  CHECK_NOTHROW(load(folder.path()));
  for (const auto& [what, edit, names] : cases) {
    QuantizedModel model;
    edit(model);
    model.write(folder.path());
    check_refused(folder.path(), what, names);
  }
}

TEST_CASE("hostile: group sizes that the kernels cannot read") {
  TemporaryFolder folder;
  for (const int64_t bits : {4, 5, 6, 8}) {
    for (const int64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 15, 16, 17, 20, 24, 31, 32, 1 << 20}) {
      INFO(bits << " bits in groups of " << size);
      QuantizedModel model;
      const int64_t groups = (16 + size - 1) / size, multiple = bits == 5 ? 32 : bits == 6 ? 16 : 8;
      model.group()["weights"]["group_size"] = size;
      model.group()["weights"]["symmetric"] = true;
      model.group()["weights"]["num_bits"] = bits;
      std::erase_if(model.tensors,
                    [](const RawTensor& tensor) { return tensor.name == up + ".weight_zero_point"; });
      model.part("weight_scale") = {
          up + ".weight_scale",
          "F16",
          {16, groups},
          encode(std::vector<float>(static_cast<size_t>(16 * groups), 0.25f), "F16")};
      const int64_t words = (16 * bits + 31) / 32;
      model.part("weight_packed") = {up + ".weight_packed",
                                     "I32",
                                     {16, words},
                                     std::string(static_cast<size_t>(16 * words * 4), '\x55')};
      if (bits == 8) {
        model.root()["format"] = "int-quantized";
        model.part("weight_packed") = {up + ".weight", "I8", {16, 16}, std::string(256, '\x05')};
        std::erase_if(model.tensors,
                      [](const RawTensor& tensor) { return tensor.name == up + ".weight_shape"; });
      }
      model.write(folder.path());
      if (size % multiple == 0 || size >= 16)
        CHECK_NOTHROW(load(folder.path()));
      else
        check_refused(folder.path(), "group size",
                      {weights_name, up, "group_size", "multiple of " + std::to_string(multiple)});
    }
  }
}

TEST_CASE("hostile: quantization_config") {
  const struct {
    const char* what;
    std::function<void(QuantizedModel&)> edit;
    std::string name;
  } cases[] = {
      {"another method", [](auto& model) { model.root()["quant_method"] = "hqq"; }, "quant_method"},
      {"no method", [](auto& model) { model.root().erase("quant_method"); }, "quant_method"},
      {"no format", [](auto& model) { model.root().erase("format"); }, "format"},
      {"another format", [](auto& model) { model.root()["format"] = "marlin-24"; }, "marlin-24"},
      {"format a number", [](auto& model) { model.root()["format"] = 4; }, "format"},
      {"not compressed", [](auto& model) { model.root()["quantization_status"] = "calibration"; },
       "quantization_status"},
      {"a quantized KV cache",
       [](auto& model) {
         model.root()["kv_cache_scheme"] = {{"num_bits", 8}};
       },
       "kv_cache_scheme"},
      {"sparsity",
       [](auto& model) {
         model.root()["sparsity_config"] = {{"format", "sparse-24"}};
       },
       "sparsity_config"},
      {"a transform",
       [](auto& model) {
         model.root()["transform_config"] = {{"config_groups", {{"a", 1}}}};
       },
       "transform_config"},
      {"a field that is new to us", [](auto& model) { model.root()["rotation"] = "random"; }, "rotation"},
      {"no groups", [](auto& model) { model.root().erase("config_groups"); }, "config_groups"},
      {"groups a list", [](auto& model) { model.root()["config_groups"] = {1}; }, "config_groups"},
      {"a group by a preset's name", [](auto& model) { model.root()["config_groups"]["W8A8"] = {"Linear"}; },
       "W8A8"},
      {"targets a string", [](auto& model) { model.group()["targets"] = "Linear"; }, "targets"},
      {"targets of numbers", [](auto& model) { model.group()["targets"] = {1}; }, "targets"},
      {"a class that we do not know", [](auto& model) { model.group()["targets"] = {"LlamaAttention"}; },
       "LlamaAttention"},
      {"a broken regular expression", [](auto& model) { model.group()["targets"] = {"re:(("}; }, "re:(("},
      {"a regular expression without end",
       [](auto& model) { model.group()["targets"] = {"re:" + std::string(5000, '(')}; }, "targets"},
      {"a regular expression that explodes",
       [](auto& model) { model.group()["targets"] = {"re:(?:[a-z._0-9]+)+[^a-z._0-9]"}; }, "targets"},
      {"ignore a string", [](auto& model) { model.root()["ignore"] = "lm_head"; }, "ignore"},
      {"two groups for a target",
       [](auto& model) {
         json other = model.group();
         other["weights"]["group_size"] = 16;
         model.root()["config_groups"]["group_1"] = other;
       },
       up},
      {"no weights", [](auto& model) { model.group().erase("weights"); }, "weights"},
      {"three bits", [](auto& model) { model.group()["weights"]["num_bits"] = 3; }, "num_bits"},
      {"packed seven bits", [](auto& model) { model.group()["weights"]["num_bits"] = 7; }, "num_bits"},
      {"five bits a byte each",
       [](auto& model) {
         model.root()["format"] = "int-quantized";
         model.group()["weights"]["num_bits"] = 5;
       },
       "num_bits"},
      {"packed two bits", [](auto& model) { model.group()["weights"]["num_bits"] = 2; }, "num_bits"},
      {"bits huge", [](auto& model) { model.group()["weights"]["num_bits"] = UINT64_MAX; }, "num_bits"},
      {"floats", [](auto& model) { model.group()["weights"]["type"] = "float"; }, "type"},
      {"blocks", [](auto& model) { model.group()["weights"]["strategy"] = "block"; }, "strategy"},
      {"group size 0", [](auto& model) { model.group()["weights"]["group_size"] = 0; }, "group_size"},
      {"group size negative", [](auto& model) { model.group()["weights"]["group_size"] = -4; }, "group_size"},
      {"group size huge", [](auto& model) { model.group()["weights"]["group_size"] = INT64_MAX; },
       "group_size"},
      {"group size missing", [](auto& model) { model.group()["weights"].erase("group_size"); }, "group_size"},
      {"group size for rows", [](auto& model) { model.group()["weights"]["strategy"] = "channel"; },
       "group_size"},
      {"dynamic weights", [](auto& model) { model.group()["weights"]["dynamic"] = true; }, "dynamic"},
      {"symmetric a string", [](auto& model) { model.group()["weights"]["symmetric"] = "yes"; }, "symmetric"},
      {"a block structure",
       [](auto& model) {
         model.group()["weights"]["block_structure"] = {2, 2};
       },
       "block_structure"},
      {"static activations", [](auto& model) { model.group()["input_activations"]["dynamic"] = false; },
       "dynamic"},
      {"four-bit activations", [](auto& model) { model.group()["input_activations"]["num_bits"] = 4; },
       "num_bits"},
      {"asymmetric activations", [](auto& model) { model.group()["input_activations"]["symmetric"] = false; },
       "symmetric"},
      {"activations by matrix",
       [](auto& model) { model.group()["input_activations"]["strategy"] = "tensor"; }, "strategy"},
      {"output activations",
       [](auto& model) {
         model.group()["output_activations"] = {{"num_bits", 8}};
       },
       "output_activations"},
  };
  for (const auto& [what, edit, name] : cases) {
    TemporaryFolder folder;
    QuantizedModel model;
    edit(model);
    model.write(folder.path());
    check_refused(folder.path(), what, {config_name, "quantization_config", name});
  }
}
