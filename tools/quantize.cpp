#include <fmt/format.h>

#include <iostream>

#include "bench/reports/json_report.h"
#include "bench/reports/table.h"
#include "bench/windows.h"
#include "engine/files/name_pattern.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/error.h"
#include "quant/pipeline.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct QuantizeOptions {
  std::string source, out, json;
  std::string weights = "int8", group_size, activations = "token", lm_head = "keep", embedding = "keep";
  std::string method = "rtn", calibration = "self";
  int64_t calibration_tokens = 32768;
  bool asymmetric = false;
  std::vector<std::string> exclude;
  int threads = 0;
};

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

// The tokens that a method looks at: the model's own, or those of a file.
CalibrationText calibration_text(const QuantizeOptions& options, const Team& team) {
  constexpr int64_t window = 512;
  if (options.calibration == "self") {
    ProgressLine progress("calibration text");
    CalibrationText text =
        self_calibration(options.source, team, options.calibration_tokens, window, 0,
                         [&](int64_t done, int64_t total) { progress.update(done, total, "tokens"); });
    progress.finish();
    return text;
  }
  const FolderWeights source(options.source);
  const int64_t context = std::min(window, source.spec().max_position_embeddings);
  const std::filesystem::path file = options.calibration;
  constexpr int64_t most = int64_t{1} << 30;
  Windows windows = file.extension() == ".json"
                        ? token_windows(read_json(file, most), file.string())
                        : text_windows(Tokenizer::open(options.source), read_text(file), context, "windows");
  return first_windows(std::move(windows), file.filename().string(), source.spec().vocab_size,
                       options.calibration_tokens, context);
}

void run(QuantizeOptions options, const CLI::App& command) {
  if (options.group_size.empty()) options.group_size = options.weights == "int4" ? "128" : "channel";
  if (options.group_size != "channel")
    refuse_void(command, {"--activations"},
                "weights in groups of " + options.group_size + " use groups of their own");
  if (options.group_size == "channel" && options.weights == "int4")
    throw CLI::ValidationError("--group-size", "int4 needs groups; expected 32, 64 or 128, found channel");
  if (!options.json.empty()) check_report_path(options.json);
  if (!options.json.empty() && same_path(options.json, options.out))
    throw CLI::ValidationError("--json", "is the same as OUT");
  if (options.method == "rtn")
    refuse_void(command, {"--calibration", "--calibration-tokens"}, "rtn looks at the weights alone");
  Recipe recipe;
  recipe.method = options.method == "gptq" ? MethodName::gptq : MethodName::rtn;
  recipe.weights = *weight_format_named(options.weights);
  recipe.group_size = group_of(options.group_size);
  recipe.symmetric = !options.asymmetric;
  recipe.activation_group_size = group_of(options.activations);
  recipe.exclude = options.exclude;
  recipe.lm_head = format_or_keep(options.lm_head);
  recipe.embedding = format_or_keep(options.embedding);

  const Team team(options.threads);
  ProgressLine progress("quantize");
  const QuantizationReport report = quantize(
      options.source, options.out, recipe, [&] { return calibration_text(options, team); }, team,
      WHITTLE_VERSION,
      [&](int64_t done, int64_t total, const std::string& module) { progress.update(done, total, module); });
  progress.finish();
  for (const std::string& note : report.notes) fmt::print(stderr, "whittle: {}\n", note);
  if (options.json != "-") {
    fmt::print(
        "{}: {}\n{} modules quantized at {:.3f} bits per weight; relative error of their weights {:.3e}\n"
        "{} → {} on disk\n",
        options.out, recipe.text(), report.modules, report.bits_per_weight, report.relative_error,
        format_bytes(static_cast<double>(report.source_bytes)),
        format_bytes(static_cast<double>(report.written_bytes)));
  }
  if (!options.json.empty())
    write_json(options.json, {{"recipe", recipe.text()},
                              {"modules", report.modules},
                              {"bits_per_weight", report.bits_per_weight},
                              {"relative_error", report.relative_error},
                              {"source_bytes", report.source_bytes},
                              {"written_bytes", report.written_bytes}});
}

}  // namespace

void add_quantize(CLI::App& app) {
  CLI::App* command = app.add_subcommand("quantize", "Write an INT8 or INT4 copy of a Hugging Face model");
  static QuantizeOptions options;
  command->add_option("SRC", options.source, "Folder of the original model (F16, BF16 or F32)")
      ->required()
      ->check(not_empty());
  command->add_option("OUT", options.out, "Folder to write; must not exist")->required()->check(not_empty());
  command->add_option("--weights", options.weights, "Format of the linears of each layer")
      ->capture_default_str()
      ->check(CLI::IsMember({"int8", "int4"}));
  command
      ->add_option("--group-size", options.group_size,
                   "Inputs that share a scale (default: channel for int8, 128 for int4)")
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
  command->add_option("--lm-head", options.lm_head, "The output matrix: int8 a row, int4 in groups")
      ->capture_default_str()
      ->check(CLI::IsMember({"int8", "int4", "keep"}));
  command->add_option("--embedding", options.embedding, "The input matrix: int8 a row")
      ->capture_default_str()
      ->check(CLI::IsMember({"int8", "keep"}));
  command
      ->add_option("--method", options.method,
                   "rtn: round to nearest; gptq: rounding for the inputs that linears read")
      ->capture_default_str()
      ->check(CLI::IsMember({"rtn", "gptq"}));
  command
      ->add_option(
          "--calibration", options.calibration,
          "self: text that the model itself writes; or a text file, or a .json file of windows of ids")
      ->type_name("self|FILE")
      ->capture_default_str();
  command->add_option("--calibration-tokens", options.calibration_tokens, "Tokens that a method looks at")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24).description(""));
  add_allow_field(*command);
  add_threads(*command, options.threads);
  add_json(*command, options.json);
  command->footer(
      "Tied embeddings stay one matrix when --lm-head and --embedding agree, and are written twice when they "
      "do not.\n"
      "Examples:\n"
      "  whittle quantize llama llama-int8\n"
      "  whittle quantize llama llama-int4 --weights int4 --group-size 32 --lm-head int8 --embedding int8\n"
      "  whittle quantize llama llama-int4 --weights int4 --method gptq --calibration my-text.txt\n"
      "  whittle quantize llama llama-mixed --weights int4 --exclude 'layers\\.0\\.' --exclude down_proj");
  command->callback([command] { run(options, *command); });
}

}  // namespace whittle
