#pragma once
// What formats cost in time on this machine: a linear's product with one token, its weights from memory, on
// all threads.

#include <cstdint>
#include <map>
#include <tuple>

#include "engine/files/quantization_config.h"
#include "kernels/threads.h"

namespace whittle {

class FormatTimes {
 public:
  // Team must outlive this.
  explicit FormatTimes(const Team& team) : team_(team) {}

  // Nanoseconds for a matrix [rows, cols] stored so: the median of some passes over copies that no cache
  // holds. Measured once for each shape and scheme.
  int64_t nanoseconds(const QuantizationScheme& scheme, int64_t rows, int64_t cols);

 private:
  int64_t measure(const QuantizationScheme& scheme, int64_t rows, int64_t cols) const;

  const Team& team_;
  std::map<std::tuple<WeightFormat, int64_t, int64_t, bool, int64_t, int64_t>, int64_t> known_;
};

}  // namespace whittle
