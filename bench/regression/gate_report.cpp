#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "bench/regression/regression_gate.h"
#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/markup.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

std::string figure(const Check& check, double value) {
  if (std::isnan(value)) return "";
  if (check.unit == "bytes") return format_bytes(value);
  return format_general(value);
}

std::string in_unit(const std::string& value, const std::string& unit) {
  return value.empty() || unit.empty() ? value : fmt::format("{} {}", value, unit);
}

// Of the change, and what it may be.
std::string change_text(const Check& check) {
  if (std::isnan(check.change.mean)) return "";
  return in_unit(format_signed(check.change.mean, check.change_unit == "nats" ? 6 : 2), check.change_unit);
}
std::string budget_text(const Check& check) {
  if (std::isnan(check.budget)) return "";
  return in_unit(check.change_unit == "nats" ? format_fixed(check.budget, 6) : format_number(check.budget),
                 check.change_unit);
}

std::string title(const GateReport& report) {
  return fmt::format("{}: {}", name(report.outcome()), report.model);
}

// Who made the baseline what it is.
std::string stored_text(const GateChange& stored) {
  if (stored.time.empty()) return "";
  return fmt::format("compared with what was stored {} by {}: {} ({})", stored.time, stored.by, stored.reason,
                     stored.program);
}

std::string suspects_text(const GateReport& report) {
  return fmt::format("{}", fmt::join(report.suspects, "; "));
}

std::string speed_text(const GateReport& report) {
  const SpeedRecord& before = report.speed_before;
  if (before.decode_fraction.empty()) return "";
  return fmt::format("stored speed, of the probes beside it: prefill {}, decode {}",
                     format_percent(median(before.prefill_fraction)),
                     format_percent(median(before.decode_fraction)));
}

}  // namespace

nlohmann::json gate_report_json(const GateReport& report) {
  nlohmann::json json = report_header("gate", report.fingerprint);
  json["model"] = report.model;
  json["outcome"] = name(report.outcome());
  json["inputs"] = gate_inputs_json(report.inputs);
  json["stored"] = {{"time", report.stored.time},
                    {"by", report.stored.by},
                    {"reason", report.stored.reason},
                    {"program", report.stored.program}};
  json["suspects"] = report.suspects;
  json["checks"] = nlohmann::json::array();
  for (const Check& check : report.checks)
    json["checks"].push_back({{"name", check.name},
                              {"outcome", name(check.outcome)},
                              {"unit", check.unit},
                              {"before", or_null(check.before)},
                              {"now", or_null(check.now)},
                              {"change_unit", check.change_unit},
                              {"change", or_null(check.change.mean)},
                              {"change_interval", bounds_json(check.change)},
                              {"budget", or_null(check.budget)},
                              {"p_value", or_null(check.p_value)},
                              {"reason", check.reason}});
  json["speed"] = nullptr;
  if (report.speed) {
    json["speed"] = {{"threads", report.speed->threads},
                     {"rounds", report.speed->rounds},
                     {"dropped_rounds", report.speed->dropped_rounds},
                     {"turns", report.speed->turns}};
    for (const PairedPhase* phase : {&report.speed->prefill, &report.speed->decode})
      json["speed"][phase->name] = {{"log_time_ratio", phase->change}, {"control", phase->control}};
  }
  return json;
}

std::string gate_report_text(const GateReport& report) {
  Table table(
      {{"check", Align::left}, {"outcome", Align::left}, {"before"}, {"now"}, {"worse by"}, {"budget"}});
  for (const Check& check : report.checks)
    table.add_row({in_unit(check.name, check.unit == "bytes" ? "" : check.unit),
                   std::string(name(check.outcome)), figure(check, check.before), figure(check, check.now),
                   change_text(check), budget_text(check)});
  for (const Check& check : report.checks)
    if (check.outcome != Outcome::pass || !check.compared())
      table.add_note(fmt::format("{}: {}", check.name, check.reason));
  if (!report.suspects.empty()) table.add_note("where it grew: " + suspects_text(report));
  for (const std::string& note : {speed_text(report), stored_text(report.stored)})
    if (!note.empty()) table.add_note(note);
  table.add_note(title(report));
  return table.text();
}

std::string gate_report_markdown(const GateReport& report) {
  std::string text = fmt::format("### Gate: {}\n\n", markdown(title(report)));
  text += "| check | outcome | before | now | found |\n|---|---|---|---|---|\n";
  for (const Check& check : report.checks)
    text += fmt::format("| {} | {} | {} | {} | {} |\n", markdown(check.name),
                        check.outcome == Outcome::regression ? "**regression**" : name(check.outcome),
                        markdown(figure(check, check.before)), markdown(figure(check, check.now)),
                        markdown(check.reason));
  if (!report.suspects.empty()) text += fmt::format("\nWhere it grew: {}\n", markdown(suspects_text(report)));
  for (const std::string& note : {speed_text(report), stored_text(report.stored)})
    if (!note.empty()) text += fmt::format("\n{}\n", markdown(note));
  return text;
}

std::string gate_report_junit(const GateReport& report) {
  const auto count = [&](auto outcomes) { return std::ranges::count_if(report.checks, outcomes); };
  const auto is_error = [](const Check& check) {
    return check.outcome == Outcome::inconclusive || check.outcome == Outcome::incomparable;
  };
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"whittle gate\" tests=\"{}\" "
      "failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
      report.checks.size(), count([](const Check& check) { return check.outcome == Outcome::regression; }),
      count(is_error), count([](const Check& check) { return check.outcome == Outcome::not_judged; }));
  for (const Check& check : report.checks) {
    text += fmt::format("  <testcase classname=\"{}\" name=\"{}\"", html(report.model), html(check.name));
    if (check.outcome == Outcome::pass) {
      text += "/>\n";
      continue;
    }
    const char* element = check.outcome == Outcome::not_judged ? "skipped"
                          : is_error(check)                    ? "error"
                                                               : "failure";
    text += fmt::format(">\n    <{} message=\"{}: {}\"/>\n  </testcase>\n", element, name(check.outcome),
                        html(check.reason));
  }
  return text + "</testsuite>\n";
}

}  // namespace whittle
