#include <fmt/format.h>

#include <iostream>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"
#include "engine/clock.h"
#include "engine/files/json_file.h"
#include "engine/generator.h"
#include "engine/tokenizer/token_ids.h"
#include "kernels/error.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct GenerateOptions {
  std::string model, prompt, prompt_file, token_ids, json;
  GenerationOptions generation;
  KvFormat kv_cache = KvFormat::f16;
  int64_t context = 0;
  int threads = 0;
};

void run(const GenerateOptions& options, const CLI::App& command) {
  if (options.generation.sampler.temperature == 0)
    refuse_void(command, {"--top-k", "--top-p", "--min-p", "--seed"},
                "without --temperature above 0 the most likely token is taken");
  if (!options.json.empty()) check_report_path(options.json);
  const Team team(options.threads);
  Fingerprint fingerprint{.threads = team.size()};
  if (!options.json.empty()) fingerprint.models = {fingerprint_of("model", options.model)};
  const Model model(options.model, team);
  std::optional<Tokenizer> tokenizer;
  if (options.token_ids.empty())
    tokenizer = Tokenizer::open(options.model);
  else
    tokenizer = Tokenizer::open_if_any(options.model);
  if (!tokenizer && !options.generation.stop.empty()) fail("--stop: {} has no tokenizer", options.model);

  print_notes(options.model);
  const auto start = Clock::now();
  std::vector<int32_t> prompt;
  if (!options.token_ids.empty())
    prompt = parse_token_ids(read_json(options.token_ids, int64_t{1} << 26), options.token_ids);
  else
    prompt = tokenizer->encode(options.prompt_file.empty() ? options.prompt : read_text(options.prompt_file));
  const double tokenize_seconds = seconds_since(start);

  // No longer than this run can need: room for keys and values is not free.
  SessionOptions session_options{options.context, options.kv_cache};
  if (!options.context)
    session_options.context = std::min(model.spec().max_position_embeddings,
                                       static_cast<int64_t>(prompt.size()) + options.generation.max_tokens);
  Session session(model, team, session_options);
  const bool show = options.json != "-";
  const Generation out = generate(session, model, tokenizer ? &*tokenizer : nullptr, prompt,
                                  options.generation, [&](std::string_view text) {
                                    if (!show) return;
                                    std::cout << text;
                                    flush_output();
                                  });
  if (show && !tokenizer) std::cout << nlohmann::json(out.ids).dump();
  if (show) std::cout << std::endl;

  const auto decoded = static_cast<double>(out.ids.empty() ? 0 : out.ids.size() - 1);
  const double first =
      tokenize_seconds + out.prefill_seconds + out.sampling_seconds / std::max(decoded + 1, 1.0);
  const double prefill_rate = static_cast<double>(prompt.size()) / out.prefill_seconds;
  const double decode_rate = out.decode_seconds > 0 ? decoded / out.decode_seconds : 0;
  if (isatty(STDERR_FILENO))
    std::cerr << fmt::format(
        "[{} prompt tokens, first token after {}, prefill {}; {} tokens at {}; ended by {}]\n", prompt.size(),
        format_seconds(first), format_rate(prefill_rate, "tok/s"), out.ids.size(),
        format_rate(decode_rate, "tok/s"), name(out.finish_reason));
  if (options.json.empty()) return;
  nlohmann::json json = report_header("generate", fingerprint);
  json.update({{"text", out.text},
               {"ids", out.ids},
               {"prompt_tokens", prompt.size()},
               {"finish_reason", name(out.finish_reason)},
               {"ttft_ms", 1e3 * first},
               {"prefill_tokens_per_s", or_null(prefill_rate)},
               {"decode_tokens_per_s", or_null(decode_rate)}});
  write_json(options.json, json);
}

}  // namespace

void add_generate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt");
  static GenerateOptions options;
  SamplerOptions& sampler = options.generation.sampler;
  command->add_option("MODEL", options.model, "Folder of the model, original or quantized")
      ->required()
      ->check(not_empty());
  CLI::Option_group* input = command->add_option_group("Prompt", "One of");
  input->add_option("--prompt", options.prompt, "Text");
  input->add_option("--prompt-file", options.prompt_file, "Text file; -: standard input")
      ->type_name("FILE")
      ->check(not_empty());
  input
      ->add_option("--token-ids", options.token_ids,
                   "JSON array of ids, BOS included; needs no tokenizer; -: standard input")
      ->type_name("FILE")
      ->check(not_empty());
  input->require_option(1);
  command->add_option("--max-tokens", options.generation.max_tokens, "Tokens to generate at most")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30).description(""));
  command->add_option("--temperature", sampler.temperature, "0: always the most likely token")
      ->capture_default_str()
      ->check(number(0, 1e6, "0 or more"));
  command->add_option("--top-k", sampler.top_k, "Keep the K most likely tokens; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""));
  command->add_option("--top-p", sampler.top_p, "Keep the fewest tokens that hold this probability")
      ->capture_default_str()
      ->check(number(1e-6, 1, "above 0, at most 1"));
  command->add_option("--min-p", sampler.min_p, "Keep tokens at least this fraction as likely as the best")
      ->capture_default_str()
      ->check(number(0, 1, "0 to 1"));
  command
      ->add_option("--repetition-penalty", sampler.repetition_penalty,
                   "Above 1: tokens seen become less likely")
      ->capture_default_str()
      ->check(number(1e-6, 1e6, "a number above 0"));
  command->add_option("--seed", sampler.seed, "The same seed gives the same text")->capture_default_str();
  command->add_option("--stop", options.generation.stop, "End before this text; may be repeated")
      ->type_name("TEXT")
      ->check(not_empty())
      ->allow_extra_args(false);
  command->add_option("--context", options.context, "Positions to keep; 0: what prompt and --max-tokens need")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""));
  add_kv_cache(*command, options.kv_cache);
  add_opening_flags(*command);
  add_threads(*command, options.threads);
  add_json(*command, options.json);
  command->footer(
      "Examples:\n"
      "  whittle generate llama-int4 --prompt 'Once upon a time' --max-tokens 64\n"
      "  whittle generate llama-int4 --prompt-file letter.txt --temperature 0.8 --top-p 0.95 --seed 7 --stop "
      "$'\\n\\n'");
  command->callback([command] { run(options, *command); });
}

}  // namespace whittle
