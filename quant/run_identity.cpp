#include "quant/run_identity.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

// What a file was.
nlohmann::json stamp(const fs::path& file) {
  return {fs::file_size(file), fs::last_write_time(file).time_since_epoch().count()};
}

nlohmann::json budget_json(const Budget& budget) {
  if (budget.bits) return {{"bits", *budget.bits}};
  if (budget.bytes) return {{"bytes", *budget.bytes}, {"outer", budget.outer}};
  if (budget.kl) return {{"kl", *budget.kl}, {"outer", budget.outer}, {"time", budget.time}};
  return nullptr;
}

}  // namespace

nlohmann::json run_identity(const fs::path& source, const nlohmann::json& recipe, const CalibrationText& text,
                            const RunOptions& options) {
  nlohmann::json identity = {{"version", options.version},
                             {"build", options.build},
                             {"recipe", recipe},
                             {"memory", options.memory},
                             {"budget", budget_json(options.budget)},
                             {"source", fs::absolute(source).lexically_normal().string()}};
  for (const auto& entry : fs::directory_iterator(source))
    if (entry.is_regular_file()) identity["files"][entry.path().filename().string()] = stamp(entry.path());
  if (!text.windows.empty() || !text.held_out.ids.empty()) identity["calibration"] = text.fingerprint();
  return identity;
}

}  // namespace whittle
