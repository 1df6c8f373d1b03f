#include "engine/packing_choice.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

#include "engine/files/open_options.h"
#include "engine/weight_source.h"
#include "kernels/kernel_table.h"
#include "kernels/packing_probe.h"
#include "kernels/sparse_weight.h"

namespace whittle {
namespace {

using Reason = PackingChoice::Reason;

// A sparse packing that would save less is not looked at.
constexpr double most_of_dense = 0.92;

// Bits of a code as packed, of those of a dense one.
double size_of_dense(const WeightMatrix& matrix, Packing packing, const CodeSparsity& sparsity) {
  const double bits = info(matrix.format).bits;
  if (packing == Packing::masked) return 1 / bits + sparsity.density();
  return sparse_half_bits(matrix.format, packing) / (2 * bits);
}

// The packing that takes the fewest bytes; of those that take about the same the first, whose work is least.
Packing smallest_packing(const WeightMatrix& matrix, const CodeSparsity& sparsity) {
  const std::pair<Packing, bool> candidates[] = {{Packing::two_of_four, sparsity.two_of_four},
                                                 {Packing::four_of_eight, sparsity.four_of_eight},
                                                 {Packing::masked, true}};
  Packing best = Packing::dense;
  double size = most_of_dense;
  for (const auto& [packing, fits] : candidates) {
    if (!fits || !sparse_packable(matrix, packing)) continue;
    if (packing == Packing::masked && best != Packing::dense && !kernels().reads_masks) continue;
    const double found = size_of_dense(matrix, packing, sparsity);
    if (found >= (best == Packing::dense ? size : 0.9 * size)) continue;
    best = packing;
    size = found;
  }
  return best;
}

WeightMatrix first_rows(const WeightMatrix& matrix) {
  WeightMatrix first = matrix;
  first.rows = std::min(matrix.rows, panel_rows);
  return first;
}

// What a probe should read to meet memory, or the cache, as the model's decoding does.
int64_t probe_bytes(const WeightMatrix& matrix, const Inventory& inventory) {
  constexpr int64_t mib = int64_t{1} << 20;
  int64_t model_weights = 0;
  for (const Module& module : inventory.modules())
    if (module.kind() == ModuleKind::linear || &module == &inventory.head())
      model_weights += module.rows * module.cols;
  const int64_t cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // not known in many virtual machines
  const int64_t bytes = model_weights * info(matrix.format).bits / 8;
  return std::clamp(cache > 0 ? std::min(bytes, 2 * cache) : bytes, mib, 128 * mib);
}

double probed_speedup(const WeightMatrix& matrix, Packing packing, const CodeSparsity& sparsity,
                      int64_t activation_group_size, int64_t bytes, const Team& team) {
  const int64_t twentieths = packing == Packing::masked ? std::lround(20 * sparsity.density()) : 0;
  static std::mutex mutex;
  static std::map<std::tuple<WeightFormat, Packing, int64_t, int64_t, int64_t, int64_t, int64_t, int>, double>
      probed;
  const std::lock_guard lock(mutex);
  const std::tuple of(matrix.format, packing, matrix.cols, matrix.group_size, activation_group_size,
                      twentieths, bytes, team.size());
  if (const auto found = probed.find(of); found != probed.end()) return found->second;
  return probed[of] = probe_packing(matrix, packing, activation_group_size, bytes, team);
}

}  // namespace

PackingChoice choose_packing(const WeightSource& source, const Module& module, const WeightMatrix& matrix,
                             const Team& team) {
  PackingChoice choice{matrix.format};
  if (!sparse_packable(matrix, Packing::two_of_four) && !sparse_packable(matrix, Packing::masked))
    return choice;
  // Of dense weights a few rows tell.
  if (smallest_packing(matrix, sparsity_of(first_rows(matrix), nullptr)) == Packing::dense) return choice;
  const CodeSparsity sparsity = sparsity_of(matrix, &team);
  choice.fits = smallest_packing(matrix, sparsity);
  if (choice.fits == Packing::dense) return choice;
  if (choice.fits == Packing::masked && !kernels().reads_masks) {
    choice.reason = Reason::no_instruction;
  } else if (sparse_use() != SparseUse::automatic) {
    choice.reason = Reason::asked;
    if (sparse_use() == SparseUse::always) choice.taken = choice.fits;
  } else {
    choice.speedup = probed_speedup(matrix, choice.fits, sparsity, source.activation_group_size(module),
                                    probe_bytes(matrix, source.inventory()), team);
    if (choice.speedup > 1) choice.taken = choice.fits;
  }
  return choice;
}

void count_packing(std::vector<PackingCount>& counts, const PackingChoice& choice) {
  if (choice.fits == Packing::dense) return;
  const auto same = [&](const PackingCount& count) {
    return count.choice.format == choice.format && count.choice.fits == choice.fits &&
           count.choice.taken == choice.taken && count.choice.reason == choice.reason;
  };
  auto found = std::ranges::find_if(counts, same);
  if (found == counts.end()) found = counts.insert(counts.end(), {choice, 0, choice.speedup, choice.speedup});
  ++found->linears;
  found->least_speedup = std::min(found->least_speedup, choice.speedup);
  found->most_speedup = std::max(found->most_speedup, choice.speedup);
}

}  // namespace whittle
