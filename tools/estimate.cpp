#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <optional>

#include "bench/memory.h"
#include "bench/reports/estimate_report.h"
#include "bench/reports/json_report.h"
#include "engine/files/file_hash.h"
#include "engine/files/json_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "quant/model_shapes.h"
#include "quant/recipe.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"

namespace whittle {
namespace {

struct EstimateFlags {
  std::string model, weights, group_size, lm_head = "keep", embedding = "keep", json;
  EstimateOptions options;
  int threads = 0;
  bool memory_only = false;
};

// A model that is known by its name, or a config.json.
struct Described {
  ModelSpec spec;
  WeightFormat floats = WeightFormat::f16;
  int64_t tokenizer_bytes = 0;
  std::string config_hash;  // empty where there is no file
};

// As config.json names the type of the original weights; F16 where it does not.
WeightFormat floats_of(const JsonFields& config) {
  for (const char* field : {"dtype", "torch_dtype"}) {
    if (!config.has(field)) continue;
    const std::string type = config.string(field);
    if (type == "float32") return WeightFormat::f32;
    if (type == "bfloat16") return WeightFormat::bf16;
    if (type != "float16")
      config.reject(field, "expected float32, float16 or bfloat16, found " + quote(type));
    break;
  }
  return WeightFormat::f16;
}

Described describe(const std::string& model) {
  namespace fs = std::filesystem;
  if (const ModelShape* shape = find_shape(model))
    return {read_config(shape_config(*shape, DType::F16), nlohmann::json::object(), model), WeightFormat::f16,
            0};
  std::error_code ignored;  // what cannot be looked at is not there
  const bool folder = fs::is_directory(model, ignored);
  const fs::path path = folder ? fs::path(model) / "config.json" : fs::path(model);
  if (!fs::exists(path, ignored)) {
    std::vector<std::string> names;
    for (const ModelShape& row : model_shapes()) names.emplace_back(row.name);
    const std::string near = nearest(model, names);
    fail("{}: neither a shape that is known{}, nor a folder with a config.json, nor such a file",
         quote(model), near.empty() ? "" : fmt::format(" (did you mean {}?)", near));
  }
  constexpr int64_t most_bytes = 16 << 20;
  const nlohmann::json json = read_json_file(path, most_bytes);
  const JsonFields config(json, path.string());
  const nlohmann::json none = nlohmann::json::object();
  Described out{read_config(config, JsonFields(none, "no generation_config.json")), floats_of(config), 0,
                hash_of_file(path)};
  if (config.has("quantization_config"))
    fmt::print(
        stderr,
        "whittle: {} is quantized already: what follows is of its shape in these formats; inspect says "
        "what it takes as it is\n",
        printable(path.string()));
  if (folder) {
    const int64_t before = resident_bytes();
    const std::optional<Tokenizer> tokenizer = Tokenizer::open_if_any(model);
    out.tokenizer_bytes = std::max<int64_t>(0, resident_bytes() - before);
  }
  return out;
}

StorageChoice as_recipe(const Recipe& recipe, WeightFormat floats) {
  StorageChoice choice;
  choice.floats = floats;
  choice.name = info(recipe.weights ? *recipe.weights : floats).name;
  if (recipe.weights) {
    choice.linears = linear_scheme(recipe, {recipe.weights, recipe.group_size});
    if (recipe.group_size) choice.name += fmt::format(" g{}", recipe.group_size);
  }
  choice.embedding = embedding_scheme(recipe);
  choice.head = head_scheme(recipe);
  return choice;
}

std::vector<StorageChoice> choices_of(const EstimateFlags& flags, const CLI::App& command,
                                      WeightFormat floats) {
  Recipe recipe;
  const auto kept = [](const std::string& format) {
    return format == "keep" ? std::nullopt : weight_format_named(format);
  };
  recipe.lm_head = kept(flags.lm_head);
  recipe.embedding = kept(flags.embedding);
  if (flags.weights.empty()) {
    refuse_void(command, {"--group-size"},
                "without --weights these formats are compared: floats, int8, int4 g128 and g32");
    Recipe original;
    original.weights.reset();
    std::vector<StorageChoice> choices = {as_recipe(original, floats)};
    recipe.weights = WeightFormat::int8;
    choices.push_back(as_recipe(recipe, floats));
    recipe.weights = WeightFormat::int4;
    for (const int64_t group_size : {128, 32}) {
      recipe.group_size = group_size;
      choices.push_back(as_recipe(recipe, floats));
    }
    return choices;
  }
  const WeightFormat format = *weight_format_named(flags.weights);
  if (!info(format).quantized) {
    refuse_void(command, {"--group-size"}, "floats have no scales");
    recipe.weights.reset();
    return {as_recipe(recipe, format)};
  }
  recipe.weights = format;
  const std::string usual = bit_packed(format) ? "128" : "channel";
  const std::string& group_size = flags.group_size.empty() ? usual : flags.group_size;
  if (group_size == "channel" && bit_packed(format))
    throw CLI::ValidationError("--group-size",
                               flags.weights + " needs groups; expected 32, 64 or 128, found channel");
  recipe.group_size = group_size == "channel" ? 0 : std::stoll(group_size);
  return {as_recipe(recipe, floats)};
}

void run(EstimateFlags& flags, const CLI::App& command) {
  if (command.count("--context") && command.count("--prompt-tokens") &&
      flags.options.workload.prompt_tokens > flags.options.workload.context)
    throw CLI::ValidationError("--prompt-tokens", "more than --context");
  if (!flags.json.empty()) check_report_path(flags.json);
  const int64_t process_bytes = resident_bytes();
  const Described model = describe(flags.model);
  EstimateOptions options = flags.options;
  options.speed = !flags.memory_only;
  options.process_bytes = process_bytes + model.tokenizer_bytes;
  PlannedWorkload& work = options.workload;
  constexpr int64_t usual_context = 4096;
  const int64_t longest = model.spec.max_position_embeddings;
  if (work.context == 0)
    work.context = std::max(std::min(usual_context, longest), std::min(work.prompt_tokens + 1, longest));
  if (command.count("--prompt-tokens") == 0) work.prompt_tokens = std::min(work.prompt_tokens, work.context);
  if (work.context > longest)
    fail_option("context", "{} positions; expected at most {}, the model's max_position_embeddings",
                work.context, longest);
  if (work.prompt_tokens > work.context)
    fail_option("prompt_tokens", "expected at most the context of {}, found {}", work.context,
                work.prompt_tokens);

  const std::vector<StorageChoice> choices = choices_of(flags, command, model.floats);
  const Machine machine = read_machine();
  const Team team(flags.threads);
  ProgressLine line("estimate");
  const EstimateReport report =
      estimate(flags.model, model.spec, choices, options, machine, team,
               [&](int64_t done, int64_t total, const std::string& what) { line.update(done, total, what); });
  line.finish();
  if (flags.json != "-") std::cout << estimate_text(report);
  if (flags.json.empty()) return;
  const Fingerprint fingerprint{.threads = team.size(),
                                .models = {{"model", report.model, "", model.config_hash}}};
  write_json(flags.json, estimate_json(report, fingerprint));
}

}  // namespace

void add_estimate(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "estimate", "Whether a model would fit into this machine's memory, and how fast it would run");
  static EstimateFlags flags;
  PlannedWorkload& work = flags.options.workload;
  work.prompt_tokens = 512;
  command
      ->add_option(
          "SHAPE", flags.model,
          "A shape that synthesize knows, such as llama-3.1-8b; or a folder with a config.json; or such a "
          "file. Weights are not looked at")
      ->required()
      ->check(not_empty());
  std::vector<std::string> formats = {"f16", "bf16", "f32"}, head_formats = code_format_names();
  for (const std::string& name : code_format_names()) formats.push_back(name);
  head_formats.emplace_back("keep");
  command
      ->add_option(
          "--weights", flags.weights,
          "One format of the layers' linears (default: floats, int8, int4 g128 and int4 g32, side by side)")
      ->check(CLI::IsMember(formats));
  command
      ->add_option("--group-size", flags.group_size,
                   "Inputs that share a scale (default: channel for int8, else 128)")
      ->type_name("32|64|128|channel")
      ->check(CLI::IsMember({"32", "64", "128", "channel"}).description(""));
  command->add_option("--lm-head", flags.lm_head, "The output matrix, of quantized models")
      ->capture_default_str()
      ->check(CLI::IsMember(head_formats));
  command->add_option("--embedding", flags.embedding, "The input matrix, of quantized models")
      ->capture_default_str()
      ->check(CLI::IsMember({"int8", "keep"}));
  constexpr int64_t most = 1 << 24;
  command
      ->add_option("--context", work.context,
                   "Positions of each sequence, all of them used (default: 4096, or the model's own where "
                   "that is less)")
      ->check(CLI::Range(int64_t{1}, most).description(""));
  command->add_option("--prompt-tokens", work.prompt_tokens, "Length of the prompt, of these positions")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, most).description(""));
  command
      ->add_option("--sequences", work.sequences,
                   "Decoded together, so that each step reads the weights once")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1024}).description(""));
  command->add_flag("--memory-only", flags.memory_only, "Leave speed out: nothing is run or measured");
  add_kv_cache(*command, work.kv_cache);
  add_allow_field(*command);
  add_threads(*command, flags.threads);
  add_json(*command, flags.json);
  command->footer(
      "Examples:\n"
      "  whittle estimate llama-3.1-8b\n"
      "  whittle estimate downloads/config.json --context 8192 --kv-cache int8\n"
      "  whittle estimate bloom-176b --weights int4 --lm-head int8 --embedding int8 --memory-only\n"
      "Speed is measured on a part of the model, with random weights: a second or so for each format.");
  command->callback([command] { run(flags, *command); });
}

}  // namespace whittle
