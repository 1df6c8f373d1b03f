#include "quant/solver.h"

#include <algorithm>

#include "kernels/error.h"

namespace whittle {
namespace {

// From one candidate of a tensor to the next on its hull.
struct Step {
  size_t tensor = 0, to = 0;
  int64_t price = 0;  // more
  double saved = 0;
  double rate() const { return saved / static_cast<double>(price); }
};

// Candidates on the lower convex hull, from the smallest on, each of less loss than the one before.
std::vector<size_t> hull(const std::vector<Candidate>& candidates) {
  std::vector<size_t> order(candidates.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    const Candidate &left = candidates[a], &right = candidates[b];
    return left.price != right.price ? left.price < right.price : left.loss < right.loss;
  });
  const auto rate = [&](size_t from, size_t to) {
    return (candidates[from].loss - candidates[to].loss) /
           static_cast<double>(candidates[to].price - candidates[from].price);
  };
  std::vector<size_t> found;
  for (const size_t next : order) {
    if (!found.empty() && !(candidates[next].loss < candidates[found.back()].loss)) continue;
    while (found.size() > 1 && rate(found[found.size() - 2], found.back()) <= rate(found.back(), next))
      found.pop_back();
    found.push_back(next);
  }
  return found;
}

struct Steps {
  Allocation smallest;
  std::vector<Step> steps;  // the best exchange first
};

Steps steps_of(std::span<const Tensor> tensors) {
  Steps all;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const std::vector<Candidate>& candidates = tensors[t].candidates;
    const std::vector<size_t> on_hull = hull(candidates);
    all.smallest.choice.push_back(on_hull.front());
    all.smallest.price += candidates[on_hull.front()].price;
    all.smallest.loss += candidates[on_hull.front()].loss;
    for (size_t i = 1; i < on_hull.size(); ++i) {
      const Candidate &from = candidates[on_hull[i - 1]], &to = candidates[on_hull[i]];
      all.steps.push_back({t, on_hull[i], to.price - from.price, from.loss - to.loss});
    }
  }
  // Rates fall along a hull, so that a tensor's steps stay in their order.
  std::ranges::stable_sort(all.steps, [](const Step& a, const Step& b) { return a.rate() > b.rate(); });
  return all;
}

void take(Allocation& allocation, const Step& step) {
  allocation.choice[step.tensor] = step.to;
  allocation.price += step.price;
  allocation.loss -= step.saved;
}

}  // namespace

std::vector<Allocation> frontier(std::span<const Tensor> tensors) {
  const Steps all = steps_of(tensors);
  std::vector<Allocation> points = {all.smallest};
  for (const Step& step : all.steps) take(points.emplace_back(Allocation(points.back())), step);
  return points;
}

Allocation allocate(std::span<const Tensor> tensors, int64_t most) {
  const Steps all = steps_of(tensors);
  Allocation best = all.smallest;
  if (best.price > most)
    fail("the smallest that there is has a price of {}; expected at most {}", best.price, most);
  // A step that does not fit bars those that follow it in its tensor.
  std::vector<bool> barred(tensors.size());
  for (const Step& step : all.steps) {
    if (barred[step.tensor] || best.price + step.price > most)
      barred[step.tensor] = true;
    else
      take(best, step);
  }
  return best;
}

}  // namespace whittle
