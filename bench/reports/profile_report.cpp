#include "bench/reports/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bench/reports/figures.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

double operations(const Work& work) {
  return static_cast<double>(work.int8_operations + work.float_operations);
}

}  // namespace

double limit_seconds(const Work& work, const ProfileLimits& limits) {
  const double reading = static_cast<double>(work.bytes) / limits.read_gb_per_s;
  const double computing = static_cast<double>(work.int8_operations) / limits.int8_gops +
                           static_cast<double>(work.float_operations) / limits.fp32_gflops;
  return 1e-9 * std::max(reading, computing);
}

std::vector<OperationTime> operation_times(const Profile& profile, const ProfileLimits& limits) {
  std::array<OperationTime, operation_count> by_operation;
  double total = 0;
  for (int thread = 0; thread < profile.threads(); ++thread)
    for (const Event& event : profile.events(thread)) {
      OperationTime& time = by_operation[static_cast<size_t>(event.operation)];
      time.operation = event.operation;
      time.calls += thread == 0;
      const double seconds = 1e-9 * static_cast<double>(event.end_ns - event.begin_ns) / profile.threads();
      time.seconds += seconds;
      total += seconds;
      time.work += event.work;
    }
  std::vector<OperationTime> times;
  for (OperationTime& time : by_operation) {
    if (time.seconds <= 0) continue;
    time.share = time.seconds / total;
    time.limit_fraction = limit_seconds(time.work, limits) / time.seconds;
    times.push_back(time);
  }
  std::ranges::stable_sort(times, std::greater(), &OperationTime::seconds);
  return times;
}

nlohmann::json profile_json(const std::vector<OperationTime>& times) {
  nlohmann::json json = nlohmann::json::array();
  for (const OperationTime& time : times) {
    const bool works = time.limit_fraction > 0;
    json.push_back(
        {{"operation", name(time.operation)},
         {"calls", time.calls},
         {"ms", 1e3 * time.seconds},
         {"share", time.share},
         {"gb_per_s", works ? or_null(static_cast<double>(time.work.bytes) / time.seconds / 1e9) : nullptr},
         {"gops", works ? or_null(operations(time.work) / time.seconds / 1e9) : nullptr},
         {"limit_fraction", works ? or_null(time.limit_fraction) : nullptr}});
  }
  return json;
}

std::string profile_text(const std::string& title, const std::vector<OperationTime>& times) {
  Table table(
      {{title, Align::left}, {"calls"}, {"time"}, {"share"}, {"reading"}, {"computing"}, {"of limit"}});
  for (const OperationTime& time : times) {
    std::vector<std::string> row = {std::string(name(time.operation)), fmt::format("{}", time.calls),
                                    format_seconds(time.seconds), format_percent(time.share)};
    if (time.limit_fraction > 0)
      row.insert(row.end(), {format_rate(static_cast<double>(time.work.bytes) / time.seconds / 1e9, "GB/s"),
                             format_rate(operations(time.work) / time.seconds / 1e9, "GOPS"),
                             format_percent(time.limit_fraction)});
    else
      row.insert(row.end(), {"", "", ""});
    table.add_row(row);
  }
  return table.text();
}

}  // namespace whittle
