#include "bench/estimate/estimate.h"

#include <algorithm>

#include "engine/positions.h"

namespace whittle {

EstimateReport estimate(const std::string& name, const ModelSpec& spec,
                        const std::vector<StorageChoice>& choices, const EstimateOptions& options,
                        const Machine& machine, const Team& team,
                        const std::function<void(int64_t, int64_t, const std::string&)>& progress) {
  check_positions(spec, options.workload.context);
  EstimateReport report{name, 0, options.workload, machine, {}};
  report.workload.threads = team.size();
  const Inventory original(spec);
  for (const Module& module : original.modules())
    report.parameters +=
        module.rows * module.cols + (module.bias ? (module.matrix() ? module.rows : module.cols) : 0);

  std::vector<StoredModel> models;
  for (const StorageChoice& choice : choices) {
    const StoredModel& model = models.emplace_back(spec, choice);
    const MemoryNeed memory = memory_need(model, report.workload, options.process_bytes);
    report.formats.push_back({choice.name, model.file_bytes(), memory,
                              std::max<int64_t>(0, memory.peak_bytes() - machine.memory_available_bytes),
                              std::nullopt});
  }
  if (!options.speed) return report;
  std::vector<std::optional<SpeedEstimate>> speeds =
      estimate_speed(models, report.workload, team, options.trial, machine.memory_available_bytes, progress);
  for (size_t i = 0; i < speeds.size(); ++i) report.formats[i].speed = std::move(speeds[i]);
  return report;
}

}  // namespace whittle
