#include "bench/reports/soak_report.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <string_view>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"
#include "engine/kv_cache.h"

namespace whittle {
namespace {

using Show = std::function<std::string(double)>;

std::string signed_bytes(double bytes) {
  if (!std::isfinite(bytes)) return format_signed(bytes, 0);
  return (bytes < 0 ? "−" : "+") + format_bytes(std::abs(bytes));
}
std::string percent(double value) { return format_signed(value, 2) + " %"; }
std::string degrees(double value) { return format_signed(value, 1); }

std::string ends(const Interval& interval, const Show& show) {
  return std::isfinite(interval.low) ? fmt::format("{} to {}", show(interval.low), show(interval.high))
                                     : "unknown";
}

std::string_view judged(Verdict verdict) {
  return verdict == Verdict::undecided ? "inconclusive" : name(verdict);
}

nlohmann::json change_json(const Change& change) {
  return {{"mean", or_null(change.mean)},
          {"change", or_null(change.growth.mean)},
          {"change_ci95", bounds_json(change.growth)},
          {"slope_per_hour", or_null(3600 * change.slope.found.mean)},
          {"blocks", change.slope.blocks},
          {"autocorrelation", or_null(change.slope.autocorrelation)}};
}

nlohmann::json judged_json(const Change& change, double limit) {
  nlohmann::json json = change_json(change);
  json["limit"] = limit;
  json["verdict"] = name(change.verdict);
  return json;
}

}  // namespace

std::string soak_failure(const SoakReport& report) {
  if (report.changed_count)
    return fmt::format("{} of {} answers changed; the first: round {}, {}: {}", report.changed_count,
                       report.answers, report.changed.front().round, report.changed.front().kind,
                       report.changed.front().what);
  if (report.memory.verdict == Verdict::exceeded)
    return fmt::format("memory grew by {} ({}), limit {}", format_bytes(report.memory.growth.mean),
                       ends(report.memory.growth, signed_bytes),
                       format_bytes(report.options.max_growth_bytes));
  if (report.decode.verdict == Verdict::exceeded)
    return fmt::format("a token takes {} longer ({}), limit {} %", percent(report.decode.growth.mean),
                       ends(report.decode.growth, percent),
                       format_number(report.options.max_slowdown_percent));
  return "";
}

std::string soak_text(const std::string& model, const SoakReport& report) {
  Table table({{model, Align::left},
               {"mean", Align::right},
               {"change", Align::right},
               {"95 % interval", Align::right},
               {"limit", Align::right},
               {"verdict", Align::left}});
  table.add_row({"answers changed", "", std::to_string(report.changed_count), "", "0",
                 std::string(name(report.changed_count ? Verdict::exceeded : Verdict::kept))});
  const auto row = [&](const char* what, const Change& change, const Show& value, const Show& growth,
                       const std::string& limit) {
    if (std::isnan(change.mean)) return;
    table.add_row({what, value(change.mean), growth(change.growth.mean), ends(change.growth, growth), limit,
                   limit.empty() ? "" : std::string(judged(change.verdict))});
  };
  row("anonymous memory", report.memory, format_bytes, signed_bytes,
      format_bytes(report.options.max_growth_bytes));
  row(
      "time of a token", report.decode, [](double ms) { return format_seconds(1e-3 * ms); }, percent,
      format_number(report.options.max_slowdown_percent) + " %");
  row("clock, MHz", report.clock, format_number, degrees, "");
  row("temperature, °C", report.temperature, format_number, degrees, "");
  table.add_note(
      fmt::format("{} rounds, {} answers, {} tokens in {}{}; {} sequences, {} threads, {} KV cache",
                  report.rounds, report.answers, report.tokens, format_seconds(report.seconds),
                  report.interrupted ? ", when it was interrupted" : "", report.options.sequences,
                  report.threads, name(report.options.kv_cache)));
  if (report.points.empty())
    table.add_note("too short: rounds warm up until each session has met every kind of conversation");
  for (const ChangedAnswer& changed : report.changed)
    table.add_note(fmt::format("round {}, {}: {}", changed.round, changed.kind, changed.what));
  table.add_note(
      fmt::format("changes are from the beginning to the end: a line by least squares through the means of "
                  "{} stretches of "
                  "time, its interval widened where neighbours are alike",
                  report.memory.slope.blocks));
  if (report.memory.verdict == Verdict::undecided || report.decode.verdict == Verdict::undecided)
    table.add_note("inconclusive: the interval reaches beyond the limit; a longer run narrows it");
  return table.text();
}

nlohmann::json soak_json(const std::string& model, const SoakReport& report, const Fingerprint& fingerprint) {
  nlohmann::json changed = nlohmann::json::array(), points = nlohmann::json::array();
  for (const ChangedAnswer& answer : report.changed)
    changed.push_back({{"round", answer.round}, {"conversation", answer.kind}, {"difference", answer.what}});
  for (const SoakPoint& point : report.points)
    points.push_back({{"seconds", point.seconds},
                      {"rounds", point.rounds},
                      {"anonymous_bytes", or_null(point.anonymous_bytes)},
                      {"decode_ms_per_token", or_null(point.decode_ms)},
                      {"prefill_ms_per_token", or_null(point.prefill_ms)},
                      {"clock_mhz", or_null(point.clock_mhz)},
                      {"temperature_c", or_null(point.temperature_c)}});
  nlohmann::json json = report_header("soak", fingerprint);
  json["model"] = model;
  json["protocol"] = {{"minutes", report.options.minutes},
                      {"sequences", report.options.sequences},
                      {"threads", report.threads},
                      {"kv_cache", name(report.options.kv_cache)}};
  json["seconds"] = report.seconds;
  json["interrupted"] = report.interrupted;
  json["rounds"] = report.rounds;
  json["answers"] = report.answers;
  json["tokens"] = report.tokens;
  json["answers_changed"] = report.changed_count;
  json["changed"] = std::move(changed);
  json["anonymous_bytes"] = judged_json(report.memory, report.options.max_growth_bytes);
  json["decode_percent"] = judged_json(report.decode, report.options.max_slowdown_percent);
  json["clock_mhz"] = change_json(report.clock);
  json["temperature_c"] = change_json(report.temperature);
  json["passes"] = report.passes();
  json["points"] = std::move(points);
  return json;
}

}  // namespace whittle
