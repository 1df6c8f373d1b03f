#include "bench/peak_memory.h"

#include <algorithm>

#include "bench/memory.h"
#include "bench/prompt.h"
#include "bench/reports/json_report.h"
#include "engine/files/json_file.h"
#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {

void report_own_peak_memory(const std::filesystem::path& folder, const Team& team,
                            const SpeedOptions& options) {
  const Model model(folder, team);
  const std::optional<Tokenizer> tokenizer = Tokenizer::open_if_any(folder);
  const Prompt prompt = make_prompt(model.spec(), tokenizer ? &*tokenizer : nullptr, options.prompt_tokens);
  const int64_t context = options.context + options.prompt_tokens + options.gen_tokens;
  Session first(model, team, {context, options.kv_cache});
  // A cache takes memory where it has been written. What would be decoded is filled in pieces no longer than
  // the prompt, so that no scratch grows, and in a fraction of the time.
  const std::span<const int32_t> ids = prompt.ids;
  const auto fill = [&](Session& session) {
    if (options.context)
      session.forward(std::vector<int32_t>(static_cast<size_t>(options.context), ids.front()));
    while (const int64_t left = context - session.position() - 1)
      session.forward(ids.first(static_cast<size_t>(std::min<int64_t>(left, options.prompt_tokens))));
    session.forward(ids.first(1));
  };
  fill(first);
  std::vector<Session> others;
  for (int64_t i = 1; i < options.sequences; ++i)
    fill(others.emplace_back(first.decoder(), context, options.kv_cache));
  write_json("-", {{"peak_rss_bytes", peak_resident_bytes()}});
}

int64_t measure_peak_memory(const std::vector<std::string>& child) {
  const ChildReport report = run_child(child);
  if (report.signal) fail("peak memory: the measured process was ended by signal {}", report.signal);
  if (report.exit_code) fail("peak memory: the measured process failed with exit code {}", report.exit_code);
  const std::string what = "output of the process measured for peak memory";
  const nlohmann::json json = parse_json(report.output, what);
  return JsonFields(json, what).integer("peak_rss_bytes", 1, int64_t{1} << 60);
}

}  // namespace whittle
