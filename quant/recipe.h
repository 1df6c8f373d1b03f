#pragma once
// What to do to which module.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/quantization_config.h"
#include "engine/weight_source.h"
#include "quant/calibration.h"
#include "quant/pruning/pruner.h"

namespace whittle {

enum class MethodName : uint8_t {
  rtn,          // round to nearest: the weights alone
  gptq,         // error feedback and fitted scales, for inputs that were seen (gptq.h)
  awq,          // channels that matter made larger (scale_search.h), then rounded by blocks (grid_search.h)
  smoothquant,  // the same with channels whose activations vary made smoother
};
std::string_view name(MethodName method);
std::optional<MethodName> method_named(std::string_view name);
// All of them, in the order of MethodName.
std::span<const std::string_view> method_names();

// What is rotated before anything is quantized (rotation.h).
enum class RotationName : uint8_t {
  none,
  values,     // between v and o, head by head
  all,        // the residual stream, too
  automatic,  // whichever of these drifts least on held-out text
};
std::string_view name(RotationName rotation);
std::optional<RotationName> rotation_named(std::string_view name);
// All names, in the order of RotationName.
std::span<const std::string_view> rotation_choices();

// How a part of all weights is shared among linears (pruning/allocation.h).
enum class SparsityAllocation : uint8_t {
  uniform,  // each loses that part
  owl,      // layers with more outliers lose less
  kl,       // what costs most when it is pruned alone loses less
};
std::string_view name(SparsityAllocation allocation);
std::optional<SparsityAllocation> sparsity_allocation_named(std::string_view name);
// All of them, in the order of SparsityAllocation.
std::span<const std::string_view> sparsity_allocations();

// The formats of codes, as a recipe names them.
std::vector<std::string> code_format_names();

// What a module becomes. Codes of fewer than 8 bits need groups. A head in whole rows reads finer activations
// than the recipe's.
struct ModuleFormat {
  std::optional<WeightFormat> weights = WeightFormat::int8;  // unset: floats, as in the file
  int64_t group_size = 0;                                    // 0: a row
  Sparsity sparsity;

  bool operator==(const ModuleFormat&) const = default;
};

struct Recipe {
  MethodName method = MethodName::rtn;
  RotationName rotation = RotationName::none;
  std::optional<WeightFormat> weights = WeightFormat::int8;  // of the linears of each layer; unset: floats
  int64_t group_size = 0;                                    // inputs that share a scale; 0: a row
  Sparsity sparsity;                                         // of the same linears
  PruningMethod pruning = PruningMethod::alps;
  SparsityAllocation allocation = SparsityAllocation::uniform;  // of a sparsity that is no pattern
  bool sparse_storage =
      false;  // zeros of pruned modules are left out of the file where that makes it smaller
  bool symmetric = true;
  int64_t activation_group_size = 0;  // inputs that share an activation scale at run time; 0: a token
  std::vector<std::string> exclude;   // regular expressions; a module whose name one matches anywhere is kept
  std::optional<WeightFormat> lm_head;    // int8 (a row) or fewer bits (in groups); unset: kept
  std::optional<WeightFormat> embedding;  // int8 (a row); unset: kept
  // What these modules become whatever is said above; nothing: kept. By name.
  std::map<std::string, std::optional<ModuleFormat>> modules;
  CalibrationChoice calibration;  // of methods that look at inputs
  int64_t block_steps = 0;        // that tune each layer (block_tuning.h); 0: not tuned
  int64_t tuning_tokens = 0;      // of more such text, to tune on end to end (tuning.h); 0: not tuned

  bool operator==(const Recipe&) const = default;

  // Whether any module's weights become zero.
  bool prunes() const;
  // One line for reports and for the file's metadata.
  std::string text() const;
};

// How a linear of that format, which has one, is stored.
QuantizationScheme linear_scheme(const Recipe& recipe, const ModuleFormat& format);
// How head and embedding are; unset: as in the file.
std::optional<QuantizationScheme> head_scheme(const Recipe& recipe);
std::optional<QuantizationScheme> embedding_scheme(const Recipe& recipe);

// scheme.format: of codes; or the file's floats, where a matrix is only pruned.
struct PlannedModule : QuantizedModule {
  Sparsity sparsity;
  bool sparse_weight = false;  // whether its tensor "weight" is stored in the plan's sparse form
  bool quantized() const { return info(scheme.format).quantized; }
};

// The recipe applied to one model.
struct QuantizationPlan {
  std::vector<PlannedModule> modules;                  // that change, in the model's order
  SparseStorage sparse_storage = SparseStorage::none;  // one form for a file
  // Linears and embeddings that stay floats, and "lm_head" where a tied embedding stands for it: readers that
  // make a linear of every "Linear" must be told that it has no codes.
  std::vector<std::string> kept;
  // Modules written from another module's matrix: a tied head and embedding that are to be treated
  // differently become two. Target module to source module.
  std::map<std::string, std::string> copies;
  // A head in the file that nobody reads, because the config ties it to the embedding: not written.
  std::string unused;
  // Tensors that stand for what readers compute, such as GPT-2's causal masks: not written.
  std::set<std::string, std::less<>> buffers;

  // nullptr where it stays as it is.
  const PlannedModule* find(std::string_view module) const;
  // Of `modules`, those that become codes.
  std::vector<QuantizedModule> quantized() const;
  // Of `modules`, those whose "weight" is stored in a sparse form.
  SparseModules sparse() const;
  SparseStorage storage_of(const PlannedModule& module) const {
    return module.sparse_weight ? sparse_storage : SparseStorage::none;
  }
  // Whose matrix it is written from: its own, but for copies.
  const std::string& source_of(const std::string& module) const;
  // What other readers of the format will not take, a sentence each.
  std::vector<std::string> notes(const Inventory& inventory) const;
};
// Throws Error when the model is quantized already, when a choice does not fit it, and when a tensor's shape
// is not the one that config.json implies.
QuantizationPlan plan_quantization(const Recipe& recipe, const FolderWeights& source);

}  // namespace whittle
