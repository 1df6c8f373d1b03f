#include "quant/budget.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/option_error.h"
#include "quant/quantized_writer.h"

namespace whittle {
namespace {

// What a safetensors header says of a tensor, at most: its name comes on top.
constexpr int64_t header_bytes = 160;

}  // namespace

Recipe smallest_recipe(Recipe recipe, bool outer) {
  const ModuleFormat smallest = candidate_formats().front();
  recipe.weights = smallest.weights;
  recipe.group_size = smallest.group_size;
  recipe.activation_group_size = mixed_activation_group_size;
  recipe.modules.clear();
  if (outer) recipe.embedding = recipe.lm_head = WeightFormat::int8;
  return recipe;
}

BudgetSolver::BudgetSolver(const Recipe& smallest, Sensitivity sensitivity, const FolderWeights& source,
                           const QuantizationPlan& plan, bool outer)
    : smallest_(smallest),
      tensors_(std::move(sensitivity.tensors)),
      linears_(tensors_.size()),
      smallest_kl_(sensitivity.smallest_kl) {
  for (const Tensor& tensor : tensors_) {
    const Module& module = *source.inventory().find(tensor.name);
    weights_ += module.rows * module.cols;
  }
  if (outer && sensitivity.outer) tensors_.push_back(std::move(*sensitivity.outer));
  for (const TensorInfo& tensor : outline(source, plan))
    fixed_bytes_ += *tensor_bytes(tensor.dtype, tensor.shape) + header_bytes + std::ssize(tensor.name);
  for (const Tensor& tensor : tensors_) {
    fixed_bytes_ -= tensor.candidates.front().price;
    std::vector<int64_t>& bytes = bytes_.emplace_back();
    for (const Candidate& candidate : tensor.candidates) bytes.push_back(candidate.price);
  }
}

void BudgetSolver::use_times(const std::vector<std::vector<int64_t>>& times) {
  bool fits = times.size() >= tensors_.size();
  for (size_t t = 0; fits && t < tensors_.size(); ++t)
    fits = times[t].size() == tensors_[t].candidates.size();
  if (!fits) fail("the times that were measured are not those of the formats there are");
  for (size_t t = 0; t < tensors_.size(); ++t)
    for (size_t c = 0; c < tensors_[t].candidates.size(); ++c) tensors_[t].candidates[c].price = times[t][c];
}

MixedRecipe BudgetSolver::solve(const Budget& budget) const {
  const int64_t least = frontier(tensors_).front().price;
  if (budget.bits) {
    const auto bytes = static_cast<int64_t>(std::floor(*budget.bits * static_cast<double>(weights_) / 8));
    if (bytes < least)
      fail_option("target_bits", "the smallest there is has {:.4f} bits a weight; found {}",
                  std::ceil(1e4 * 8 * static_cast<double>(least) / static_cast<double>(weights_)) / 1e4,
                  *budget.bits);
    return mixed(allocate(tensors_, bytes));
  }
  if (*budget.bytes - fixed_bytes_ < least)
    fail_option("target_size", "the smallest there is takes {} bytes; found {}", least + fixed_bytes_,
                *budget.bytes);
  return mixed(allocate(tensors_, *budget.bytes - fixed_bytes_));
}

MixedRecipe BudgetSolver::solve_kl(double kl) const {
  const std::vector<Allocation> points = frontier(tensors_);
  for (const Allocation& allocation : points) {
    const MixedRecipe found = mixed(allocation);
    if (found.predicted_kl <= kl) return found;
  }
  return mixed(points.back());
}

MixedRecipe BudgetSolver::mixed(const Allocation& allocation) const {
  MixedRecipe out{smallest_, 0, smallest_kl_, allocation.price};
  const std::vector<ModuleFormat> formats = candidate_formats();
  int64_t bytes = 0;
  for (size_t t = 0; t < tensors_.size(); ++t) {
    const Tensor& tensor = tensors_[t];
    const size_t choice = allocation.choice[t];
    out.predicted_kl -= tensor.candidates.front().loss - tensor.candidates[choice].loss;
    if (t >= linears_) {
      if (choice > 0) out.recipe.embedding = out.recipe.lm_head = std::nullopt;
      continue;
    }
    bytes += bytes_[t][choice];
    if (choice > 0) out.recipe.modules[tensor.name] = formats[choice];
  }
  out.bits = 8 * static_cast<double>(bytes) / static_cast<double>(weights_);
  return out;
}

}  // namespace whittle
