// Budgets: against trying every choice.

#include "quant/solver.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/error.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

std::vector<Tensor> random_tensors(SplitMix64& random, int count) {
  std::vector<Tensor> tensors;
  for (int t = 0; t < count; ++t) {
    Tensor& tensor = tensors.emplace_back();
    tensor.name = std::to_string(t);
    const uint64_t candidates = 1 + random.bits() % 4;
    for (uint64_t c = 0; c < candidates; ++c)
      tensor.candidates.push_back(
          {static_cast<int64_t>(1 + random.bits() % 50), static_cast<double>(random.bits() % 1000) / 1000});
  }
  return tensors;
}

// Every choice, one after the other.
std::vector<Allocation> all_choices(const std::vector<Tensor>& tensors) {
  std::vector<Allocation> all = {{}};
  for (const Tensor& tensor : tensors) {
    std::vector<Allocation> longer;
    for (const Allocation& before : all)
      for (size_t c = 0; c < tensor.candidates.size(); ++c) {
        Allocation& next = longer.emplace_back(before);
        next.choice.push_back(c);
        next.price += tensor.candidates[c].price;
        next.loss += tensor.candidates[c].loss;
      }
    all = std::move(longer);
  }
  return all;
}

void check_sums(const std::vector<Tensor>& tensors, const Allocation& allocation) {
  REQUIRE(allocation.choice.size() == tensors.size());
  int64_t price = 0;
  double loss = 0;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const Candidate& candidate = tensors[t].candidates[allocation.choice[t]];
    price += candidate.price;
    loss += candidate.loss;
  }
  CHECK(allocation.price == price);
  CHECK(allocation.loss == Approx(loss).margin(1e-12));
}

}  // namespace

TEST_CASE("No choice beats a point of the frontier in price and loss, and the frontier falls") {
  SplitMix64 random(1);
  for (int round = 0; round < 200; ++round) {
    const std::vector<Tensor> tensors = random_tensors(random, 1 + round % 6);
    const std::vector<Allocation> choices = all_choices(tensors), points = frontier(tensors);
    for (size_t i = 0; i < points.size(); ++i) {
      check_sums(tensors, points[i]);
      if (i > 0) {
        CHECK(points[i].price > points[i - 1].price);
        CHECK(points[i].loss < points[i - 1].loss);
      }
      for (const Allocation& choice : choices)
        if (choice.price <= points[i].price) CHECK(choice.loss > points[i].loss - 1e-9);
    }
    const auto least = std::ranges::min_element(choices, {}, &Allocation::loss);
    CHECK(points.back().loss == Approx(least->loss).margin(1e-12));
    CHECK(points.front().price == std::ranges::min_element(choices, {}, &Allocation::price)->price);
  }
}

TEST_CASE("A budget is kept, and used at least as well as by the frontier's last point within it") {
  SplitMix64 random(2);
  for (int round = 0; round < 200; ++round) {
    const std::vector<Tensor> tensors = random_tensors(random, 1 + round % 6);
    const std::vector<Allocation> points = frontier(tensors);
    for (int64_t price = points.front().price; price <= points.back().price + 1; price += 3) {
      const Allocation best = allocate(tensors, price);
      check_sums(tensors, best);
      CHECK(best.price <= price);
      for (const Allocation& point : points)
        if (point.price <= price) CHECK(best.loss <= point.loss + 1e-12);
    }
    CHECK_THROWS_AS(allocate(tensors, points.front().price - 1), Error);
  }
}
