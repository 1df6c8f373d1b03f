#pragma once
// A second reader of GGUF files, written from the format's description alone and sharing no code with the
// writer. Slow and obvious.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace whittle::test {

class GgufReader {
 public:
  struct Tensor {
    std::vector<int64_t> dims;  // adjacent values first
    uint32_t type = 0;
    uint64_t offset = 0;
  };

  explicit GgufReader(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes_.substr(0, 4) != "GGUF") throw std::runtime_error("magic");
    at_ = 4;
    if (number<uint32_t>() != 3) throw std::runtime_error("version");
    const auto tensors = number<uint64_t>(), entries = number<uint64_t>();
    for (uint64_t i = 0; i < entries; ++i) {
      const std::string key = text();
      if (metadata_.contains(key)) throw std::runtime_error("two of " + key);
      const auto type = number<uint32_t>();
      metadata_[key] = value(type);
    }
    for (uint64_t i = 0; i < tensors; ++i) {
      Tensor& tensor = tensors_[text()];
      const auto dims = number<uint32_t>();
      for (uint32_t d = 0; d < dims; ++d) tensor.dims.push_back(number<int64_t>());
      tensor.type = number<uint32_t>();
      tensor.offset = number<uint64_t>();
      if (tensor.offset % 32 != 0) throw std::runtime_error("alignment");
    }
    if (tensors_.size() != tensors) throw std::runtime_error("two tensors of one name");
    data_ = (at_ + 31) / 32 * 32;
  }

  const nlohmann::json& metadata() const { return metadata_; }
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

  std::vector<double> values(const std::string& name) const {
    const Tensor& tensor = tensors_.at(name);
    int64_t count = 1;
    for (const int64_t dim : tensor.dims) count *= dim;
    const auto start = static_cast<int64_t>(data_ + tensor.offset);
    std::vector<double> out;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t block = i / 32, k = i % 32;
      switch (tensor.type) {
        case 0: out.push_back(static_cast<double>(load<float>(start + 4 * i))); break;
        case 1: out.push_back(half(start + 2 * i)); break;
        case 2: {
          const auto byte = load<uint8_t>(start + 18 * block + 2 + k % 16);
          out.push_back(half(start + 18 * block) * ((k < 16 ? byte % 16 : byte / 16) - 8));
          break;
        }
        case 8: out.push_back(half(start + 34 * block) * load<int8_t>(start + 34 * block + 2 + k)); break;
        default: throw std::runtime_error("type");
      }
    }
    return out;
  }

 private:
  template <class T>
  T load(int64_t at) const {
    T value;
    if (static_cast<size_t>(at) + sizeof value > bytes_.size()) throw std::runtime_error("end of file");
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }
  double half(int64_t at) const { return static_cast<double>(load<_Float16>(at)); }
  template <class T>
  T number() {
    const T value = load<T>(static_cast<int64_t>(at_));
    at_ += sizeof value;
    return value;
  }
  std::string text() {
    const auto size = number<uint64_t>();
    if (size > bytes_.size() - at_) throw std::runtime_error("end of file");
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  nlohmann::json value(uint32_t type) {
    switch (type) {
      case 4: return number<uint32_t>();
      case 5: return number<int32_t>();
      case 6: return number<float>();
      case 7: return number<uint8_t>() != 0;
      case 8: return text();
      case 9: {
        const auto element = number<uint32_t>();
        const auto count = number<uint64_t>();
        nlohmann::json list = nlohmann::json::array();
        for (uint64_t i = 0; i < count; ++i) list.push_back(value(element));
        return list;
      }
      default: throw std::runtime_error("value type");
    }
  }

  std::string bytes_;
  size_t at_ = 0, data_ = 0;
  nlohmann::json metadata_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace whittle::test
