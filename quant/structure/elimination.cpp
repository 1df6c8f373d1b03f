#include "quant/structure/elimination.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <numeric>

#include "engine/files/interrupts.h"
#include "quant/inverse_factor.h"

namespace whittle {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr double damping = 0.01;
constexpr int64_t block = 64;  // rows that a thread takes at a time

// What is left: weights as they make good what is gone, (H + λI)⁻¹ of the inputs that are left, and which
// groups these are.
struct Rest {
  Matrix weights, inverse;
  std::vector<int64_t> groups;
};

template <class Body>
void for_blocks(const Team& team, int64_t rows, Body body) {
  team.for_each((rows + block - 1) / block, [&](int64_t i) {
    if (!interrupted()) body(i * block, std::min(block, rows - i * block));
  });
  check_interrupted();
}

Rest everything(std::span<const float> weights, int64_t rows, std::span<const float> h, int64_t cols,
                int64_t width, const Team& team) {
  Rest rest{Matrix(rows, cols), Matrix(cols, cols), std::vector<int64_t>(static_cast<size_t>(cols / width))};
  std::iota(rest.groups.begin(), rest.groups.end(), 0);
  for_blocks(team, rows, [&](int64_t first, int64_t count) {
    for (int64_t i = first * cols; i < (first + count) * cols; ++i)
      rest.weights.data()[i] = static_cast<double>(weights[static_cast<size_t>(i)]);
  });
  const std::vector<float> factor = inverse_factor(h, cols, damping, team);
  Matrix upper(cols, cols);
  for_blocks(team, cols, [&](int64_t first, int64_t count) {
    for (int64_t i = first * cols; i < (first + count) * cols; ++i)
      upper.data()[i] = static_cast<double>(factor[static_cast<size_t>(i)]);
  });
  for_blocks(team, cols, [&](int64_t first, int64_t count) {  // UᵀU, U zero below its diagonal
    const int64_t used = first + count;
    rest.inverse.middleRows(first, count).noalias() =
        upper.block(0, first, used, count).transpose() * upper.topRows(used);
  });
  return rest;
}

std::vector<double> prices(const Rest& rest, int64_t width, const Team& team) {
  std::vector<double> prices(rest.groups.size());
  for_blocks(team, std::ssize(rest.groups), [&](int64_t first, int64_t count) {
    for (int64_t g = first; g < first + count; ++g) {
      const Matrix corner = rest.inverse.block(g * width, g * width, width, width);
      const Matrix of_group = rest.weights.middleCols(g * width, width);
      const Matrix solved = corner.llt().solve(of_group.transpose());
      prices[static_cast<size_t>(g)] = of_group.cwiseProduct(solved.transpose()).sum();
    }
  });
  return prices;
}

// The columns of these groups, by their places in `rest`.
std::vector<int64_t> columns(const std::vector<size_t>& places, int64_t width) {
  std::vector<int64_t> all;
  for (const size_t place : places)
    for (int64_t i = 0; i < width; ++i) all.push_back(static_cast<int64_t>(place) * width + i);
  return all;
}

// Takes the groups at these places out of `rest`; what that costs.
double take_out(Rest& rest, const std::vector<size_t>& places, int64_t width, const Team& team) {
  std::vector<size_t> others;
  std::vector<int64_t> groups;
  for (size_t place = 0; place < rest.groups.size(); ++place)
    if (!std::ranges::binary_search(places, place)) {
      others.push_back(place);
      groups.push_back(rest.groups[place]);
    }
  const std::vector<int64_t> gone = columns(places, width), left = columns(others, width);
  const Matrix removed = rest.weights(Eigen::all, gone), across = rest.inverse(left, gone),
               corner = rest.inverse(gone, gone);
  const Eigen::LLT<Matrix> factor(corner);
  const Matrix solved = factor.solve(removed.transpose()).transpose();  // [rows, gone]
  const double price = removed.cwiseProduct(solved).sum();
  if (left.empty()) {
    rest = {};
    return price;
  }
  const Matrix pulled = factor.solve(across.transpose()).transpose();  // [left, gone]
  Rest next{Matrix(rest.weights.rows(), std::ssize(left)), Matrix(std::ssize(left), std::ssize(left)),
            std::move(groups)};
  for_blocks(team, next.weights.rows(), [&](int64_t first, int64_t count) {
    auto to = next.weights.middleRows(first, count);
    to = rest.weights.middleRows(first, count)(Eigen::all, left);
    to.noalias() -= solved.middleRows(first, count) * across.transpose();
  });
  for_blocks(team, next.inverse.rows(), [&](int64_t first, int64_t count) {
    const std::vector<int64_t> rows(left.begin() + first, left.begin() + first + count);
    auto to = next.inverse.middleRows(first, count);
    to = rest.inverse(rows, left);
    to.noalias() -= pulled.middleRows(first, count) * across.transpose();
  });
  rest = std::move(next);
  return price;
}

}  // namespace

std::vector<int64_t> Elimination::kept(int64_t count) const {
  std::vector<int64_t> kept(order.end() - count, order.end());
  std::ranges::sort(kept);
  return kept;
}

Elimination eliminate(std::span<const float> weights, int64_t rows, std::span<const float> h, int64_t cols,
                      int64_t width, int64_t at_once, const Team& team) {
  Rest rest = everything(weights, rows, h, cols, width, team);
  Elimination out;
  out.errors.push_back(0);
  while (!rest.groups.empty()) {
    const std::vector<double> price = prices(rest, width, team);
    std::vector<size_t> places(price.size());
    std::iota(places.begin(), places.end(), size_t{0});
    std::ranges::stable_sort(places, {}, [&](size_t place) { return price[place]; });
    places.resize(std::min(places.size(), static_cast<size_t>(at_once)));
    for (const size_t place : places) out.order.push_back(rest.groups[place]);
    std::ranges::sort(places);
    const double before = out.errors.back(), cost = std::max(0.0, take_out(rest, places, width, team));
    for (size_t i = 1; i <= places.size(); ++i)
      out.errors.push_back(before + cost * static_cast<double>(i) / static_cast<double>(places.size()));
  }
  return out;
}

}  // namespace whittle
