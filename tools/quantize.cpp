#include <fmt/format.h>

#include <iostream>

#include "bench/reports/json_report.h"
#include "engine/files/name_pattern.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "quant/quantization_report.h"
#include "quant/recipe_file.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/pruning_options.h"
#include "tools/streams.h"
#include "tools/version.h"

namespace whittle {
namespace {

struct QuantizeOptions {
  std::string source, out, json, recipe;
  std::string weights = "int8", group_size, activations = "token", lm_head = "keep", embedding = "keep";
  std::string effort = "good", method, rotate = "none", price = "bytes";
  PruningOptions pruning;
  CalibrationChoice calibration;
  bool asymmetric = false;
  std::vector<std::string> exclude;
  std::vector<double> target_bits;
  std::optional<int64_t> target_size;
  std::optional<double> max_kl;
  RunOptions run;
  int threads = 0;
};

// What `best` tunes on: more text still helps, and a small model takes minutes for it. More steps a layer do
// not: the text of calibration is all that they see.
constexpr int64_t best_tuning_tokens = 262144, best_block_steps = 50;

// What a recipe says already.
constexpr std::initializer_list<const char*> recipe_flags = {
    "--weights",   "--group-size", "--asymmetric", "--activations", "--exclude",     "--lm-head",
    "--embedding", "--effort",     "--method",     "--rotate",      "--calibration", "--calibration-tokens",
    "--held-out",  "--sparsity",   "--pattern",    "--prune-method"};

constexpr const char* rounding_alone = "rounding looks at the weights alone";

// "channel" and "token" are one scale for all.
int64_t group_of(const std::string& text) {
  return text == "channel" || text == "token" ? 0 : std::stoll(text);
}

std::optional<WeightFormat> format_or_keep(const std::string& text) {
  return text == "keep" ? std::nullopt : weight_format_named(text);
}

std::string wrong_regex(const std::string& pattern) {
  try {
    NamePattern("re:" + pattern, "expected a regular expression");
    return pattern.empty() ? "expected a regular expression, found \"\"" : "";
  } catch (const Error& error) {
    return error.what();
  }
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
  recipe.method = !options.method.empty()    ? *method_named(options.method)
                  : options.effort == "fast" ? MethodName::rtn
                                             : MethodName::gptq;
  if (options.method.empty() && options.effort == "best") {
    recipe.block_steps = best_block_steps;
    recipe.tuning_tokens = best_tuning_tokens;
  }
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

// The stages' own lines, one after the other.
class StageLines {
 public:
  void update(const std::string& stage, int64_t done, int64_t total, const std::string& what) {
    if (stage != stage_) {
      line_.emplace(stage);
      stage_ = stage;
    }
    line_->update(done, total, what);
  }
  void finish() { line_.reset(); }

 private:
  std::string stage_;
  std::optional<ProgressLine> line_;
};

void run(QuantizeOptions& options, const CLI::App& command) {
  if (!options.json.empty()) check_report_path(options.json);
  if (!options.json.empty() && same_path(options.json, options.out))
    throw CLI::ValidationError("--json", "is the same as OUT");
  options.run.budget = budget_of(options, command);
  const Recipe recipe = recipe_of(options, command);
  if ((options.recipe == "-") + (recipe.calibration.source == "-") + (recipe.calibration.held_out == "-") > 1)
    throw CLI::ValidationError(options.recipe == "-" ? "--recipe" : "--held-out",
                               "standard input can be read only once");
  options.run.version = WHITTLE_VERSION;
  options.run.build = version_text();
  const Team team(options.threads);
  StageLines lines;
  const Progress progress = [&](const std::string& stage, int64_t done, int64_t total,
                                const std::string& what) { lines.update(stage, done, total, what); };
  if (options.target_bits.size() > 1) {
    const std::vector<FrontierPoint> points =
        write_frontier(options.source, options.out, recipe, options.target_bits, team, options.run, progress);
    lines.finish();
    if (options.json != "-") fmt::print("{}: a recipe for each\n{}", options.out, frontier_text(points));
    if (!options.json.empty()) write_json(options.json, {{"frontier", frontier_json(points)}});
    return;
  }
  const QuantizationReport report =
      quantize(options.source, options.out, recipe, team, options.run, progress);
  lines.finish();
  for (const std::string& note : report.notes) fmt::print(stderr, "whittle: {}\n", note);
  if (options.json != "-")
    fmt::print("{}: {}\n{}", options.out, printable(report.recipe.text()), quantization_text(report));
  if (!options.json.empty()) {
    nlohmann::json json = quantization_json(report);
    json["recipe"] = report.recipe.text();
    write_json(options.json, json);
  }
}

}  // namespace

void add_quantize(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("quantize", "Write a copy of a Hugging Face model with weights of 4 to 8 bits");
  static QuantizeOptions options;
  std::vector<std::string> head_formats = code_format_names();
  head_formats.emplace_back("keep");
  command->add_option("SRC", options.source, "Folder of the original model (F16, BF16 or F32)")
      ->required()
      ->check(not_empty());
  command->add_option("OUT", options.out, "Folder to write; must not exist")->required()->check(not_empty());
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
  command->add_option("--exclude", options.exclude, "Keep modules whose name REGEX matches; may be repeated")
      ->type_name("REGEX")
      ->check(CLI::Validator(wrong_regex, ""))
      ->allow_extra_args(false);
  command->add_option("--lm-head", options.lm_head, "The output matrix: int8 a row, others in groups")
      ->capture_default_str()
      ->check(CLI::IsMember(head_formats));
  command->add_option("--embedding", options.embedding, "The input matrix: int8 a row")
      ->capture_default_str()
      ->check(CLI::IsMember({"int8", "keep"}));
  command
      ->add_option(
          "--effort", options.effort,
          "fast: rounding alone, seconds; good: rounding for the inputs that linears read; best: and "
          "tuned by gradient, each layer, then end to end on more text")
      ->capture_default_str()
      ->check(CLI::IsMember({"fast", "good", "best"}));
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
  command
      ->add_option(
          "--calibration", options.calibration.source,
          "self: text that the model itself writes; or a text file, or a .json file of windows of ids")
      ->type_name("self|FILE")
      ->capture_default_str()
      ->check(not_empty());
  command
      ->add_option("--calibration-tokens", options.calibration.tokens,
                   "Tokens that a method looks at; unless --held-out names text for that, an eighth more is "
                   "held out to judge the result")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24).description(""));
  command
      ->add_option(
          "--held-out", options.calibration.held_out,
          "Text to judge the result by, best of another kind: a text file, or a .json file of windows "
          "of ids; its first 16 windows count")
      ->type_name("FILE")
      ->check(not_empty());
  add_pruning(*command, options.pruning, "--prune-method");
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
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50).description(""));
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
  command
      ->add_option("--memory", options.run.memory,
                   "What calibration may take beside a layer, such as 4G: text is then drawn from a rounded "
                   "model, and tokens wait in a file; best tunes end to end where 12 bytes a weight fit")
      ->type_name("SIZE")
      ->default_str("4G")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1} << 20, int64_t{1} << 50).description(""));
  command->add_flag("--resume", options.run.resume,
                    "Go on from what a run that was interrupted left; leave it when this one is");
  add_allow_field(*command);
  add_threads(*command, options.threads);
  add_json(*command, options.json);
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
