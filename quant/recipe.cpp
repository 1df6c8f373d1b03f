#include "quant/recipe.h"

#include <algorithm>

#include "kernels/error.h"

namespace whittle {
namespace {

// Groups of the head's int4 codes when the layers' have none.
constexpr int64_t default_group_size = 128;
// Inputs of the head that share an activation scale: its errors go straight into the logits, it runs for one
// token of a prompt, and decode, bound by memory, has the time.
constexpr int64_t head_activation_group_size = 32;

QuantizationScheme linear_scheme(const Recipe& recipe, WeightFormat format, int64_t group_size) {
  QuantizationScheme scheme;
  scheme.format = format;
  scheme.strategy = group_size ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.group_size = group_size;
  scheme.symmetric = recipe.symmetric;
  scheme.quantized_activations = true;
  scheme.activation_group_size = group_size ? group_size : recipe.activation_group_size;
  return scheme;
}

std::string scale_text(int64_t group_size) { return group_size ? fmt::format("g{}", group_size) : "channel"; }

}  // namespace

std::string Recipe::text() const {
  const auto part = [](std::optional<WeightFormat> format) { return format ? info(*format).name : "keep"; };
  std::string text =
      fmt::format("{} {} {}, activations int8 {}, lm_head {}, embedding {}", info(weights).name,
                  scale_text(group_size), symmetric ? "symmetric" : "asymmetric",
                  group_size              ? scale_text(group_size)
                  : activation_group_size ? scale_text(activation_group_size)
                                          : "token",
                  part(lm_head), part(embedding));
  for (const std::string& pattern : exclude) text += fmt::format(", exclude {}", pattern);
  return text;
}

QuantizationPlan plan_quantization(const Recipe& recipe, const ModelFile& file, const ModelSpec& spec) {
  const std::filesystem::path config = file.folder() / "config.json";
  if (file.config().contains("quantization_config"))
    fail("{}: quantization_config: the model is quantized already; quantize the original weights",
         config.string());
  if (recipe.weights == WeightFormat::int4 && recipe.group_size == 0)
    fail("--group-size channel: int4 needs groups; expected 32, 64 or 128");
  std::vector<NamePattern> exclude;
  for (const std::string& pattern : recipe.exclude)
    exclude.emplace_back("re:.*(?:" + pattern + ")", "--exclude " + pattern);
  std::vector<bool> used(exclude.size());
  const auto excluded = [&](const std::string& module) {
    bool found = false;
    for (size_t i = 0; i < exclude.size(); ++i)
      if (exclude[i].matches(module)) used[i] = found = true;
    return found;
  };

  QuantizationPlan plan;
  const auto add = [&](const std::string& module, std::optional<QuantizationScheme> scheme) {
    if (!excluded(module) && scheme)
      plan.modules.push_back({module, *scheme});
    else
      plan.kept.push_back(module);
  };
  const EmbeddingModules shared = embedding_modules(file, spec);
  std::optional<QuantizationScheme> embedding, head;
  if (recipe.embedding) embedding = linear_scheme(recipe, *recipe.embedding, 0);
  if (recipe.lm_head) {
    const int64_t groups = recipe.group_size ? recipe.group_size : default_group_size;
    head = linear_scheme(recipe, *recipe.lm_head, *recipe.lm_head == WeightFormat::int4 ? groups : 0);
    if (!head->group_size) head->activation_group_size = head_activation_group_size;
  }
  if (shared.input != shared.output) {
    add(shared.input, embedding);
  } else if (recipe.embedding == recipe.lm_head) {
    add(shared.output, head);
  } else {  // one matrix with two treatments
    const std::string other = shared.output == "lm_head" ? "model.embed_tokens" : "lm_head";
    plan.copies[other] = shared.output;
    add("model.embed_tokens", embedding);
  }
  for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer)
    for (const LinearShape& linear : layer_linears(spec, layer))
      add(linear.name, linear_scheme(recipe, recipe.weights, recipe.group_size));
  if (shared.input != shared.output || !plan.copies.empty()) add("lm_head", head);
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i]) fail("--exclude {}: no module of {} matches", recipe.exclude[i], file.folder().string());
  if (plan.modules.empty())
    fail("{}: nothing is left to quantize: --exclude keeps every module", config.string());
  return plan;
}

}  // namespace whittle
