// Hostile model folders: weights whose zeros are not stored.

#include <catch2/catch.hpp>
#include <functional>

#include "tests/support/hostile.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
using nlohmann::json;

namespace {

const std::string down = "model.layers.0.mlp.down_proj";
constexpr int64_t rows = 16, cols = 20;

// One linear of [16, 20], stored sparsely.
struct SparseModel {
  json config;
  std::vector<RawTensor> tensors;

  SparseModel(const json& quantization_config, const std::vector<RawTensor>& parts) {
    TinyModel model;
    model.hidden_size = rows;
    model.intermediate_size = cols;
    config = config_of(model);
    config["quantization_config"] = quantization_config;
    tensors = tensors_of(model);
    std::erase_if(tensors, [](const RawTensor& tensor) { return tensor.name == down + ".weight"; });
    tensors.insert(tensors.end(), parts.begin(), parts.end());
  }
  json& root() { return config["quantization_config"]; }
  RawTensor& part(const std::string& name) {
    return *std::ranges::find(tensors, down + "." + name, &RawTensor::name);
  }
  void set(const std::string& name, const std::string& dtype, std::vector<int64_t> shape, std::string bytes) {
    part(name) = {down + "." + name, dtype, std::move(shape), std::move(bytes)};
  }
  void drop(const std::string& name) {
    std::erase_if(tensors, [&](const RawTensor& tensor) { return tensor.name == down + "." + name; });
  }
  void write(const std::filesystem::path& folder) const {
    write_text(folder / config_name, config.dump());
    write_safetensors(folder / weights_name, tensors);
  }
};

// Rows that mark 2 of each 4; or one less.
std::string mask_of(char last) {
  std::string mask;
  for (int64_t row = 0; row < rows; ++row) mask += std::string("\x33\x33") + last;
  return mask;
}

std::vector<int64_t> offsets() {
  std::vector<int64_t> values;
  for (int64_t row = 0; row < rows; ++row) values.push_back(row * 10);
  return values;
}

json sparsity(const char* format) {
  return {{"format", format}, {"targets", {down}}, {"ignore", json::array()}};
}

SparseModel floats(bool groups) {
  std::vector<RawTensor> parts = {
      {down + ".compressed", "F16", {rows * 10}, encode(std::vector<float>(160, 0.5f), "F16")},
      {down + ".bitmask", "U8", {rows, 3}, mask_of('\x03')},
      {down + ".shape", "I64", {2}, bytes_of<int64_t>({rows, cols})}};
  if (groups)
    parts[0].shape = {rows, 10};
  else
    parts.push_back({down + ".row_offsets", "I64", {rows}, bytes_of(offsets())});
  return {{{"quant_method", "compressed-tensors"},
           {"sparsity_config", sparsity(groups ? "sparse-24-bitmask" : "sparse-bitmask")}},
          parts};
}
SparseModel bitmask() { return floats(false); }
SparseModel bitmask_24() { return floats(true); }

json codes_config(const char* format, int64_t bits, int64_t group_size) {
  json weights = {{"num_bits", bits}, {"type", "int"}, {"symmetric", true}};
  weights["strategy"] = group_size ? "group" : "channel";
  if (group_size) weights["group_size"] = group_size;
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"config_groups", {{"group_0", {{"targets", {down}}, {"weights", weights}}}}}};
}

SparseModel int8() {
  json config = codes_config("int-quantized", 8, 0);
  config["sparsity_config"] = sparsity("sparse-bitmask");
  return {config,
          {{down + ".compressed", "I8", {rows * 10}, std::string(160, '\x05')},
           {down + ".bitmask", "U8", {rows, 3}, mask_of('\x03')},
           {down + ".shape", "I64", {2}, bytes_of<int64_t>({rows, cols})},
           {down + ".row_offsets", "I64", {rows}, bytes_of(offsets())},
           {down + ".weight_scale", "F32", {rows, 1}, bytes_of(std::vector<float>(16, 0.5f))}}};
}

// Nine codes of 4 bits a row: half a byte is left.
SparseModel int4() {
  std::string codes;
  for (int64_t row = 0; row < rows; ++row) codes += "\x55\x55\x55\x55\x05";
  return {codes_config("whittle-bitmask-v1", 4, 8),
          {{down + ".weight_codes", "U8", {rows * 5}, codes},
           {down + ".weight_bitmask", "U8", {rows, 3}, mask_of('\x01')},
           {down + ".weight_shape", "I64", {3}, bytes_of<int64_t>({rows, cols, rows * 9})},
           {down + ".weight_scale", "F16", {rows, 3}, encode(std::vector<float>(48, 0.25f), "F16")}}};
}

struct Case {
  const char* what;
  std::function<void(SparseModel&)> edit;
  std::vector<std::string> names;
};

void check_all(SparseModel (*make)(), const std::vector<Case>& cases) {
  for (const auto& [what, edit, names] : cases) {
    const TemporaryFolder folder;
    SparseModel model = make();
    model.write(folder.path());
    CHECK_NOTHROW(load(folder.path()));
    edit(model);
    model.write(folder.path());
    check_refused(folder.path(), what, names);
  }
}

// Of a mask and what stands beside it, by their names.
std::vector<Case> mask_cases(const std::string& mask, const std::string& kept, const std::string& shape) {
  // Ours says how many codes there are, too.
  const auto values = [=](int64_t a, int64_t b) {
    return shape == "shape" ? bytes_of<int64_t>({a, b}) : bytes_of<int64_t>({a, b, rows * 9});
  };
  return {
      {"a bit behind the last column",
       [=](auto& model) { model.part(mask).bytes[5] |= '\x10'; },
       {weights_name, mask, "row 1"}},
      {"a bit more than there are elements",
       [=](auto& model) { model.part(mask).bytes[0] |= '\x04'; },
       {weights_name, "down_proj"}},
      {"a bit less", [=](auto& model) { model.part(mask).bytes[0] = '\x32'; }, {weights_name, "down_proj"}},
      {"a mask of signed bytes", [=](auto& model) { model.part(mask).dtype = "I8"; }, {weights_name, mask}},
      {"a mask of another shape",
       [=](auto& model) {
         model.part(mask).shape = {3, rows};
       },
       {weights_name, mask, "[3, 16]"}},
      {"a mask that is too short",
       [=](auto& model) {
         model.set(mask, "U8", {15, 3}, std::string(45, '\x03'));
       },
       {weights_name, mask, "[15, 3]"}},
      {"no mask", [=](auto& model) { model.drop(mask); }, {weights_name, "down_proj"}},
      {"no elements", [=](auto& model) { model.drop(kept); }, {weights_name, "down_proj"}},
      {"an element too few",
       [=](auto& model) {
         RawTensor& part = model.part(kept);
         const size_t size = part.dtype == "F16" ? 2 : 1;
         part.bytes.resize(part.bytes.size() - size);
         part.shape = {static_cast<int64_t>(part.bytes.size() / size)};
       },
       {weights_name, kept}},
      {"elements that are no weights",
       [=](auto& model) {
         RawTensor& part = model.part(kept);
         part.dtype = part.dtype == "F16" ? "I16" : "BOOL";
       },
       {weights_name, kept}},
      {"no shape", [=](auto& model) { model.drop(shape); }, {weights_name, shape}},
      {"another shape",
       [=](auto& model) { model.part(shape).bytes = values(cols, rows); },
       {weights_name, shape, "20, 16"}},
      {"a shape that overflows",
       [=](auto& model) { model.part(shape).bytes = values(INT64_MAX, INT64_MAX); },
       {weights_name, shape}},
      {"a shape below zero",
       [=](auto& model) { model.part(shape).bytes = values(-16, -20); },
       {weights_name, shape}},
      {"a shape of four",
       [=](auto& model) {
         model.set(shape, "I64", {4}, bytes_of<int64_t>({rows, cols, 144, 1}));
       },
       {weights_name, shape, "[4]"}},
      {"a shape of 32 bits",
       [=](auto& model) {
         model.set(shape, "I32", {2}, bytes_of<int32_t>({rows, cols}));
       },
       {weights_name, shape, "I32"}},
      {"the weight whole as well",
       [=](auto& model) {
         model.tensors.push_back({down + ".weight", "F32", {rows, cols}, std::string(1280, '\0')});
       },
       {weights_name, "down_proj.weight"}},
  };
}

std::vector<Case> offset_cases() {
  const auto changed = [](size_t row, int64_t value) {
    return [=](SparseModel& model) {
      std::vector<int64_t> values = offsets();
      values[row] = value;
      model.part("row_offsets").bytes = bytes_of(values);
    };
  };
  return {
      {"offsets out of order", changed(3, 50), {weights_name, "row_offsets", "row 3", "30"}},
      {"an offset out of range", changed(15, INT64_MAX), {weights_name, "row_offsets", "row 15"}},
      {"an offset below zero", changed(0, -1), {weights_name, "row_offsets", "row 0"}},
      {"offsets of 32 bits",
       [](auto& model) { model.set("row_offsets", "I32", {rows}, std::string(64, '\0')); },
       {weights_name, "row_offsets", "I32"}},
      {"an offset too many",
       [](auto& model) { model.set("row_offsets", "I64", {17}, std::string(136, '\0')); },
       {weights_name, "row_offsets", "[17]"}},
      {"no offsets", [](auto& model) { model.drop("row_offsets"); }, {weights_name, "row_offsets"}},
      {"a count moved to the next row",
       [](auto& model) {
         model.part("bitmask").bytes[0] = '\x32';
         model.part("bitmask").bytes[3] = '\x37';
       },
       {weights_name, "row_offsets", "row 1"}},
  };
}

}  // namespace

TEST_CASE("hostile: sparse-bitmask") {
  for (SparseModel (*make)() : {bitmask, int8}) {
    check_all(make, mask_cases("bitmask", "compressed", "shape"));
    check_all(make, offset_cases());
  }
  check_all(int8,
            {{"no scales", [](auto& model) { model.drop("weight_scale"); }, {weights_name, "weight_scale"}}});
  check_all(bitmask, {{"scales of floats",
                       [](auto& model) {
                         model.tensors.push_back({down + ".weight_scale", "F32", {1}, std::string(4, '\0')});
                       },
                       {weights_name, "weight_scale"}},
                      {"not in the config",
                       [](auto& model) { model.root()["sparsity_config"]["targets"] = {"lm_head"}; },
                       {weights_name, "down_proj"}},
                      {"another form",
                       [](auto& model) { model.root()["sparsity_config"]["format"] = "sparse-24-bitmask"; },
                       {weights_name, "down_proj"}},
                      {"an unknown form",
                       [](auto& model) { model.root()["sparsity_config"]["format"] = "sparse-48"; },
                       {config_name, "sparsity_config", "sparse-48"}},
                      {"targets that are no list",
                       [](auto& model) { model.root()["sparsity_config"]["targets"] = 3; },
                       {config_name, "targets"}},
                      {"a field that is new to us",
                       [](auto& model) { model.root()["sparsity_config"]["order"] = "columns"; },
                       {config_name, "order"}}});
}

TEST_CASE("hostile: sparse-24-bitmask") {
  check_all(bitmask_24, mask_cases("bitmask", "compressed", "shape"));
  check_all(bitmask_24,
            {{"three of four and one of four",
              [](auto& model) { model.part("bitmask").bytes[4] = '\x17'; },
              {weights_name, "bitmask", "row 1", "columns 8 to 11", "found 3"}},
             {"row offsets, which this form has not",
              [](auto& model) {
                model.tensors.push_back({down + ".row_offsets", "I64", {rows}, bytes_of(offsets())});
              },
              {weights_name, "row_offsets"}}});
}

TEST_CASE("hostile: sparse codes") {
  check_all(int4, mask_cases("weight_bitmask", "weight_codes", "weight_shape"));
  check_all(int4, {{"bits behind the last code of a row",
                    [](auto& model) { model.part("weight_codes").bytes[9] = '\x15'; },
                    {weights_name, "weight_codes", "row 1"}},
                   {"another version",
                    [](auto& model) { model.root()["format"] = "whittle-bitmask-v2"; },
                    {config_name, "whittle-bitmask-v2"}},
                   {"three bits",
                    [](auto& model) { model.root()["config_groups"]["group_0"]["weights"]["num_bits"] = 3; },
                    {config_name, "num_bits"}}});
}
