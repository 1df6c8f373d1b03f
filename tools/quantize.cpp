#include <fmt/format.h>

#include "bench/reports/json_report.h"
#include "bench/version.h"
#include "quant/quantization_report.h"
#include "quant/recipe_file.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/offline_run.h"
#include "tools/options.h"
#include "tools/pruning_options.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct QuantizeOptions : OfflineRun {
  std::string weights = "int8", group_size, activations = "token", lm_head = "keep", embedding = "keep";
  std::string effort = "good", method, rotate = "none", price = "bytes";
  PruningOptions pruning;
  CalibrationChoice calibration;
  bool asymmetric = false;
  std::vector<std::string> exclude;
  std::vector<double> target_bits;
  std::optional<int64_t> target_size;
  std::optional<double> max_kl;
};

// What a recipe says already.
constexpr std::initializer_list<const char*> recipe_flags = {
    "--weights",   "--group-size", "--asymmetric", "--activations",  "--exclude",     "--lm-head",
    "--embedding", "--effort",     "--method",     "--rotate",       "--calibration", "--calibration-tokens",
    "--held-out",  "--sparsity",   "--pattern",    "--prune-method", "--allocate",    "--sparse-storage"};

constexpr const char* rounding_alone = "rounding looks at the weights alone";

// "channel" and "token" are one scale for all.
int64_t group_of(const std::string& text) {
  return text == "channel" || text == "token" ? 0 : std::stoll(text);
}

std::optional<WeightFormat> format_or_keep(const std::string& text) {
  return text == "keep" ? std::nullopt : weight_format_named(text);
}

Recipe recipe_of(QuantizeOptions& options, const CLI::App& command) {
  if (!options.recipe.empty()) {
    refuse_void(command, recipe_flags, "--recipe says what is done");
    constexpr int64_t most = int64_t{64} << 20;
    const Recipe recipe = read_recipe(read_json(options.recipe, most), options.recipe);
    if (recipe.method == MethodName::rtn) refuse_void(command, {"--memory", "--resume"}, rounding_alone);
    return recipe;
  }
  const bool in_groups = bit_packed(*weight_format_named(options.weights));
  if (options.group_size.empty()) options.group_size = in_groups ? "128" : "channel";
  if (options.group_size != "channel")
    refuse_void(command, {"--activations"},
                "weights in groups of " + options.group_size + " use groups of their own");
  if (options.group_size == "channel" && in_groups)
    throw CLI::ValidationError("--group-size",
                               options.weights + " needs groups; expected 32, 64 or 128, found channel");
  if (!options.method.empty()) refuse_void(command, {"--effort"}, "--method names one method alone");
  Recipe recipe;
  if (options.method.empty())
    apply_effort(options.effort, recipe);
  else
    recipe.method = *method_named(options.method);
  recipe.rotation = *rotation_named(options.rotate);
  if (recipe.method == MethodName::rtn)
    refuse_void(command, {"--calibration", "--calibration-tokens", "--held-out", "--memory", "--resume"},
                rounding_alone);
  recipe.weights = *weight_format_named(options.weights);
  apply_pruning(options.pruning, command, "--prune-method", recipe);
  recipe.group_size = group_of(options.group_size);
  recipe.symmetric = !options.asymmetric;
  recipe.activation_group_size = group_of(options.activations);
  recipe.exclude = options.exclude;
  recipe.lm_head = format_or_keep(options.lm_head);
  recipe.embedding = format_or_keep(options.embedding);
  recipe.calibration = options.calibration;
  return recipe;
}

// One budget, or many of bits: then nothing is set.
Budget budget_of(const QuantizeOptions& options, const CLI::App& command) {
  Budget budget{.bytes = options.target_size, .kl = options.max_kl, .time = options.price == "time"};
  if (!options.max_kl) refuse_void(command, {"--price"}, "only --max-kl leaves a choice of price");
  budget.outer = command["--lm-head"]->empty() && command["--embedding"]->empty();
  if (options.target_bits.size() == 1) budget.bits = options.target_bits.front();
  if (!budget && options.target_bits.empty()) return budget;
  const std::string why = "a budget decides the format of each linear";
  refuse_void(command, {"--weights", "--group-size", "--activations", "--recipe", "--sparsity", "--pattern"},
              why);
  if (options.effort == "fast" || !(options.method.empty() || options.method == "gptq"))
    throw CLI::ValidationError(options.method.empty() ? "--effort" : "--method",
                               "a budget is spent by what error feedback measures");
  return budget;
}

// A folder of recipes.
void write_recipes(const QuantizeOptions& options, const Recipe& recipe) {
  const Team team(options.threads);
  const Fingerprint fingerprint = fingerprint_of(options, recipe.calibration, team);
  StageLines lines;
  const std::vector<FrontierPoint> points = write_frontier(
      options.source, options.out, recipe, options.target_bits, team, options.run, lines.progress());
  lines.finish();
  if (options.json != "-") fmt::print("{}: a recipe for each\n{}", options.out, frontier_text(points));
  if (!options.json.empty()) write_json(options.json, frontier_json(points, fingerprint));
}

void run(QuantizeOptions& options, const CLI::App& command) {
  options.run.budget = budget_of(options, command);
  const Recipe recipe = recipe_of(options, command);
  check_offline_run(options, recipe.calibration);
  if (options.target_bits.size() > 1)
    write_recipes(options, recipe);
  else
    carry_out(options, recipe);
}

}  // namespace

void add_quantize(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("quantize", "Write a copy of a Hugging Face model with weights of 4 to 8 bits");
  static QuantizeOptions options;
  std::vector<std::string> head_formats = code_format_names();
  head_formats.emplace_back("keep");
  command->add_option("--weights", options.weights, "Format of the linears of each layer")
      ->capture_default_str()
      ->check(CLI::IsMember(code_format_names()));
  command
      ->add_option("--group-size", options.group_size,
                   "Inputs that share a scale (default: channel for int8, else 128)")
      ->type_name("32|64|128|channel")
      ->check(CLI::IsMember({"32", "64", "128", "channel"}).description(""));
  command->add_flag("--asymmetric", options.asymmetric, "Store a zero point beside each scale");
  command
      ->add_option("--activations", options.activations,
                   "Inputs that share an activation scale at run time; weights in groups use their own")
      ->type_name("token|32|64|128")
      ->capture_default_str()
      ->check(CLI::IsMember({"token", "32", "64", "128"}).description(""));
  add_exclude(*command, options.exclude, "Keep modules whose name REGEX matches; may be repeated");
  command->add_option("--lm-head", options.lm_head, "The output matrix: int8 a row, others in groups")
      ->capture_default_str()
      ->check(CLI::IsMember(head_formats));
  command->add_option("--embedding", options.embedding, "The input matrix: int8 a row")
      ->capture_default_str()
      ->check(CLI::IsMember({"int8", "keep"}));
  add_effort(*command, options.effort);
  command
      ->add_option("--method", options.method,
                   "One method alone, for comparison. rtn: round to nearest; gptq: error feedback; awq, "
                   "smoothquant: channels scaled, then rounded for what linears read")
      ->check(CLI::IsMember(std::vector<std::string>(method_names().begin(), method_names().end())));
  command
      ->add_option("--rotate", options.rotate,
                   "Other coordinates, in which rounding loses less: of values between v_proj and o_proj, or "
                   "of the residual stream, too; auto: whichever of these drifts least")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(rotation_choices().begin(), rotation_choices().end())));
  add_calibration(*command, options.calibration);
  CLI::Option_group* zeros = command->add_option_group("Pruning", "Weights that become zero: at most one of");
  add_sparsity(*zeros, options.pruning);
  zeros->require_option(0, 1);
  add_pruning_method(*command, options.pruning, "--prune-method");
  CLI::Option_group* budget = command->add_option_group("Budget", "Mixed precision: at most one of");
  budget
      ->add_option("--target-bits", options.target_bits,
                   "Bits a weight of the layers' linears may take; several, parted by commas: OUT becomes a "
                   "folder of recipes, one each")
      ->type_name("BITS,...")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(number(1, 16, "1 to 16"));
  budget
      ->add_option("--target-size", options.target_size, "Bytes that the weight file may take, such as 700M")
      ->type_name("SIZE")
      ->transform(size_in_bytes(1));
  budget
      ->add_option("--max-kl", options.max_kl,
                   "Mean KL divergence from the original, on held-out text, that the smallest mix may reach")
      ->type_name("NATS")
      ->check(number(0, 100, "0 to 100"));
  budget->require_option(0, 1);
  command
      ->add_option("--price", options.price,
                   "What --max-kl makes as small as it can: bytes, or the time of a token on this machine")
      ->capture_default_str()
      ->check(CLI::IsMember({"bytes", "time"}));
  command->add_option("--recipe", options.recipe, "Do what this says: the recipe.json of an earlier run")
      ->type_name("FILE")
      ->check(not_empty());
  add_offline_run(*command, options);
  add_allow_field(*command);
  command->footer(
      "Tied embeddings stay one matrix when --lm-head and --embedding agree, and are written twice when they "
      "do not.\n"
      "Examples:\n"
      "  whittle quantize llama llama-int8\n"
      "  whittle quantize llama llama-int4 --weights int4 --group-size 32 --lm-head int8 --embedding int8\n"
      "  whittle quantize llama llama-int4 --weights int4 --calibration my-text.txt --resume\n"
      "  whittle quantize llama llama-700 --target-size 700M\n"
      "  whittle quantize llama llama-sparse --weights int8 --pattern 2:4\n"
      "  whittle quantize llama recipes --target-bits 4.25,4.5,5,6\n"
      "  whittle quantize llama other --recipe llama-int4/recipe.json\n"
      "  whittle quantize llama llama-mixed --weights int4 --exclude 'layers\\.0\\.' --exclude down_proj");
  command->callback([command] { run(options, *command); });
}

}  // namespace whittle
