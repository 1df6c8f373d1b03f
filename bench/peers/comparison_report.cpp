#include "bench/peers/comparison_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/speed_report.h"
#include "bench/reports/table.h"
#include "bench/statistics.h"
#include "engine/kv_cache.h"

namespace whittle {
namespace {

// In a peer's command, which is the same for all models but for this.
constexpr const char* any_model = "MODEL";

struct Phase {
  const char* name;
  PhasePair Pair::*figures;
  bool of_one_sequence;  // compared for one only
};
constexpr Phase phases[] = {{"prefill", &Pair::prefill, true}, {"decode", &Pair::decode, false}};

// Over a cell's kept pairs; not a number where no pair has the figure.
struct PhaseSummary {
  Spread ours, peer, ratio, of_limit;
};

Spread spread_if_any(const std::vector<double>& values) {
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  return values.empty() ? Spread{0, unknown, unknown, unknown, unknown} : spread(values);
}

PhaseSummary summarise(const ComparisonCell& cell, const Phase& phase) {
  std::vector<double> ours, peer, ratio, of_limit;
  for (const Pair& pair : cell.kept) {
    const PhasePair& figures = pair.*phase.figures;
    ours.push_back(figures.ours);
    of_limit.push_back(figures.ours_of_limit);
    if (!figures.peer) continue;
    peer.push_back(*figures.peer);
    ratio.push_back(figures.ours / *figures.peer);
  }
  return {spread_if_any(ours), spread_if_any(peer), spread_if_any(ratio), spread_if_any(of_limit)};
}

nlohmann::json phase_json(const PhaseSummary& summary) {
  return {{"ours_tokens_per_s", spread_json(summary.ours)},
          {"peer_tokens_per_s", spread_json(summary.peer)},
          {"ratio", spread_json(summary.ratio)},
          {"of_limit", spread_json(summary.of_limit)}};
}

nlohmann::json pair_json(const Pair& pair) {
  nlohmann::json json = {{"ours_first", pair.ours_first}};
  for (const ProbeReading& probe : pair.probes) {
    json["read_gb_per_s"].push_back(probe.read_gb_per_s);
    json["int8_gops"].push_back(probe.int8_gops);
  }
  for (const Phase& phase : phases) {
    const PhasePair& figures = pair.*phase.figures;
    json[phase.name] = {{"ours_tokens_per_s", figures.ours},
                        {"peer_tokens_per_s", or_null(figures.peer)},
                        {"of_limit", figures.ours_of_limit}};
  }
  return json;
}

nlohmann::json cell_json(const ComparisonCell& cell) {
  nlohmann::json json = {{"model", cell.model},     {"peer_model", cell.peer_model.string()},
                         {"peer", cell.peer},       {"kept", cell.kept.size()},
                         {"dropped", cell.dropped}, {"pairs", nlohmann::json::array()}};
  for (const Phase& phase : phases) json[phase.name] = phase_json(summarise(cell, phase));
  for (const Pair& pair : cell.kept) json["pairs"].push_back(pair_json(pair));
  return json;
}

std::string header(const Comparison& comparison, const MachineReport& machine) {
  const SpeedOptions& speed = comparison.options.speed;
  std::string text =
      fmt::format("{}, {} threads, {}: reads {}, int8 {}\n{}\n", machine.machine.cpu, comparison.threads,
                  machine.isa_chosen, format_rate(machine.limits.read_gb_per_s.median, "GB/s"),
                  format_rate(machine.limits.int8_gops.median, "GOPS"), workload_text(speed));
  for (const Peer& peer : comparison.options.peers)
    text += fmt::format("{}{}: {}\n", peer.name, peer.commit.empty() ? "" : ", commit " + peer.commit,
                        fmt::join(peer_command(peer, any_model, speed, comparison.threads), " "));
  return text + '\n';
}

// "–" where no pair says.
std::string ratio_text(const Spread& ratio) {
  return ratio.count ? fmt::format("{} ({}–{})", format_fixed(ratio.median, 2), format_fixed(ratio.min, 2),
                                   format_fixed(ratio.max, 2))
                     : "–";
}

std::string fraction_text(const Spread& fraction) {
  return fraction.count ? format_percent(fraction.median) : "–";
}

void add_notes(Table& table, const Comparison& comparison) {
  const ComparisonOptions& options = comparison.options;
  table.add_note(
      "tok/s: medians of the kept pairs; ×: Whittle's over the peer's, median (least–most) of their ratios");
  table.add_note("of limit: what Whittle reached of the probe beside it, arithmetic or read bandwidth");
  table.add_note(fmt::format("dropped: a probe changed by more than a factor of {} within the pair",
                             format_number(options.tolerance)));
  for (const Peer& peer : options.peers)
    if (const std::string_view remark = peer_kind(peer.program).remark; !remark.empty())
      table.add_note(fmt::format("{} {}", peer.name, remark));
  const auto short_of_pairs = [&](const ComparisonCell& cell) {
    return std::ssize(cell.kept) < options.pairs;
  };
  if (const auto few = std::ranges::count_if(comparison.cells, short_of_pairs))
    table.add_note(
        fmt::format("{} of {} comparisons have fewer than the {} pairs asked for: the machine was not steady",
                    few, comparison.cells.size(), options.pairs));
}

}  // namespace

std::string comparison_text(const Comparison& comparison, const MachineReport& machine) {
  Table table({{"model", Align::left},
               {"file", Align::left},
               {"peer", Align::left},
               {"", Align::left},
               {"Whittle tok/s"},
               {"peer tok/s"},
               {"×"},
               {"of limit"},
               {"kept/dropped"}});
  for (const ComparisonCell& cell : comparison.cells)
    for (const Phase& phase : phases) {
      if (phase.of_one_sequence && comparison.options.speed.sequences > 1) continue;
      const PhaseSummary found = summarise(cell, phase);
      table.add_row({cell.model, cell.peer_model.filename().string(), cell.peer, phase.name,
                     format_number(found.ours.median), format_number(found.peer.median),
                     ratio_text(found.ratio), fraction_text(found.of_limit),
                     fmt::format("{}/{}", cell.kept.size(), cell.dropped)});
    }
  add_notes(table, comparison);
  constexpr int64_t widest = 120;  // nine columns, two of them names
  return header(comparison, machine) + table.text(widest);
}

nlohmann::json comparison_json(const Comparison& comparison, const MachineReport& machine,
                               const Fingerprint& fingerprint) {
  const ComparisonOptions& options = comparison.options;
  nlohmann::json peers = nlohmann::json::array(), cells = nlohmann::json::array();
  for (const Peer& peer : options.peers)
    peers.push_back({{"name", peer.name},
                     {"commit", peer.commit.empty() ? nlohmann::json() : nlohmann::json(peer.commit)},
                     {"command", peer_command(peer, any_model, options.speed, comparison.threads)}});
  for (const ComparisonCell& cell : comparison.cells) cells.push_back(cell_json(cell));
  nlohmann::json json = report_header("compare-peers", fingerprint);
  json.update({{"machine", machine_json(machine)},
               {"protocol",
                {{"threads", comparison.threads},
                 {"isa", machine.isa_chosen},
                 {"prompt_tokens", options.speed.prompt_tokens},
                 {"gen_tokens", options.speed.gen_tokens},
                 {"sequences", options.speed.sequences},
                 {"kv_cache", name(options.speed.kv_cache)},
                 {"pairs", options.pairs},
                 {"tolerance", options.tolerance},
                 {"peers", peers}}},
               {"cells", cells}});
  return json;
}

}  // namespace whittle
