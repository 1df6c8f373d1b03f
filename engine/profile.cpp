#include "engine/profile.h"

namespace whittle {

Work& Work::operator+=(const Work& more) {
  bytes += more.bytes;
  int8_operations += more.int8_operations;
  float_operations += more.float_operations;
  return *this;
}

std::string_view name(Operation operation) {
  constexpr std::string_view names[operation_count] = {
      "embedding",    "norm, quantize", "quantize",        "qkv projection", "rope, store kv", "attention",
      "o projection", "gate, up, silu", "down projection", "head",           "wait for others"};
  return names[static_cast<size_t>(operation)];
}

}  // namespace whittle
