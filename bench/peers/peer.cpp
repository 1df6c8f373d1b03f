#include "bench/peers/peer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <sstream>

#include "bench/memory.h"
#include "engine/files/json_file.h"
#include "engine/kv_cache.h"
#include "kernels/error.h"

namespace whittle {
namespace {

using Words = std::vector<std::string>;

void append(Words& words, const Words& more) { words.insert(words.end(), more.begin(), more.end()); }

// Both programs keep 16-bit floats unless told otherwise; theirs of 8 bits needs flash attention.
void append_kv_cache(Words& words, KvFormat format) {
  if (format == KvFormat::int8) append(words, {"-ctk", "q8_0", "-ctv", "q8_0", "-fa", "1"});
}

Words single_arguments(const std::string& model, const SpeedOptions& options, int threads) {
  Words words = {"-m", model,
                 "-p", std::to_string(options.prompt_tokens),
                 "-n", std::to_string(options.gen_tokens),
                 "-t", std::to_string(threads),
                 "-r", "1",
                 "-o", "json"};
  append_kv_cache(words, options.kv_cache);
  return words;
}

Words batched_arguments(const std::string& model, const SpeedOptions& options, int threads) {
  constexpr int64_t step = 256, spare = 64;
  const int64_t tokens = (options.prompt_tokens + options.gen_tokens) * options.sequences;
  const int64_t context = (tokens + step - 1) / step * step + spare;
  Words words = {"-m",   model,
                 "-c",   std::to_string(context),
                 "-b",   "2048",
                 "-ub",  "512",
                 "-npp", std::to_string(options.prompt_tokens),
                 "-ntg", std::to_string(options.gen_tokens),
                 "-npl", std::to_string(options.sequences),
                 "-t",   std::to_string(threads),
                 "-tb",  std::to_string(threads)};
  append_kv_cache(words, options.kv_cache);
  return words;
}

Words whittle_arguments(const std::string& model, const SpeedOptions& options, int threads) {
  return {"bench",           model,
          "--prompt-tokens", std::to_string(options.prompt_tokens),
          "--gen-tokens",    std::to_string(options.gen_tokens),
          "--sequences",     std::to_string(options.sequences),
          "--kv-cache",      std::string(name(options.kv_cache)),
          "--threads",       std::to_string(threads),
          "--repeat",        std::to_string(options.repeat),
          "--json",          "-"};
}

// What is not the usual is named only where it is asked for: a program need not know more than it can do.
Words plain_arguments(const std::string& model, const SpeedOptions& options, int threads) {
  Words words = {model,
                 "--prompt-tokens",
                 std::to_string(options.prompt_tokens),
                 "--gen-tokens",
                 std::to_string(options.gen_tokens),
                 "--threads",
                 std::to_string(threads)};
  if (options.sequences > 1) append(words, {"--sequences", std::to_string(options.sequences)});
  if (options.kv_cache != KvFormat::f16) append(words, {"--kv-cache", std::string(name(options.kv_cache))});
  return words;
}

constexpr PeerKind kinds[] = {
    {"llama-bench", false, false, true, "decodes from an empty context, Whittle after the prompt",
     single_arguments, read_llama_bench},
    {"llama-batched-bench", true, false, true, "", batched_arguments, read_batched_bench},
    {"whittle", true, true, true, "", whittle_arguments, read_whittle_bench},
    {"", true, false, false, "", plain_arguments, read_any_program},
};

std::string last_lines(const std::string& text) {
  constexpr size_t most = 8;
  std::deque<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    if (!line.empty()) lines.push_back(printable(line));
  while (lines.size() > most) lines.pop_front();
  return fmt::format("{}", fmt::join(lines, "\n"));
}

// How a run that ended without figures ended, or empty.
std::string failure(const ChildReport& report) {
  if (report.timed_out) return fmt::format("stopped after {:.0f} s", report.wall_seconds);
  if (report.signal) return fmt::format("ended by signal {}", report.signal);
  if (report.exit_code) return fmt::format("failed with exit code {}", report.exit_code);
  return "";
}

}  // namespace

const PeerKind& peer_kind(const std::filesystem::path& program) {
  const std::string file = program.filename().string();
  return *std::ranges::find_if(
      kinds, [&](const PeerKind& kind) { return file.find(kind.name) != std::string::npos; });
}

std::vector<std::string> peer_command(const Peer& peer, const std::string& model, const SpeedOptions& options,
                                      int threads) {
  const PeerKind& kind = peer_kind(peer.program);
  if (options.sequences > 1 && !kind.decodes_many)
    fail("--sequences {}: {} ({}) decodes one sequence only; name a llama-batched-bench instead",
         options.sequences, peer.name, peer.program.string());
  Words words = {peer.program.string()};
  append(words, kind.arguments(model, options, threads));
  append(words, peer.arguments);
  return words;
}

PeerSpeed run_peer(const Peer& peer, const std::string& model, const SpeedOptions& options, int threads,
                   double timeout_seconds) {
  const PeerKind& kind = peer_kind(peer.program);
  const Words command = peer_command(peer, model, options, threads);
  Words words;
  // Unpinned, OpenMP threads sometimes share one CPU: a peer shall be as fast as it can be.
  if (!kind.pins_itself) words = {"env", "OMP_PROC_BIND=true", "OMP_PLACES=cores"};
  append(words, command);
  const ChildReport report =
      run_child(words, {.timeout_seconds = timeout_seconds, .keep_errors = true, .watch_ms = 1000});
  const std::string text = report.output + '\n' + report.errors;
  std::string wrong = failure(report);
  try {
    if (wrong.empty()) {
      PeerSpeed speed = kind.read(kind.logs_figures ? text : report.output);
      if (options.sequences > 1) speed.prefill.reset();  // of all prompts together: not Whittle's measure
      return speed;
    }
  } catch (const Error& error) {
    wrong = error.what();
  }
  fail("{}: {}; its last lines:\n{}", fmt::join(command, " "), wrong, last_lines(text));
}

}  // namespace whittle
