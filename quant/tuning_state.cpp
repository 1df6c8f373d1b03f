#include "quant/tuning_state.h"

#include <cstring>
#include <type_traits>

#include "kernels/error.h"

namespace whittle {
namespace {

constexpr uint64_t magic = 0x31656e7574746877u;  // "whttune1"

// Both walk through the same fields.
class Writer {
 public:
  template <class T>
  void operator()(const T& value) {
    static_assert(std::is_arithmetic_v<T>);
    put(&value, sizeof value);
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    (*this)(static_cast<uint64_t>(values.size()));
    put(values.data(), values.size() * sizeof(T));
  }
  template <class T>
  void operator()(const std::map<std::string, T>& entries) {
    (*this)(static_cast<uint64_t>(entries.size()));
    for (const auto& [name, value] : entries) {
      (*this)(std::vector<char>(name.begin(), name.end()));
      if constexpr (requires { value.size(); })
        (*this)(value);
      else
        fields(*this, value);
    }
  }
  std::vector<std::byte> bytes;

 private:
  void put(const void* from, size_t size) {
    const auto* first = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), first, first + size);
  }
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  template <class T>
  void operator()(T& value) {
    take(&value, sizeof value);
  }
  template <class T>
  void operator()(std::vector<T>& values) {
    const uint64_t count = size();
    if (count > left_.size() / sizeof(T)) fail_short();
    values.resize(count);
    take(values.data(), count * sizeof(T));
  }
  template <class T>
  void operator()(std::map<std::string, T>& entries) {
    for (uint64_t count = size(); count > 0; --count) {
      std::vector<char> name;
      (*this)(name);
      T& value = entries[std::string(name.begin(), name.end())];
      if constexpr (requires { value.size(); })
        (*this)(value);
      else
        fields(*this, value);
    }
  }
  void end() const {
    if (!left_.empty()) fail("a tuning state: {} bytes more than it has", left_.size());
  }

 private:
  uint64_t size() {
    uint64_t count = 0;
    (*this)(count);
    return count;
  }
  void take(void* to, size_t size) {
    if (size > left_.size()) fail_short();
    if (size) std::memcpy(to, left_.data(), size);
    left_ = left_.subspan(size);
  }
  [[noreturn]] static void fail_short() { fail("a tuning state ends too early"); }
  std::span<const std::byte> left_;
};

template <class Archive, class Parameter>
requires requires(Parameter& p) { p.square; }
void fields(Archive& archive, Parameter& parameter) {
  archive(parameter.value);
  archive(parameter.mean);
  archive(parameter.square);
}
template <class Archive, class Matrix>
requires requires(Matrix& m) { m.codes; }
void fields(Archive& archive, Matrix& matrix) {
  archive(matrix.codes);
  archive(matrix.scales);
}
template <class Archive, class State>
requires requires(State& s) { s.parameters; }
void fields(Archive& archive, State& state) {
  archive(state.step);
  archive(state.parameters);
  archive(state.best_step);
  archive(state.kl_before);
  archive(state.kl_best);
  archive(state.best_matrices);
  archive(state.best_norms);
}

}  // namespace

std::vector<std::byte> TuningState::serialize() const {
  Writer writer;
  writer(magic);
  fields(writer, *this);
  return std::move(writer.bytes);
}

TuningState TuningState::deserialize(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  uint64_t found = 0;
  reader(found);
  if (found != magic) fail("these bytes are no tuning state");
  TuningState state;
  fields(reader, state);
  reader.end();
  return state;
}

}  // namespace whittle
