#include "engine/files/group_index.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/files/tensor_checks.h"
#include "kernels/error.h"

namespace whittle {

namespace {

std::vector<int32_t> values_of(const TensorView& index) {
  std::vector<int32_t> groups(index.bytes.size() / sizeof(int32_t));
  std::memcpy(groups.data(), index.bytes.data(), groups.size() * sizeof(int32_t));
  return groups;
}

bool is_scattered(const std::vector<int32_t>& groups, int64_t group_size) {
  for (size_t k = 0; k < groups.size(); ++k)
    if (groups[k] != groups[k - k % static_cast<size_t>(group_size)]) return true;
  return false;
}

void check(const TensorView& index, const std::vector<int32_t>& groups, const WeightMatrix& weight) {
  std::vector<int64_t> inputs(static_cast<size_t>(weight.groups()));
  for (size_t k = 0; k < groups.size(); ++k) {
    if (groups[k] < 0 || groups[k] >= weight.groups()) {
      fail("{}: index {}: expected a group from 0 to {}, found {}", label(index), k, weight.groups() - 1,
           groups[k]);
    }
    ++inputs[static_cast<size_t>(groups[k])];
  }
  for (int64_t g = 0; g < weight.groups(); ++g) {
    const int64_t expected = std::min(weight.group_size, weight.cols - g * weight.group_size);
    const int64_t found = inputs[static_cast<size_t>(g)];
    if (found != expected)
      fail("{}: expected {} inputs in group {}, found {}", label(index), expected, g, found);
  }
}

template <typename T>
void reorder(std::vector<T>& values, const std::vector<int32_t>& order) {
  std::vector<T> row(order.size());
  for (size_t first = 0; first < values.size(); first += order.size()) {
    for (size_t g = 0; g < order.size(); ++g) row[g] = values[first + static_cast<size_t>(order[g])];
    std::ranges::copy(row, values.begin() + static_cast<std::ptrdiff_t>(first));
  }
}

}  // namespace

bool is_scattered(const TensorView& index, int64_t group_size) {
  return is_scattered(values_of(index), group_size);
}

WeightMatrix with_groups_in_order(const TensorView& index, WeightMatrix weight, const Team* team) {
  const std::vector<int32_t> groups = values_of(expect(index, DType::I32, {weight.cols}));
  check(index, groups, weight);
  if (is_scattered(groups, weight.group_size)) return decode(weight, groups, team);
  std::vector<int32_t> order;
  for (int64_t k = 0; k < weight.cols; k += weight.group_size)
    order.push_back(groups[static_cast<size_t>(k)]);
  reorder(weight.scales, order);
  reorder(weight.zero_points, order);
  return weight;
}

}  // namespace whittle
