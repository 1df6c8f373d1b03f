#include "engine/files/gptq.h"

#include <algorithm>
#include <cstring>

#include "engine/files/group_index.h"
#include "engine/files/model_file.h"
#include "engine/files/quantization_fields.h"
#include "engine/files/tensor_checks.h"
#include "engine/files/word_codes.h"
#include "kernels/error.h"

namespace whittle {

namespace {

struct Bits {
  int64_t bits;
  WeightFormat format;
};
constexpr Bits known_bits[] = {{4, WeightFormat::int4}, {8, WeightFormat::int8}};

// A word of zero points as they were before one was taken from each. `ones` has a one for each, `top` the
// highest bit of each.
using RestoreZeros = uint32_t (*)(uint32_t word, uint32_t ones, uint32_t top);
struct ZeroFormat {
  CodeLayout layout;
  RestoreZeros restore;
};
constexpr ZeroFormat zero_formats[] = {
    {CodeLayout::gptq_v1,
     [](uint32_t word, uint32_t ones, uint32_t top) { return ((word & ~top) + ones) ^ (word & top); }},
    {CodeLayout::gptqmodel_v1, [](uint32_t word, uint32_t ones, uint32_t) { return word + ones; }},
    {CodeLayout::gptq_v2, [](uint32_t word, uint32_t, uint32_t) { return word; }}};

// "meta": {"quantizer": ["gptqmodel:1.4.2"]}, or without the array.
bool made_by_gptqmodel(const JsonFields& fields) {
  if (!fields.has("meta") || !fields.at("meta").is_object()) return false;
  const nlohmann::json& meta = fields.at("meta");
  if (!meta.contains("quantizer")) return false;
  const nlohmann::json& quantizer = meta["quantizer"];
  const auto named = [](const nlohmann::json& value) {
    return value.is_string() && value.get_ref<const std::string&>().starts_with("gptqmodel:");
  };
  return named(quantizer) || (quantizer.is_array() && std::ranges::any_of(quantizer, named));
}

CodeLayout layout_of(const JsonFields& fields) {
  std::string format = "gptq";
  for (const char* field : {"checkpoint_format", "format"}) {  // the latter by newer writers
    check_choice(fields, field, {"gptq", "gptq_v2"});
    format = fields.string(field, format);
  }
  if (fields.string("checkpoint_format", format) != format)
    fields.reject("format", "differs from checkpoint_format");
  if (format != "gptq") return CodeLayout::gptq_v2;
  return made_by_gptqmodel(fields) ? CodeLayout::gptqmodel_v1 : CodeLayout::gptq_v1;
}

// Patterns of modules that were left as they are need nothing: the tensors say so.
void check_dynamic(const JsonFields& fields) {
  if (!fields.has("dynamic")) return;
  const JsonFields dynamic = fields.object("dynamic");
  for (const auto& [pattern, unused] : dynamic.object().items())
    if (!pattern.starts_with("-:"))
      dynamic.reject(pattern.c_str(), "modules with a scheme of their own are not supported");
}

}  // namespace

QuantizationTarget read_gptq_config(const JsonFields& fields) {
  check_word_packed_fields(fields, {"quant_method", "method", "bits", "group_size", "desc_act", "sym",
                                    "checkpoint_format", "format", "is_marlin_format", "pack_dtype",
                                    "data_type", "packing_format", "dynamic", "backend", "scale_dtype"});
  check_choice(fields, "method", {"gptq"});
  check_choice(fields, "pack_dtype", {"int32"});
  check_choice(fields, "data_type", {"int"});
  if (fields.boolean("is_marlin_format", false)) fields.reject("is_marlin_format", "not supported");
  check_dynamic(fields);
  QuantizationScheme scheme;
  scheme.layout = layout_of(fields);
  const int64_t bits = fields.integer("bits", 1, 16);
  const auto known = std::ranges::find(known_bits, bits, &Bits::bits);
  if (known == std::end(known_bits))
    fields.reject("bits", fmt::format("{} bits are not supported, expected 4 or 8", bits));
  scheme.format = known->format;
  read_word_packed_group_size(fields, scheme);
  // Where it is left out, only the zero points say.
  scheme.symmetric = fields.boolean("sym", false);
  scheme.permuted = fields.boolean("desc_act", false) && scheme.strategy == ScaleStrategy::group;
  return all_linears(fields, scheme);
}

WeightMatrix read_gptq(const ModelFile& file, const std::string& module, const QuantizationScheme& scheme,
                       int64_t rows, int64_t cols, const Team* team) {
  const int64_t bits = info(scheme.format).bits, per_word = 32 / bits;
  const auto& [qweight, qzeros, scales] = find_word_packed(file, module);
  check_whole_words(qweight, rows, cols, per_word);
  expect(qweight, DType::I32, {cols / per_word, rows});
  WeightMatrix weight;
  weight.format = scheme.format;
  weight.rows = rows;
  weight.cols = cols;
  weight.group_size = checked_group_size(scales, scheme.format, scheme.group_size, cols);
  weight.scales = read_transposed_scales(scales, rows, weight.groups());

  expect(qzeros, DType::I32, {weight.groups(), rows / per_word});
  const uint32_t ones = 0xffffffffu / ((1u << bits) - 1), top = ones << (bits - 1);
  const RestoreZeros restore = std::ranges::find(zero_formats, scheme.layout, &ZeroFormat::layout)->restore;
  std::vector<int8_t> zeros(weight.scales.size());
  for (int64_t group = 0; group < weight.groups(); ++group)
    for (int64_t row = 0; row < rows; ++row) {
      const uint32_t word = restore(word_at(qzeros, group * (rows / per_word) + row / per_word), ones, top);
      zeros[static_cast<size_t>(row * weight.groups() + group)] = signed_code(word, row % per_word, bits);
    }
  weight.zero_points = checked_word_packed_zeros(qzeros, std::move(zeros), weight.groups(), scheme.symmetric);

  // Words of ours hold the same codes in the same order, with the highest bit of 8-bit codes turned.
  std::vector<std::byte> codes(static_cast<size_t>(rows * row_bytes(scheme.format, cols)));
  transpose_words(qweight.bytes, cols / per_word, rows, bits == 8 ? top : 0, codes.data(), team);
  weight = with_codes(std::move(weight), std::move(codes));
  file.drop_pages(qweight.bytes);
  const TensorView* index = file.find(module + ".g_idx");
  if (!index && scheme.permuted) index = &file.get(module + ".g_idx");
  return index ? with_groups_in_order(*index, std::move(weight), team) : weight;
}

}  // namespace whittle
