#include "bench/reports/estimate_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"
#include "bench/statistics.h"
#include "engine/kv_cache.h"
#include "kernels/kernel_table.h"

namespace whittle {
namespace {

std::string bytes_text(int64_t bytes) { return format_bytes(static_cast<double>(bytes)); }

double least(const std::vector<double>& values) { return *std::ranges::min_element(values); }
double most(const std::vector<double>& values) { return *std::ranges::max_element(values); }

struct Row {
  std::string name;
  std::function<std::string(const FormatEstimate&)> cell;
};

// A cell of what may not have been measured.
template <class Show>
std::function<std::string(const FormatEstimate&)> if_measured(Show show) {
  return
      [show](const FormatEstimate& format) { return format.speed ? show(*format.speed) : std::string("–"); };
}

std::string range(const std::vector<double>& values) {
  return fmt::format("{}–{}", format_number(least(values)), format_number(most(values)));
}

std::vector<Row> rows(const EstimateReport& report) {
  const PlannedWorkload& work = report.workload;
  const auto memory = [](int64_t MemoryNeed::*part) {
    return [part](const FormatEstimate& format) { return bytes_text(format.memory.*part); };
  };
  std::vector<Row> rows = {
      {"size in files", [](const FormatEstimate& format) { return bytes_text(format.file_bytes); }},
      {"memory to run",
       [](const FormatEstimate& format) { return bytes_text(format.memory.running_bytes()); }},
      {"  packed weights", memory(&MemoryNeed::weights_bytes)},
      {"  KV cache", memory(&MemoryNeed::kv_cache_bytes)},
      {"  scratch", memory(&MemoryNeed::scratch_bytes)},
      {"  program", memory(&MemoryNeed::process_bytes)},
      {"peak, loading too",
       [](const FormatEstimate& format) { return bytes_text(format.memory.peak_bytes()); }},
      {fmt::format("fits into {}", bytes_text(report.machine.memory_available_bytes)),
       [](const FormatEstimate& format) {
         return format.missing_bytes ? fmt::format("{} short", bytes_text(format.missing_bytes)) : "yes";
       }},
  };
  const bool any =
      std::ranges::any_of(report.formats, [](const auto& format) { return format.speed.has_value(); });
  if (!any) return rows;
  const std::vector<Row> measured = {
      {"decode, tok/s", if_measured([work](const SpeedEstimate& speed) {
         return format_number(speed.decode_estimate(work));
       })},
      {"  rounds", if_measured([](const SpeedEstimate& speed) { return range(speed.decode_tokens_per_s); })},
      {"  of the read bandwidth",
       if_measured([](const SpeedEstimate& speed) { return format_percent(median(speed.decode_fraction)); })},
      {"prefill, tok/s", if_measured([work](const SpeedEstimate& speed) {
         return format_number(speed.prefill_estimate(work));
       })},
      {"  rounds", if_measured([](const SpeedEstimate& speed) { return range(speed.prefill_tokens_per_s); })},
      {"  of the peak", if_measured([](const SpeedEstimate& speed) {
         return format_percent(median(speed.prefill_fraction)) + (speed.int8 ? " int8" : " fp32");
       })},
      {"time to first token", if_measured([work](const SpeedEstimate& speed) {
         return format_seconds(static_cast<double>(work.prompt_tokens) / speed.prefill_estimate(work));
       })},
      {"measured on", if_measured([](const SpeedEstimate& speed) {
         return speed.miniature_share > 0.999 ? std::string("all of it")
                                              : format_percent(speed.miniature_share);
       })},
  };
  rows.insert(rows.end(), measured.begin(), measured.end());
  return rows;
}

// Which formats fit, in a sentence.
std::string verdict(const EstimateReport& report) {
  std::vector<std::string> fit;
  const FormatEstimate* smallest = &report.formats.front();
  for (const FormatEstimate& format : report.formats) {
    if (!format.missing_bytes) fit.push_back(format.name);
    if (format.memory.peak_bytes() < smallest->memory.peak_bytes()) smallest = &format;
  }
  if (!fit.empty()) return fmt::format("{} fits here as {}", report.model, fmt::join(fit, ", "));
  return fmt::format("{} does not fit here: {} takes {}, {} more than there is", report.model, smallest->name,
                     bytes_text(smallest->memory.peak_bytes()), bytes_text(smallest->missing_bytes));
}

}  // namespace

std::string estimate_text(const EstimateReport& report) {
  std::vector<Column> columns = {{"", Align::left}};
  for (const FormatEstimate& format : report.formats) columns.push_back({format.name, Align::right});
  Table table(columns);
  for (const Row& row : rows(report)) {
    std::vector<std::string> cells = {row.name};
    for (const FormatEstimate& format : report.formats) cells.push_back(row.cell(format));
    table.add_row(std::move(cells));
  }
  const PlannedWorkload& work = report.workload;
  table.add_note(verdict(report));
  table.add_note(
      fmt::format("{} parameters; context of {}, prompt of {}, {} sequence{}, {} KV cache, {} threads",
                  report.parameters, work.context, work.prompt_tokens, work.sequences,
                  work.sequences == 1 ? "" : "s", name(work.kv_cache), work.threads));
  if (std::ranges::any_of(report.formats,
                          [](const FormatEstimate& format) { return format.speed.has_value(); }))
    table.add_note(
        "speed: from a part of the model with random weights, run here just now; rounds: the least and the "
        "most, "
        "which says how steady this machine was");
  return table.text();
}

nlohmann::json estimate_json(const EstimateReport& report, const Fingerprint& fingerprint) {
  const PlannedWorkload& work = report.workload;
  nlohmann::json formats = nlohmann::json::array();
  for (const FormatEstimate& format : report.formats) {
    const MemoryNeed& memory = format.memory;
    nlohmann::json json = {{"name", format.name},
                           {"file_bytes", format.file_bytes},
                           {"peak_rss_bytes", memory.peak_bytes()},
                           {"running_bytes", memory.running_bytes()},
                           {"weights_bytes", memory.weights_bytes},
                           {"kv_cache_bytes", memory.kv_cache_bytes},
                           {"scratch_bytes", memory.scratch_bytes},
                           {"loading_bytes", memory.loading_bytes},
                           {"process_bytes", memory.process_bytes},
                           {"fits", format.missing_bytes == 0},
                           {"missing_bytes", format.missing_bytes}};
    const std::optional<SpeedEstimate>& speed = format.speed;
    const auto figure = [&](const char* key, const auto& value) {
      json[key] = speed ? or_null(value(*speed)) : nlohmann::json(nullptr);
    };
    const auto ends = [&](const char* key, std::vector<double> SpeedEstimate::*values) {
      json[key] =
          speed ? nlohmann::json::array({or_null(least((*speed).*values)), or_null(most((*speed).*values))})
                : nlohmann::json(nullptr);
    };
    figure("decode_tokens_per_s", [&](const SpeedEstimate& s) { return s.decode_estimate(work); });
    ends("decode_tokens_per_s_range", &SpeedEstimate::decode_tokens_per_s);
    figure("decode_bytes_per_token", [](const SpeedEstimate& s) { return s.decode_bytes; });
    figure("decode_bandwidth_fraction", [](const SpeedEstimate& s) { return median(s.decode_fraction); });
    figure("prefill_tokens_per_s", [&](const SpeedEstimate& s) { return s.prefill_estimate(work); });
    ends("prefill_tokens_per_s_range", &SpeedEstimate::prefill_tokens_per_s);
    figure("prefill_fraction", [](const SpeedEstimate& s) { return median(s.prefill_fraction); });
    figure("ttft_ms", [&](const SpeedEstimate& s) {
      return 1e3 * static_cast<double>(work.prompt_tokens) / s.prefill_estimate(work);
    });
    figure("adjacent_read_gb_per_s", [](const SpeedEstimate& s) { return median(s.read_gb_per_s); });
    figure("adjacent_arithmetic_gops", [](const SpeedEstimate& s) { return median(s.arithmetic_gops); });
    figure("miniature_share", [](const SpeedEstimate& s) { return s.miniature_share; });
    formats.push_back(std::move(json));
  }
  nlohmann::json json = report_header("estimate", fingerprint);
  json["model"] = report.model;
  json["parameters"] = report.parameters;
  json["cpu"] = report.machine.cpu;
  json["isa"] = kernels().name;
  json["memory_available_bytes"] = report.machine.memory_available_bytes;
  json["protocol"] = {{"threads", work.threads},
                      {"context", work.context},
                      {"prompt_tokens", work.prompt_tokens},
                      {"sequences", work.sequences},
                      {"kv_cache", name(work.kv_cache)}};
  json["formats"] = std::move(formats);
  return json;
}

}  // namespace whittle
