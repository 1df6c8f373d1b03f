#pragma once
// Mixed precision to a budget: which format each tensor gets, so that the whole loses least for its price:
// bytes, or the time that it takes.
//
// Losses of tensors are taken to add up. For each tensor the formats on the lower convex hull of loss over
// price count; going from one to the next saves so much loss for so much more. All such steps of all
// tensors, the best exchange first, are the frontier: each prefix of them is the least loss for its price
// among all choices (Lagrange's multiplier is the exchange rate at which it ends).

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace whittle {

struct Candidate {
  int64_t price = 0;  // bytes, or nanoseconds a token
  double loss = 0;    // of the model, when only this tensor is rounded so: nats a token
};

struct Tensor {
  std::string name;
  std::vector<Candidate> candidates;  // one at least
};

// One candidate of each tensor, and what they come to.
struct Allocation {
  std::vector<size_t> choice;  // [tensors]
  int64_t price = 0;
  double loss = 0;
};

// From all tensors at their smallest to the least loss: the price rises, the loss falls.
std::vector<Allocation> frontier(std::span<const Tensor> tensors);

// The best that takes at most `most`: the last point of the frontier within it, and then the steps behind
// it that still fit. Throws Error where nothing is so small.
Allocation allocate(std::span<const Tensor> tensors, int64_t most);

}  // namespace whittle
