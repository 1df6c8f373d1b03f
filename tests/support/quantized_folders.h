#pragma once
// Quantized model folders as others write them: GPTQ, AWQ, compressed-tensors. From the formats' descriptions
// alone, bit by bit, sharing no code with the engine.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/tiny_model.h"

namespace whittle::test {

// Codes and zero points from 0 to 2^bits − 1: w[n, k] = (code[n, k] − zero[n, g]) · scale[n, g], g =
// index[k].
struct QuantizedLinear {
  int64_t rows = 0, cols = 0, bits = 4, group_size = 0;
  std::vector<uint32_t> codes;  // [rows, cols]
  std::vector<uint32_t> zeros;  // [rows, groups]
  std::vector<float> scales;    // [rows, groups], exact in F16 and BF16; some are 0, some negative
  std::vector<int32_t> index;   // [cols]

  int64_t groups() const { return (cols + group_size - 1) / group_size; }
  uint32_t code(int64_t n, int64_t k) const { return codes[static_cast<size_t>(n * cols + k)]; }
  uint32_t zero(int64_t n, int64_t g) const { return zeros[static_cast<size_t>(n * groups() + g)]; }
  float scale(int64_t n, int64_t g) const { return scales[static_cast<size_t>(n * groups() + g)]; }
  float value(int64_t n, int64_t k) const {
    const int64_t g = index[static_cast<size_t>(k)];
    return static_cast<float>(static_cast<int>(code(n, k)) - static_cast<int>(zero(n, g))) * scale(n, g);
  }
  std::vector<float> values() const {
    std::vector<float> all;
    for (int64_t n = 0; n < rows; ++n)
      for (int64_t k = 0; k < cols; ++k) all.push_back(value(n, k));
    return all;
  }
};

enum class Order : uint8_t { plain, blocks, scattered };  // of a row's inputs and their groups

// group_size 0: all inputs of a row.
inline QuantizedLinear random_linear(SplitMix64& random, int64_t rows, int64_t cols, int64_t bits,
                                     int64_t group_size, bool symmetric, Order order = Order::plain) {
  QuantizedLinear linear{.rows = rows, .cols = cols, .bits = bits};
  linear.group_size = group_size ? group_size : cols;
  const uint64_t range = uint64_t{1} << bits;
  for (int64_t i = 0; i < rows * cols; ++i)
    linear.codes.push_back(static_cast<uint32_t>(random.bits() % range));
  for (int64_t i = 0; i < rows * linear.groups(); ++i) {
    // Every other row has zero points at the ends of the range, side by side.
    const uint64_t drawn = i % 2 ? random.bits() % range : random.bits() % 2 * (range - 1);
    linear.zeros.push_back(static_cast<uint32_t>(symmetric ? range / 2 : drawn));
    linear.scales.push_back((static_cast<float>(random.bits() % 256) - 32) / 4096);
  }
  for (int64_t k = 0; k < cols; ++k) linear.index.push_back(static_cast<int32_t>(k / linear.group_size));
  if (order == Order::blocks)
    for (int32_t& group : linear.index) group = static_cast<int32_t>(linear.groups()) - 1 - group;
  for (size_t k = linear.index.size(); order == Order::scattered && k > 1; --k)
    std::swap(linear.index[k - 1], linear.index[random.bits() % k]);
  return linear;
}

// 32-bit words [rows, cols], into which codes are put one at a time.
class Words {
 public:
  Words(int64_t rows, int64_t cols) : rows_(rows), cols_(cols), words_(static_cast<size_t>(rows * cols)) {}
  uint32_t& at(int64_t row, int64_t col) { return words_[static_cast<size_t>(row * cols_ + col)]; }
  void put(int64_t row, int64_t col, int64_t first_bit, uint32_t code) { at(row, col) |= code << first_bit; }
  RawTensor tensor(const std::string& name) const { return {name, "I32", {rows_, cols_}, bytes_of(words_)}; }

 private:
  int64_t rows_, cols_;
  std::vector<uint32_t> words_;
};

inline std::vector<float> turned(const std::vector<float>& values, int64_t rows, int64_t cols) {
  std::vector<float> result(values.size());
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t col = 0; col < cols; ++col)
      result[static_cast<size_t>(col * rows + row)] = values[static_cast<size_t>(row * cols + col)];
  return result;
}

// How zero points lie in a GPTQ file: less one within their bits, less one with borrows from the word (as
// GPTQModel does), or as they are ("gptq_v2").
enum class GptqZeros : uint8_t { wrapped, borrowed, plain };

inline std::vector<RawTensor> gptq_tensors(const std::string& module, const QuantizedLinear& linear,
                                           GptqZeros zeros, const std::string& scale_dtype = "F16") {
  const int64_t bits = linear.bits, per_word = 32 / bits;
  Words qweight(linear.cols / per_word, linear.rows), qzeros(linear.groups(), linear.rows / per_word);
  for (int64_t n = 0; n < linear.rows; ++n) {
    for (int64_t k = 0; k < linear.cols; ++k)
      qweight.put(k / per_word, n, k % per_word * bits, linear.code(n, k));
    for (int64_t g = 0; g < linear.groups(); ++g) {
      const uint32_t less = zeros == GptqZeros::wrapped ? 1 : 0;
      qzeros.put(g, n / per_word, n % per_word * bits, (linear.zero(n, g) - less) & ((1u << bits) - 1));
    }
  }
  for (int64_t g = 0; zeros == GptqZeros::borrowed && g < linear.groups(); ++g)
    for (int64_t word = 0; word < linear.rows / per_word; ++word)
      qzeros.at(g, word) -= bits == 4 ? 0x11111111u : 0x01010101u;
  return {qweight.tensor(module + ".qweight"),
          qzeros.tensor(module + ".qzeros"),
          {module + ".scales",
           scale_dtype,
           {linear.groups(), linear.rows},
           encode(turned(linear.scales, linear.rows, linear.groups()), scale_dtype)},
          {module + ".g_idx", "I32", {linear.cols}, bytes_of(linear.index)}};
}

inline nlohmann::json gptq_config(int64_t bits, int64_t group_size, bool symmetric, bool desc_act,
                                  GptqZeros zeros) {
  nlohmann::json config = {{"bits", bits},
                           {"group_size", group_size ? group_size : -1},
                           {"damp_percent", 0.1},
                           {"desc_act", desc_act},
                           {"static_groups", false},
                           {"sym", symmetric},
                           {"true_sequential", true},
                           {"model_name_or_path", nullptr},
                           {"model_file_base_name", "model"},
                           {"quant_method", "gptq"},
                           {"checkpoint_format", zeros == GptqZeros::plain ? "gptq_v2" : "gptq"}};
  if (zeros == GptqZeros::borrowed)
    config["meta"] = {{"quantizer", {"gptqmodel:1.4.2"}}, {"uri", "https://example.com"}};
  return config;
}

inline std::vector<RawTensor> awq_tensors(const std::string& module, const QuantizedLinear& linear,
                                          const std::string& scale_dtype = "F16") {
  const int64_t order[] = {0, 2, 4, 6, 1, 3, 5, 7};
  Words qweight(linear.cols, linear.rows / 8), qzeros(linear.groups(), linear.rows / 8);
  for (int64_t word = 0; word < linear.rows / 8; ++word)
    for (int64_t i = 0; i < 8; ++i) {
      const int64_t n = word * 8 + order[i];
      for (int64_t k = 0; k < linear.cols; ++k) qweight.put(k, word, 4 * i, linear.code(n, k));
      for (int64_t g = 0; g < linear.groups(); ++g) qzeros.put(g, word, 4 * i, linear.zero(n, g));
    }
  return {qweight.tensor(module + ".qweight"),
          qzeros.tensor(module + ".qzeros"),
          {module + ".scales",
           scale_dtype,
           {linear.groups(), linear.rows},
           encode(turned(linear.scales, linear.rows, linear.groups()), scale_dtype)}};
}

inline nlohmann::json awq_config(int64_t group_size) {
  return {{"quant_method", "awq"},
          {"zero_point", true},
          {"bits", 4},
          {"group_size", group_size ? group_size : -1},
          {"version", "gemm"},
          {"modules_to_not_convert", nullptr}};
}

// "pack-quantized", as llm-compressor writes it.
inline std::vector<RawTensor> packed_tensors(const std::string& module, const QuantizedLinear& linear,
                                             bool symmetric, bool group_index,
                                             const std::string& scale_dtype = "BF16") {
  const int64_t bits = linear.bits, per_word = 32 / bits;
  const auto words = [&](int64_t codes) { return (codes + per_word - 1) / per_word; };
  Words packed(linear.rows, words(linear.cols)), zeros(words(linear.rows), linear.groups());
  for (int64_t n = 0; n < linear.rows; ++n) {
    for (int64_t k = 0; k < linear.cols; ++k)
      packed.put(n, k / per_word, k % per_word * bits, linear.code(n, k));
    for (int64_t g = 0; g < linear.groups(); ++g)
      zeros.put(n / per_word, g, n % per_word * bits, linear.zero(n, g));
  }
  std::vector<RawTensor> tensors = {
      packed.tensor(module + ".weight_packed"),
      {module + ".weight_shape", "I64", {2}, bytes_of<int64_t>({linear.rows, linear.cols})},
      {module + ".weight_scale",
       scale_dtype,
       {linear.rows, linear.groups()},
       encode(linear.scales, scale_dtype)}};
  if (!symmetric) tensors.push_back(zeros.tensor(module + ".weight_zero_point"));
  if (group_index)
    tensors.push_back({module + ".weight_g_idx", "I32", {linear.cols}, bytes_of(linear.index)});
  return tensors;
}

inline nlohmann::json packed_config(int64_t bits, int64_t group_size, bool symmetric,
                                    const nlohmann::json& actorder = nullptr) {
  const nlohmann::json weights = {{"num_bits", bits},
                                  {"type", "int"},
                                  {"symmetric", symmetric},
                                  {"strategy", group_size ? "group" : "channel"},
                                  {"group_size", group_size ? nlohmann::json(group_size) : nullptr},
                                  {"block_structure", nullptr},
                                  {"dynamic", false},
                                  {"actorder", actorder},
                                  {"scale_dtype", nullptr},
                                  {"zp_dtype", symmetric ? nlohmann::json() : "torch.int8"},
                                  {"observer", "memoryless_minmax"},
                                  {"observer_kwargs", nlohmann::json::object()}};
  return {{"version", "0.16.0"},
          {"quant_method", "compressed-tensors"},
          {"sparsity_config", nlohmann::json::object()},
          {"transform_config", nlohmann::json::object()},
          {"config_groups",
           {{"config_group_0",
             {{"targets", {"Linear"}},
              {"weights", weights},
              {"input_activations", nullptr},
              {"output_activations", nullptr},
              {"format", "pack-quantized"}}}}},
          {"kv_cache_scheme", nullptr},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"global_compression_ratio", nullptr},
          {"ignore", {"lm_head"}}};
}

// One module in a folder that holds nothing else.
inline void write_module(const std::filesystem::path& folder, const nlohmann::json& quantization_config,
                         const std::vector<RawTensor>& tensors) {
  write_text(folder / "config.json", nlohmann::json{{"quantization_config", quantization_config}}.dump());
  write_safetensors(folder / "model.safetensors", tensors);
}

// A whole model twice: linears as `tensors_of_linear` stores them, and the same values as F32.
template <class TensorsOfLinear, class MakeLinear>
void write_quantized_pair(const std::filesystem::path& quantized, const std::filesystem::path& floats,
                          TinyModel model, const nlohmann::json& quantization_config, MakeLinear make,
                          TensorsOfLinear tensors_of_linear) {
  model.dtype = "F32";
  nlohmann::json config = config_of(model);
  std::vector<RawTensor> plain = tensors_of(model), stored;
  for (RawTensor& tensor : plain) {
    if (!tensor.name.ends_with("_proj.weight")) {
      stored.push_back(tensor);
      continue;
    }
    const QuantizedLinear linear = make(tensor.shape[0], tensor.shape[1]);
    tensor.bytes = encode(linear.values(), "F32");
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    for (RawTensor& part : tensors_of_linear(module, linear)) stored.push_back(std::move(part));
  }
  std::filesystem::create_directories(quantized);
  std::filesystem::create_directories(floats);
  write_text(floats / "config.json", config.dump());
  write_safetensors(floats / "model.safetensors", plain);
  config["quantization_config"] = quantization_config;
  write_text(quantized / "config.json", config.dump());
  write_safetensors(quantized / "model.safetensors", stored);
}

}  // namespace whittle::test
