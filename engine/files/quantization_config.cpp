#include "engine/files/quantization_config.h"

#include <algorithm>
#include <tuple>

#include "engine/architectures.h"
#include "engine/files/awq.h"
#include "engine/files/gptq.h"
#include "engine/files/json_file.h"
#include "engine/files/quantization_fields.h"
#include "kernels/error.h"

namespace whittle {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

// Methods whose quantized modules all have the same scheme.
struct OneSchemeMethod {
  std::string_view name;
  QuantizationTarget (*read)(const JsonFields& fields);
};
constexpr OneSchemeMethod one_scheme_methods[] = {{"gptq", read_gptq_config}, {"awq", read_awq_config}};

struct StrategyName {
  ScaleStrategy strategy;
  std::string_view name;
};
constexpr StrategyName strategies[] = {
    {ScaleStrategy::tensor, "tensor"}, {ScaleStrategy::channel, "channel"}, {ScaleStrategy::group, "group"}};

// How a code is stored: the name of the storage, the bits it may hold, and our names for it.
struct Storage {
  std::string_view name;
  int64_t bits;
  WeightFormat format;
  CodeLayout layout;
};
// 4-bit codes may also lie one to a byte; then nothing tells them from int8 codes that happen to be small.
// What we write is the first row of each format, or that of layout `bitmask`.
constexpr std::string_view sparse_codes_name = "whittle-bitmask-v1";
constexpr Storage storages[] = {{"int-quantized", 8, WeightFormat::int8, CodeLayout::native},
                                {"pack-quantized", 6, WeightFormat::int6, CodeLayout::native},
                                {"pack-quantized", 5, WeightFormat::int5, CodeLayout::native},
                                {"pack-quantized", 4, WeightFormat::int4, CodeLayout::native},
                                {"int-quantized", 4, WeightFormat::int8, CodeLayout::native},
                                {"pack-quantized", 8, WeightFormat::int8, CodeLayout::words},
                                {sparse_codes_name, 8, WeightFormat::int8, CodeLayout::bitmask},
                                {sparse_codes_name, 6, WeightFormat::int6, CodeLayout::bitmask},
                                {sparse_codes_name, 5, WeightFormat::int5, CodeLayout::bitmask},
                                {sparse_codes_name, 4, WeightFormat::int4, CodeLayout::bitmask}};

struct SparseForm {
  SparseStorage storage;
  std::string_view name, structure;
};
constexpr SparseForm sparse_forms[] = {{SparseStorage::none, "dense", ""},
                                       {SparseStorage::bitmask, "sparse-bitmask", "unstructured"},
                                       {SparseStorage::bitmask_24, "sparse-24-bitmask", "2:4"}};

// The fields that describe weights and activations alike.
void check_args(const JsonFields& args, bool dynamic) {
  only_these(args, {"num_bits", "type", "symmetric", "group_size", "strategy", "dynamic", "actorder",
                    "scale_dtype", "zp_dtype", "observer", "observer_kwargs"});
  if (const auto type = args.string("type", "int"); type != "int") {
    args.reject("type", "expected \"int\", found " + quote(type));
  }
  if (args.boolean("dynamic", false) != dynamic) {
    args.reject("dynamic",
                dynamic ? "expected true: static activation scales are not supported" : "expected false");
  }
}

int64_t read_group_size(const JsonFields& args, bool grouped) {
  if (grouped) return args.integer("group_size", 1, max_group_size);
  args.integer("group_size", -1, 0, 0);  // written as null, 0 or −1 where it has no meaning
  return 0;
}

void read_weights(const JsonFields& args, const std::string& format, QuantizationScheme& scheme) {
  check_args(args, false);
  const int64_t bits = args.integer("num_bits", 1, 16, 8);
  const auto storage = std::ranges::find_if(
      storages, [&](const Storage& row) { return row.name == format && row.bits == bits; });
  if (storage == std::end(storages)) {
    args.reject("num_bits", fmt::format("{} bits with format {} are not supported", bits, quote(format)));
  }
  scheme.format = storage->format;
  scheme.layout = storage->layout;
  std::string strategy = args.string("strategy", "");
  if (strategy.empty()) {  // left to be told from the group size
    const int64_t size = args.integer("group_size", -1, max_group_size, 0);
    strategy = size > 0 ? "group" : size < 0 ? "channel" : "tensor";
  }
  const auto known = std::ranges::find(strategies, strategy, &StrategyName::name);
  if (known == std::end(strategies)) args.reject("strategy", quote(strategy) + " is not supported");
  scheme.strategy = known->strategy;
  scheme.group_size = read_group_size(args, scheme.strategy == ScaleStrategy::group);
  scheme.symmetric = args.boolean("symmetric", true);
}

void read_activations(const JsonFields& args, QuantizationScheme& scheme) {
  check_args(args, true);
  args.integer("num_bits", 8, 8, 8);
  if (!args.boolean("symmetric", true)) args.reject("symmetric", "asymmetric activations are not supported");
  const std::string strategy = args.string("strategy");
  if (strategy != "token" && strategy != "group")
    args.reject("strategy", quote(strategy) + " is not supported");
  scheme.quantized_activations = true;
  scheme.activation_group_size = read_group_size(args, strategy == "group");
}

const json& read_strings(const JsonFields& fields, const char* field) {
  const json& values = fields.at(field);
  if (!values.is_array() ||
      !std::ranges::all_of(values, [](const json& value) { return value.is_string(); })) {
    fields.reject(field, "expected an array of strings");
  }
  return values;
}

bool any_matches(const std::vector<NamePattern>& patterns, std::string_view module) {
  return std::ranges::any_of(patterns, [&](const NamePattern& pattern) { return pattern.matches(module); });
}

ordered_json args_json(int bits, bool symmetric, std::string_view strategy, int64_t group_size,
                       bool dynamic) {
  return {{"num_bits", bits},
          {"type", "int"},
          {"symmetric", symmetric},
          {"strategy", strategy},
          {"group_size", group_size ? ordered_json(group_size) : ordered_json()},
          {"block_structure", nullptr},
          {"dynamic", dynamic},
          {"actorder", nullptr},
          {"observer", dynamic ? ordered_json() : ordered_json("minmax")},
          {"observer_kwargs", ordered_json::object()}};
}

const Storage& storage_of(const QuantizationScheme& scheme) {
  return *std::ranges::find_if(storages, [&](const Storage& row) {
    return row.format == scheme.format && row.layout == scheme.layout;
  });
}

ordered_json group_json(const QuantizationScheme& scheme, const std::vector<std::string>& targets) {
  const Storage& storage = storage_of(scheme);
  const auto strategy = std::ranges::find(strategies, scheme.strategy, &StrategyName::strategy);
  ordered_json activations;
  if (scheme.quantized_activations) {
    const int64_t size = scheme.activation_group_size;
    activations = args_json(8, true, size ? "group" : "token", size, true);
  }
  return {{"targets", targets},
          {"weights", args_json(static_cast<int>(storage.bits), scheme.symmetric, strategy->name,
                                scheme.group_size, false)},
          {"input_activations", activations},
          {"output_activations", nullptr},
          {"format", storage.name}};
}

ordered_json sparsity_json(const SparseModules& sparse) {
  const SparseForm& form = *std::ranges::find(sparse_forms, sparse.storage, &SparseForm::storage);
  return {{"format", form.name},
          {"targets", sparse.names},
          {"ignore", ordered_json::array()},
          {"sparsity_structure", form.structure},
          {"registry_requires_subclass", false}};
}

}  // namespace

QuantizationConfig::QuantizationConfig(const json& quantization_config, const std::string& what) {
  const JsonFields fields(quantization_config, what);
  const std::string method = fields.string("quant_method");
  if (method == "compressed-tensors") {
    read_compressed_tensors(fields);
    return;
  }
  const auto found = std::ranges::find(one_scheme_methods, method, &OneSchemeMethod::name);
  if (found == std::end(one_scheme_methods))
    fields.reject("quant_method",
                  quote(method) + " is not supported, expected \"compressed-tensors\", \"gptq\" or \"awq\"");
  targets_.push_back(found->read(fields));
}

void QuantizationConfig::read_compressed_tensors(const JsonFields& fields) {
  only_these(fields, {"quant_method", "config_groups", "format", "ignore", "quantization_status",
                      "kv_cache_scheme", "global_compression_ratio", "sparsity_config", "transform_config",
                      "run_compressed", "version"});
  // "frozen" says that the scales were final when the model was saved, as those of any file are.
  if (const auto status = fields.string("quantization_status", "compressed");
      status != "compressed" && status != "frozen") {
    fields.reject("quantization_status", "expected \"compressed\" or \"frozen\", found " + quote(status));
  }
  must_be_empty(fields, "kv_cache_scheme");
  must_be_empty(fields, "transform_config");
  if (fields.has("sparsity_config") && !fields.at("sparsity_config").empty())
    read_sparsity(fields.object("sparsity_config"));
  // Floats that are only sparse need not say more.
  if (sparse_storage_ == SparseStorage::none || fields.has("config_groups")) read_groups(fields);
  if (fields.has("ignore")) {
    for (const json& name : read_strings(fields, "ignore")) {
      ignore_.emplace_back(name.get<std::string>(), fields.what() + ": field \"ignore\"");
    }
  }
}

void QuantizationConfig::read_sparsity(const JsonFields& fields) {
  const std::string format = fields.string("format");
  const auto form = std::ranges::find(sparse_forms, format, &SparseForm::name);
  if (form == std::end(sparse_forms))
    fields.reject("format",
                  "expected \"dense\", \"sparse-bitmask\" or \"sparse-24-bitmask\", found " + quote(format));
  sparse_storage_ = form->storage;
  if (sparse_storage_ == SparseStorage::none) return;
  only_these(fields, {"format", "targets", "ignore", "global_sparsity", "sparsity_structure",
                      "registry_requires_subclass"});
  const auto read_names = [&](const char* field, std::vector<NamePattern>& patterns) {
    if (!fields.has(field)) return;
    for (const json& name : read_strings(fields, field))
      patterns.emplace_back(name.get<std::string>(), fmt::format("{}: field \"{}\"", fields.what(), field));
  };
  read_names("targets", sparse_targets_);
  read_names("ignore", sparse_ignore_);
  if (!fields.has("targets")) sparse_targets_.emplace_back("re:", fields.what());  // the tensors say
}

void QuantizationConfig::read_groups(const JsonFields& fields) {
  const std::string overall = fields.string("format");

  const JsonFields groups = fields.object("config_groups");
  for (const auto& [name, unused] : groups.object().items()) {
    const JsonFields group = groups.object(name.c_str());
    only_these(group, {"targets", "weights", "input_activations", "output_activations", "format"});
    must_be_empty(group, "output_activations");
    QuantizationScheme scheme;
    read_weights(group.object("weights"), group.string("format", overall), scheme);
    if (group.has("input_activations")) read_activations(group.object("input_activations"), scheme);
    for (const json& target : read_strings(group, "targets")) {
      NamePattern pattern(target.get<std::string>(), group.what() + ": field \"targets\"");
      const bool names_class = pattern.kind() == NamePattern::Kind::name && pattern.text() != "lm_head" &&
                               pattern.text().find('.') == std::string::npos &&
                               module_class(pattern.text()) != "Embedding";  // "wte" is a module's name
      if (names_class) group.reject("targets", "unknown class " + quote(pattern.text()));
      targets_.push_back({std::move(pattern), scheme});
    }
  }
  std::ranges::sort(targets_, {}, [](const QuantizationTarget& target) {
    return std::tuple(target.pattern.kind(), target.pattern.text());
  });
  for (size_t i = 1; i < targets_.size(); ++i) {
    const auto& [pattern, scheme] = targets_[i];
    if (pattern.text() == targets_[i - 1].pattern.text() && scheme != targets_[i - 1].scheme) {
      groups.reject("targets", quote(pattern.text()) + " stands in two groups that differ");
    }
  }
}

const QuantizationScheme* QuantizationConfig::find(std::string_view module) const {
  const auto target = std::ranges::find_if(
      targets_, [&](const QuantizationTarget& candidate) { return candidate.pattern.matches(module); });
  if (target == targets_.end()) return nullptr;
  return any_matches(ignore_, module) ? nullptr : &target->scheme;
}

SparseStorage QuantizationConfig::sparse_storage(std::string_view module) const {
  const bool sparse = any_matches(sparse_targets_, module) && !any_matches(sparse_ignore_, module);
  return sparse ? sparse_storage_ : SparseStorage::none;
}

bool QuantizationConfig::asks_for_float_inputs() const {
  const std::vector<std::string> embeddings = embedding_names();
  return std::ranges::any_of(targets_, [&](const QuantizationTarget& target) {
    return !target.scheme.quantized_activations &&
           std::ranges::none_of(embeddings, [&](const auto& name) { return target.pattern.matches(name); });
  });
}

ordered_json quantization_config_json(std::span<const QuantizedModule> modules,
                                      std::span<const std::string> ignore, const SparseModules& sparse) {
  struct Group {
    QuantizationScheme scheme;
    std::vector<std::string> targets;
    bool linear = false;
  };
  std::vector<Group> groups;
  for (const auto& [name, scheme] : modules) {
    auto group = std::ranges::find(groups, scheme, &Group::scheme);
    if (group == groups.end()) group = groups.insert(groups.end(), Group{.scheme = scheme, .targets = {}});
    group->targets.push_back(name);
    group->linear |= module_class(name) == "Linear";
  }
  // One scheme for all linears is said in a word. Names and the class are not mixed: other readers do not
  // agree on which of the two goes first.
  if (std::ranges::count(groups, true, &Group::linear) == 1) {
    auto& targets = std::ranges::find(groups, true, &Group::linear)->targets;
    std::erase_if(targets, [](const std::string& name) { return module_class(name) == "Linear"; });
    targets.insert(targets.begin(), "Linear");
  }
  ordered_json config_groups = ordered_json::object();
  std::vector<std::string_view> formats;
  for (const Group& group : groups) {
    config_groups[fmt::format("group_{}", config_groups.size())] = group_json(group.scheme, group.targets);
    formats.push_back(storage_of(group.scheme).name);
  }
  const bool mixed = std::ranges::adjacent_find(formats, std::not_equal_to()) != formats.end();
  ordered_json config = {{"quant_method", "compressed-tensors"},
                         {"format", mixed             ? "mixed-precision"
                                    : formats.empty() ? "dense"
                                                      : formats.front()},
                         {"quantization_status", "compressed"},
                         {"config_groups", config_groups},
                         {"ignore", std::vector<std::string>(ignore.begin(), ignore.end())},
                         {"kv_cache_scheme", nullptr},
                         {"global_compression_ratio", nullptr}};
  if (sparse.names.empty()) return config;
  const ordered_json sparsity = sparsity_json(sparse);
  // Readers take any other field for codes that are to be expected.
  if (modules.empty()) return {{"quant_method", "compressed-tensors"}, {"sparsity_config", sparsity}};
  config["sparsity_config"] = sparsity;
  return config;
}

}  // namespace whittle
