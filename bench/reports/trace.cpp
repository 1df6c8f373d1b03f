#include "bench/reports/trace.h"

#include <fmt/format.h>

#include <algorithm>

namespace whittle {
namespace {

double microseconds(int64_t ns) { return 1e-3 * static_cast<double>(ns); }

nlohmann::json metadata(const char* what, size_t process, int thread, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

nlohmann::json event_json(const Event& event, size_t process, int thread, int64_t offset_ns) {
  nlohmann::json args = nlohmann::json::object();
  if (event.layer >= 0) args["layer"] = event.layer;
  if (event.work.bytes) args["bytes"] = event.work.bytes;
  if (const int64_t operations = event.work.int8_operations + event.work.float_operations)
    args["operations"] = operations;
  return {{"ph", "X"},
          {"name", name(event.operation)},
          {"cat", event.operation == Operation::wait ? "wait" : "work"},
          {"pid", process},
          {"tid", thread},
          {"ts", microseconds(event.begin_ns + offset_ns)},
          {"dur", microseconds(event.end_ns - event.begin_ns)},
          {"args", args}};
}

}  // namespace

nlohmann::json trace_json(const std::vector<TracedProfile>& profiles) {
  nlohmann::json events = nlohmann::json::array();
  int64_t offset_ns = 0;
  for (size_t process = 0; process < profiles.size(); ++process) {
    const Profile& profile = *profiles[process].profile;
    events.push_back(metadata("process_name", process, 0, profiles[process].name));
    int64_t end_ns = 0;
    for (int thread = 0; thread < profile.threads(); ++thread) {
      events.push_back(metadata("thread_name", process, thread, fmt::format("thread {}", thread)));
      for (const Event& event : profile.events(thread)) {
        events.push_back(event_json(event, process, thread, offset_ns));
        end_ns = std::max(end_ns, event.end_ns);
      }
    }
    offset_ns += end_ns;
  }
  return {{"traceEvents", events}, {"displayTimeUnit", "ms"}};
}

}  // namespace whittle
