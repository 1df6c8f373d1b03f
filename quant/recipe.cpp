#include "quant/recipe.h"

#include <algorithm>

#include "engine/architectures.h"
#include "engine/files/float_tensor.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

constexpr std::string_view methods[] = {"rtn", "gptq", "awq", "smoothquant"};     // by MethodName
constexpr std::string_view rotation_names[] = {"none", "values", "all", "auto"};  // by RotationName
constexpr std::string_view allocations[] = {"uniform", "owl", "kl"};              // by SparsityAllocation

template <class Name>
std::optional<Name> find_name(std::span<const std::string_view> names, std::string_view name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Name>(found - names.begin());
}

// Groups of the head's codes of fewer than 8 bits when the layers' have none.
constexpr int64_t default_group_size = 128;
// Inputs of the head that share an activation scale: its errors go straight into the logits, it runs for one
// token of a prompt, and decode, bound by memory, has the time.
constexpr int64_t head_activation_group_size = 32;

// What would not load once it is written must not be written: every tensor as a run of the model reads it.
void check_shapes(const WeightSource& source) {
  for (const Module& module : source.inventory().modules()) {
    if (module.matrix())
      source.matrix(module);
    else
      source.weight_vector(module);
    if (module.bias) source.bias(module);
  }
}

// Whether a bit of mask for each weight takes less than the zeros do.
bool pays(const PlannedModule& module) {
  const Sparsity& sparsity = module.sparsity;
  const double zeros = sparsity.of ? 1 - static_cast<double>(sparsity.keep) / static_cast<double>(sparsity.of)
                                   : sparsity.zeros;
  return zeros * info(module.scheme.format).bits > 1;
}

// compressed-tensors has one form for a file, and for floats and bytes alone: what it cannot say is ours.
void choose_storage(QuantizationPlan& plan, const Inventory& inventory) {
  bool two_of_four = true;
  for (PlannedModule& module : plan.modules) {
    if (!pays(module)) continue;
    if (module.quantized() && (bit_packed(module.scheme.format) || !module.scheme.symmetric)) {
      module.scheme.layout = CodeLayout::bitmask;
      continue;
    }
    module.sparse_weight = true;
    const Module& source = *inventory.find(plan.source_of(module.name));
    const bool turned = source.transposed && !module.quantized();  // columns of the file are outputs
    two_of_four &= module.sparsity.keep == 2 && module.sparsity.of == 4 && !turned && source.cols % 4 == 0;
  }
  if (std::ranges::none_of(plan.modules, pays))
    fail_option("sparse_storage", "of no module the zeros take more than a mask that says where they are");
  plan.sparse_storage = two_of_four ? SparseStorage::bitmask_24 : SparseStorage::bitmask;
}

std::string scale_text(int64_t group_size) { return group_size ? fmt::format("g{}", group_size) : "channel"; }

}  // namespace

std::vector<std::string> code_format_names() {
  std::vector<std::string> names;
  for (const WeightFormatInfo& format : weight_formats())
    if (format.quantized) names.emplace_back(format.name);
  return names;
}

std::string_view name(MethodName method) { return methods[static_cast<size_t>(method)]; }

std::span<const std::string_view> method_names() { return methods; }

std::optional<MethodName> method_named(std::string_view name) { return find_name<MethodName>(methods, name); }

std::span<const std::string_view> rotation_choices() { return rotation_names; }

std::string_view name(RotationName rotation) { return rotation_names[static_cast<size_t>(rotation)]; }

std::optional<RotationName> rotation_named(std::string_view name) {
  return find_name<RotationName>(rotation_names, name);
}

std::string_view name(SparsityAllocation allocation) { return allocations[static_cast<size_t>(allocation)]; }

std::optional<SparsityAllocation> sparsity_allocation_named(std::string_view name) {
  return find_name<SparsityAllocation>(allocations, name);
}

std::span<const std::string_view> sparsity_allocations() { return allocations; }

bool Recipe::prunes() const {
  return sparsity || std::ranges::any_of(modules, [](const auto& module) {
           return module.second && module.second->sparsity;
         });
}

std::string Recipe::text() const {
  const auto part = [](std::optional<WeightFormat> format) { return format ? info(*format).name : "keep"; };
  std::string text = "floats";
  if (weights)
    text = fmt::format("{} {} {}, activations int8 {}", info(*weights).name, scale_text(group_size),
                       symmetric ? "symmetric" : "asymmetric",
                       group_size              ? scale_text(group_size)
                       : activation_group_size ? scale_text(activation_group_size)
                                               : "token");
  if (sparsity) text += fmt::format(", pruned {} by {}", sparsity.text(), name(pruning));
  if (sparse_storage) text += ", stored without zeros";
  if (allocation != SparsityAllocation::uniform) text += fmt::format(", shared by {}", name(allocation));
  text += fmt::format(", lm_head {}, embedding {}", part(lm_head), part(embedding));
  if (method != MethodName::rtn) text += fmt::format(", {}", name(method));
  if (block_steps) text += fmt::format(", layers tuned in {} steps", block_steps);
  if (tuning_tokens) text += fmt::format(", tuned on {} tokens", tuning_tokens);
  if (rotation != RotationName::none) text += fmt::format(", {} rotated", name(rotation));
  for (const std::string& pattern : exclude) text += fmt::format(", exclude {}", pattern);
  if (!modules.empty()) text += fmt::format(", {} modules otherwise", modules.size());
  return text;
}

QuantizationScheme linear_scheme(const Recipe& recipe, const ModuleFormat& format) {
  QuantizationScheme scheme;
  scheme.format = format.weights.value();
  scheme.strategy = format.group_size ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.group_size = format.group_size;
  scheme.symmetric = recipe.symmetric;
  scheme.quantized_activations = true;
  scheme.activation_group_size = format.group_size ? format.group_size : recipe.activation_group_size;
  return scheme;
}

std::optional<QuantizationScheme> head_scheme(const Recipe& recipe) {
  if (!recipe.lm_head) return std::nullopt;
  const int64_t groups = recipe.group_size ? recipe.group_size : default_group_size;
  QuantizationScheme head =
      linear_scheme(recipe, {*recipe.lm_head, bit_packed(*recipe.lm_head) ? groups : 0});
  if (!head.group_size) head.activation_group_size = head_activation_group_size;
  return head;
}

std::optional<QuantizationScheme> embedding_scheme(const Recipe& recipe) {
  if (!recipe.embedding) return std::nullopt;
  return linear_scheme(recipe, {*recipe.embedding, 0});
}

QuantizationPlan plan_quantization(const Recipe& recipe, const FolderWeights& source) {
  const ModelFile& file = source.file();
  const Inventory& inventory = source.inventory();
  const std::filesystem::path config = file.folder() / "config.json";
  if (file.config().contains("quantization_config"))
    fail(
        "{}: quantization_config: the model is quantized already, or stored without zeros; quantize the "
        "original weights",
        config.string());
  for (const auto& [module, format] : recipe.modules)
    if (format && format->weights && bit_packed(*format->weights) && format->group_size == 0)
      fail("the recipe's {}: {} needs groups; expected 32, 64 or 128, found a whole row", quote(module),
           info(*format->weights).name);
  if (recipe.method == MethodName::rtn && recipe.pruning != PruningMethod::magnitude && recipe.prunes())
    fail("the recipe prunes by {}, which looks at inputs; its method, {}, looks at the weights alone",
         name(recipe.pruning), name(recipe.method));
  if (recipe.sparse_storage && !recipe.prunes())
    fail_option("sparse_storage", "nothing is pruned: there are no zeros to leave out");
  for (const auto& [module, format] : recipe.modules) {
    const Module* found = inventory.find(module);
    const bool linear = found && found->layer >= 0 && found->kind() == ModuleKind::linear;
    if (format && format->sparsity && !linear)
      fail("the recipe's {}: only linears of the layers are pruned", quote(module));
  }
  if (recipe.allocation != SparsityAllocation::uniform) {
    if (recipe.sparsity.of || !recipe.sparsity)
      fail_option("allocate", "a part of the weights can be shared among linears, {} cannot",
                  recipe.sparsity ? "a pattern" : "nothing");
    if (recipe.method == MethodName::rtn)
      fail_option("allocate", "{} looks at what linears read; the method, {}, at the weights alone",
                  name(recipe.allocation), name(recipe.method));
  }
  if (recipe.weights && bit_packed(*recipe.weights) && recipe.group_size == 0)
    fail_option("group_size", "{} needs groups; expected 32, 64 or 128, found a whole row",
                info(*recipe.weights).name);
  check_shapes(source);
  std::vector<NamePattern> exclude;
  for (const std::string& pattern : recipe.exclude)
    exclude.emplace_back("re:.*(?:" + pattern + ")", "exclude");
  std::vector<bool> used(exclude.size());
  const auto excluded = [&](const std::string& module) {
    bool found = false;
    for (size_t i = 0; i < exclude.size(); ++i)
      if (exclude[i].matches(module)) used[i] = found = true;
    return found;
  };

  QuantizationPlan plan;
  plan.buffers = buffer_names(source.spec());
  std::set<std::string> named;
  const auto add = [&](const std::string& module, std::optional<QuantizationScheme> scheme,
                       Sparsity sparsity = {}) {
    if (const auto own = recipe.modules.find(module); own != recipe.modules.end()) {
      named.insert(module);
      scheme.reset();
      sparsity = own->second ? own->second->sparsity : Sparsity();
      if (own->second && own->second->weights) scheme = linear_scheme(recipe, *own->second);
      if (scheme && module == inventory.head_name() && !scheme->group_size)
        scheme->activation_group_size = head_activation_group_size;
    }
    const bool changes = !excluded(module) && (scheme || sparsity);
    if (!changes || !scheme) plan.kept.push_back(module);
    if (!changes) return;
    if (!scheme) {
      scheme.emplace();
      scheme->format = *float_format(file.get(module + ".weight").dtype);
    }
    plan.modules.push_back({{module, *scheme}, sparsity});
  };
  const std::optional<QuantizationScheme> embedding = embedding_scheme(recipe), head = head_scheme(recipe);
  const auto treatment = [&](const std::string& module, std::optional<WeightFormat> format) {
    return format && !excluded(module) ? format : std::nullopt;
  };
  // One matrix, two treatments.
  const bool split = inventory.tied() && treatment(inventory.embedding_name(), recipe.embedding) !=
                                             treatment(inventory.head_name(), recipe.lm_head);
  if (inventory.tied()) {
    const std::string& stored = inventory.embedding().name;
    const std::string& other =
        stored == inventory.head_name() ? inventory.embedding_name() : inventory.head_name();
    if (split)
      plan.copies[other] = stored;
    else if (other == inventory.head_name())
      plan.kept.push_back(other);
    if (file.has_weight(other)) plan.unused = other;
  }
  for (const Module& module : inventory.modules()) {
    if (!module.matrix()) continue;
    if (module.role == Role::embedding)
      add(split ? inventory.embedding_name() : module.name, inventory.tied() && !split ? head : embedding);
    else if (module.role == Role::head)
      add(module.name, head);
    else if (module.kind() == ModuleKind::linear)
      add(module.name,
          recipe.weights ? std::optional(linear_scheme(recipe, {recipe.weights, recipe.group_size}))
                         : std::nullopt,
          recipe.sparsity);
    else
      add(module.name, std::nullopt);
  }
  if (split) add(inventory.head_name(), head);
  for (const auto& [module, format] : recipe.modules)
    if (!named.contains(module))
      fail("the recipe names {}, which {} does not have, or not as a matrix of its own", quote(module),
           file.folder().string());
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i])
      fail_option("exclude", "no module of {} matches {}", file.folder().string(), quote(recipe.exclude[i]));
  if (recipe.sparse_storage) choose_storage(plan, inventory);
  if ((recipe.method == MethodName::awq || recipe.method == MethodName::smoothquant) &&
      plan.quantized().empty())
    fail("{} scales channels for codes: the recipe makes none", name(recipe.method));
  if (plan.modules.empty())
    fail_option("exclude", "keeps every module of {}: nothing is left to change", file.folder().string());
  return plan;
}

std::vector<QuantizedModule> QuantizationPlan::quantized() const {
  std::vector<QuantizedModule> found;
  std::ranges::copy_if(modules, std::back_inserter(found), &PlannedModule::quantized);
  return found;
}

SparseModules QuantizationPlan::sparse() const {
  SparseModules sparse{.storage = sparse_storage, .names = {}};
  for (const PlannedModule& module : modules)
    if (module.sparse_weight) sparse.names.push_back(module.name);
  return sparse;
}

const PlannedModule* QuantizationPlan::find(std::string_view module) const {
  const auto found = std::ranges::find(modules, module, &PlannedModule::name);
  return found != modules.end() ? &*found : nullptr;
}

const std::string& QuantizationPlan::source_of(const std::string& module) const {
  const auto copy = copies.find(module);
  return copy == copies.end() ? module : copy->second;
}

std::vector<std::string> QuantizationPlan::notes(const Inventory& inventory) const {
  std::vector<std::string> notes;
  const auto inputs = [&](const std::string& name) {
    const auto copy = copies.find(name);
    return inventory.find(copy == copies.end() ? name : copy->second)->cols;
  };
  std::string first;
  int64_t uneven = 0, turned = 0;
  for (const auto& [name, scheme] : quantized()) {
    const Module* module = inventory.find(name);
    turned += module && module->transposed;
    if (module_class(name) == "Embedding")
      notes.push_back(fmt::format("{} is quantized: other readers of compressed-tensors take floats", name));
    else if (scheme.group_size && inputs(name) % scheme.group_size != 0 && uneven++ == 0)
      first = fmt::format("{} has {} inputs, in groups of {}", name, inputs(name), scheme.group_size);
  }
  if (uneven)
    notes.push_back(
        fmt::format("{} modules have a last group that is shorter ({}): other readers of "
                    "compressed-tensors refuse them",
                    uneven, first));
  const auto ours = std::ranges::count(modules, CodeLayout::bitmask,
                                       [](const PlannedModule& module) { return module.scheme.layout; });
  const auto theirs = std::ranges::count(modules, true, &PlannedModule::sparse_weight);
  if (ours)
    notes.push_back(fmt::format(
        "codes of {} modules are stored without zeros in a layout of Whittle's: no other program reads it",
        ours));
  if (theirs)
    notes.push_back(fmt::format(
        "{} modules are stored without zeros: of other programs, compressed-tensors up to 0.14 reads that",
        theirs));
  if (turned)
    notes.push_back(fmt::format(
        "codes of {} modules lie as [outputs, inputs], the original's Conv1D as [inputs, outputs]: "
        "no other reader of compressed-tensors takes them",
        turned));
  return notes;
}

}  // namespace whittle
