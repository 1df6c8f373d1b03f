#pragma once
// A second reader of compressed-tensors folders, written from the format's description alone and sharing no
// code with the engine: safetensors through its header, codes, scales and zero points bit by bit. Slow and
// obvious.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace whittle::test {

class IndependentReader {
 public:
  explicit IndependentReader(const std::filesystem::path& folder) {
    std::ifstream file(folder / "model.safetensors", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i)
      length = length * 256 + static_cast<unsigned char>(bytes_.at(static_cast<size_t>(i)));
    header_ = nlohmann::json::parse(bytes_.substr(8, length));
    data_ = 8 + length;
    std::ifstream config(folder / "config.json");
    config_ = nlohmann::json::parse(config);
  }

  const nlohmann::json& config() const { return config_; }
  const nlohmann::json& header() const { return header_; }
  bool has(const std::string& name) const { return header_.contains(name); }

  // The matrix of a module as values, row by row.
  std::vector<double> matrix(const std::string& module) const {
    if (has(module + ".weight_packed")) return packed(module);
    const nlohmann::json& entry = header_.at(module + ".weight");
    const int64_t rows = entry["shape"][0], cols = entry["shape"][1];
    std::vector<double> out;
    for (int64_t i = 0; i < rows * cols; ++i) out.push_back(number(module + ".weight", i));
    if (entry["dtype"] == "I8")
      apply_scales(module, rows, cols, out, [&](int64_t row, int64_t g, int64_t groups) {
        return has(module + ".weight_zero_point") ? number(module + ".weight_zero_point", row * groups + g)
                                                  : 0.0;
      });
    return out;
  }

 private:
  std::vector<double> packed(const std::string& module) const {
    const auto rows = static_cast<int64_t>(number(module + ".weight_shape", 0));
    const auto cols = static_cast<int64_t>(number(module + ".weight_shape", 1));
    const int64_t bits = weights(module)["num_bits"], words = (cols * bits + 31) / 32;
    std::vector<double> out;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t k = 0; k < cols; ++k)
        out.push_back(code(module + ".weight_packed", row * words, 1, k, bits));
    apply_scales(module, rows, cols, out, [&](int64_t row, int64_t g, int64_t groups) {
      // Along the rows.
      return has(module + ".weight_zero_point") ? code(module + ".weight_zero_point", g, groups, row, bits)
                                                : 0.0;
    });
    return out;
  }

  template <class ZeroPoint>
  void apply_scales(const std::string& module, int64_t rows, int64_t cols, std::vector<double>& values,
                    ZeroPoint zero) const {
    const std::string name = module + ".weight_scale";
    const int64_t groups = header_.at(name)["shape"][1];
    const int64_t size = groups == 1 ? cols : weights(module)["group_size"].get<int64_t>();
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t k = 0; k < cols; ++k) {
        const int64_t g = k / size;
        double& value = values[static_cast<size_t>(row * cols + k)];
        value = (value - zero(row, g, groups)) * number(name, row * groups + g);
      }
  }

  const nlohmann::json& weights(const std::string& module) const {
    for (const auto& [name, group] : config_["quantization_config"]["config_groups"].items())
      for (const std::string target : group["targets"])
        if (target == module || target == "Linear") return group["weights"];
    throw std::runtime_error("no group for " + module);
  }

  // Code `index` of a stream of bits in words that lie `stride` apart, the first at `word`.
  double code(const std::string& name, int64_t word, int64_t stride, int64_t index, int64_t bits) const {
    double value = -std::exp2(bits - 1);
    for (int64_t b = 0; b < bits; ++b) {
      const int64_t place = index * bits + b, byte = (word + place / 32 * stride) * 4 + place % 32 / 8;
      if (static_cast<unsigned char>(at(name)[byte]) >> (place % 8) & 1) value += std::exp2(b);
    }
    return value;
  }
  const char* at(const std::string& name) const {
    return bytes_.data() + data_ + header_.at(name)["data_offsets"][0].get<size_t>();
  }
  double number(const std::string& name, int64_t i) const {
    const std::string dtype = header_.at(name)["dtype"];
    const char* start = at(name);
    if (dtype == "I8") return static_cast<signed char>(start[i]);
    if (dtype == "I64") {
      int64_t value;
      std::memcpy(&value, start + i * 8, 8);
      return static_cast<double>(value);
    }
    if (dtype == "F32") {
      float value;
      std::memcpy(&value, start + i * 4, 4);
      return static_cast<double>(value);
    }
    if (dtype == "F16") {
      _Float16 value;
      std::memcpy(&value, start + i * 2, 2);
      return static_cast<double>(value);
    }
    if (dtype == "BF16") {
      uint32_t bits = 0;
      std::memcpy(reinterpret_cast<char*>(&bits) + 2, start + i * 2, 2);
      float value;
      std::memcpy(&value, &bits, 4);
      return static_cast<double>(value);
    }
    throw std::runtime_error("dtype " + dtype);
  }

  std::string bytes_;
  nlohmann::json header_, config_;
  size_t data_ = 0;
};

}  // namespace whittle::test
