// Whittle against other engines, or against another build of its own, in alternating runs.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "bench/peers/comparison.h"
#include "bench/peers/comparison_report.h"
#include "bench/peers/peer_flags.h"
#include "bench/probe.h"
#include "bench/reports/json_report.h"
#include "bench/statistics.h"
#include "kernels/kernel_table.h"

namespace whittle {
namespace {

constexpr const char* program = "whittle_compare_peers";

struct Flags {
  std::vector<std::string> peers, peer_arguments, peer_commits, models;
  ComparisonOptions options;
  int threads = 0;
  std::string json;
};

void add_flags(CLI::App& app, Flags& flags) {
  const auto add_list = [&](const char* flag, std::vector<std::string>& values, const char* form,
                            const char* help) {
    return app.add_option(flag, values, help)->type_name(form)->allow_extra_args(false);
  };
  const auto add_number = [&](const char* flag, auto& value, auto least, auto most, const char* help) {
    app.add_option(flag, value, help)->capture_default_str()->check(CLI::Range(least, most).description(""));
  };
  constexpr int64_t most_tokens = 1 << 24;
  add_list("--peer", flags.peers, "NAME=PROGRAM",
           "A llama-bench, llama-batched-bench or whittle, told by its file name, or any other program that "
           "prints its figures as below; repeatable")
      ->required();
  add_list("--peer-args", flags.peer_arguments, "NAME=WORDS",
           "More arguments of a peer, after those that it gets anyway; repeatable");
  add_list("--peer-commit", flags.peer_commits, "NAME=HASH",
           "What the peer was built from, for the report; repeatable");
  add_list("--models", flags.models, "FOLDER=PATH",
           "Whittle's folder, and the same weights for the peers: a file or folder that they read; "
           "repeatable")
      ->required();
  add_number("--pairs", flags.options.pairs, int64_t{1}, int64_t{1000},
             "Pairs to keep of each model and peer");
  add_number("--tolerance", flags.options.tolerance, 1.0, 100.0,
             "Drop a pair in which a probe's largest reading is above this times its smallest");
  add_number("--prompt-tokens", flags.options.speed.prompt_tokens, int64_t{1}, most_tokens,
             "Length of the prompt");
  add_number("--gen-tokens", flags.options.speed.gen_tokens, int64_t{1}, most_tokens,
             "Tokens decoded after it");
  add_number("--sequences", flags.options.speed.sequences, int64_t{1}, int64_t{1024},
             "Decoded together; above 1 no prefill, and no llama-bench");
  static const std::map<std::string, KvFormat> formats = {{"f16", KvFormat::f16}, {"int8", KvFormat::int8}};
  app.add_option("--kv-cache", flags.options.speed.kv_cache, "How keys and values are kept (default: f16)")
      ->type_name("f16|int8")
      ->transform(CLI::CheckedTransformer(formats).description(""));
  add_number("--threads", flags.threads, 0, 1024, "Threads of both sides; 0: one per physical core");
  add_number("--timeout", flags.options.timeout_seconds, 1.0, 1e6,
             "Seconds after which a peer's run is an error");
  app.add_option("--json", flags.json,
                 "Write the report as JSON to FILE; - is standard output, instead of the table")
      ->type_name("FILE");
  app.footer(
      "Any other program is run as\n"
      "  PROGRAM PATH --prompt-tokens N --gen-tokens N --threads N WORDS\n"
      "with --sequences N above 1 and --kv-cache int8 only where given here, and ends its standard output "
      "with a\n"
      "JSON object, which begins a line:\n"
      "  {\"prefill_tokens_per_s\": 812.5, \"decode_tokens_per_s\": 21.4}\n"
      "Prefill may be null. bench/peers/adapters has such programs for PyTorch and ONNX Runtime.\n"
      "Examples:\n"
      "  whittle_compare_peers --peer lc=lc/bin/llama-bench --peer ik=ik/bin/llama-batched-bench \\\n"
      "      --peer-args ik=-rtr --models tiny-int8=tiny-q8_0.gguf --models tiny-int4=tiny-q4_0.gguf\n"
      "  whittle_compare_peers --peer before=old/whittle --models model-int8=model-int8\n"
      "  whittle_compare_peers --peer one=build/release/tools/whittle --peer-args 'one=--threads 1' \\\n"
      "      --models model-int8=model-int8\n"
      "  whittle_compare_peers --peer torch=bench/peers/adapters/pytorch.py --peer-args 'torch=--mode int8' "
      "\\\n"
      "      --models model-int8=path/to/model");
}

void print_pair(const ComparisonCell& cell, const Pair& pair, bool kept) {
  fmt::print(stderr, "{}, {}, {}: ", cell.model, cell.peer_model.filename().string(), cell.peer);
  if (!kept) return fmt::print(stderr, "pair dropped, the machine changed ({} so far)\n", cell.dropped);
  const std::string prefill =
      pair.prefill.peer ? fmt::format("prefill {:.2f}×, ", pair.prefill.ours / *pair.prefill.peer) : "";
  fmt::print(stderr, "pair {}: {}decode {:.2f}×\n", cell.kept.size(), prefill,
             pair.decode.ours / *pair.decode.peer);
}

void run(Flags& flags) {
  flags.options.peers = make_peers(flags.peers, flags.peer_arguments, flags.peer_commits);
  flags.options.models = make_models(flags.models);
  const MachineReport machine = report_machine(flags.threads, kernels().name);
  const Team team(flags.threads);
  const ProbeBuffer buffer(team);
  // Medians over half a second: a single reading says what the machine did for thirty milliseconds.
  const Probe probe = [&] {
    std::vector<double> reads, products;
    for (int i = 0; i < 9; ++i) {
      reads.push_back(probe_read_bandwidth(team, buffer));
      products.push_back(probe_int8(team));
    }
    return ProbeReading{median(reads), median(products)};
  };
  Fingerprint fingerprint{.threads = team.size()};
  if (!flags.json.empty())
    for (const auto& model : flags.options.models)
      fingerprint.models.push_back(fingerprint_of("model", model.folder));
  const Comparison comparison = compare_peers(flags.options, team, probe, print_pair);
  if (flags.json != "-") std::cout << comparison_text(comparison, machine);
  if (!flags.json.empty()) write_json(flags.json, comparison_json(comparison, machine, fingerprint));
}

}  // namespace
}  // namespace whittle

int main(int argc, char** argv) {
  CLI::App app(
      "Compares Whittle's speed with other engines', or another build's, in alternating runs beside the "
      "machine's limits.",
      whittle::program);
  app.get_formatter()->column_width(34);
  whittle::Flags flags;
  whittle::add_flags(app, flags);
  try {
    app.parse(argc, argv);
    whittle::run(flags);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::cerr << whittle::program << ": " << error.what() << '\n';
  }
  return 1;
}
