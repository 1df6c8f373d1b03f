#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "bench/reports/figures.h"
#include "bench/reports/table.h"
#include "quant/frontier/chart.h"
#include "quant/frontier/report.h"
#include "quant/frontier/standings.h"

namespace whittle {
namespace {

// System colours: light, dark, grey and printed alike.
constexpr const char* style = R"(
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 85rem; padding: 1rem }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { font-size: 1.15rem }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem }
figure { margin: 0 }
svg { display: block; width: 100%; max-width: 40rem; height: auto; font: 11px system-ui, sans-serif;
      fill: currentColor; overflow: visible }
svg .axis, svg .grid, svg .frontier { fill: none; stroke: currentColor }
svg .grid { opacity: 0.15 }
svg .frontier { stroke-dasharray: 4 3; opacity: 0.7 }
svg .best { fill: currentColor; stroke: currentColor }
svg .beaten { fill: Canvas; stroke: currentColor; stroke-width: 1.2 }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums }
caption { text-align: left; padding-bottom: 0.5rem }
th, td { padding: 0.25rem 0.6rem; text-align: right; vertical-align: top; white-space: nowrap;
         border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
th.name, td.name { text-align: left; white-space: normal; min-width: 9rem }
th small { display: block; font-weight: normal }
li, p { overflow-wrap: anywhere }
)";

struct KindText {
  char shape;
  const char* symbol;
  const char* text;
};
// By RecipeKind.
constexpr KindText kinds[] = {{'d', "◆", "the original"},
                              {'o', "●", "fewer bits"},
                              {'s', "■", "single weights pruned"},
                              {'t', "▲", "parts of the model pruned"}};
const KindText& of(RecipeKind kind) { return kinds[static_cast<size_t>(kind)]; }

double megabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

// The bounds of an interval in small letters under its middle.
std::string with_bounds(const Interval& interval, int digits) {
  std::string cell = format_fixed(interval.mean, digits);
  if (std::isfinite(interval.low) && std::isfinite(interval.high))
    cell += fmt::format("<br><small>{} to {}</small>", format_fixed(interval.low, digits),
                        format_fixed(interval.high, digits));
  return cell;
}

struct ColumnOfPage {
  const char* header;
  const char* unit;
  std::function<std::string(const RecipeResult&)> cell;
};

std::vector<ColumnOfPage> columns() {
  using R = const RecipeResult&;
  const auto fixed = [](double RecipeResult::*value, int digits, double factor = 1) {
    return [=](R result) { return format_fixed(factor * result.*value, digits); };
  };
  const auto bounds = [](Interval RecipeResult::*value, int digits) {
    return [=](R result) { return with_bounds(result.*value, digits); };
  };
  const auto size = [](int64_t RecipeResult::*value) {
    return [=](R result) { return format_fixed(megabytes(result.*value), 2); };
  };
  // What decides comes first: the rest may lie beyond the edge of a screen.
  return {{"size on disk", "MB", size(&RecipeResult::disk_bytes)},
          {"bits", "a weight", fixed(&RecipeResult::bits_per_weight, 2)},
          {"KL", "nats a token, 95 %", bounds(&RecipeResult::kl, 5)},
          {"same top token", "%", fixed(&RecipeResult::same_top_percent, 2)},
          {"decode", "× original, 95 %", bounds(&RecipeResult::decode_speedup, 2)},
          {"prefill", "× original, 95 %", bounds(&RecipeResult::prefill_speedup, 2)},
          {"peak memory", "MB", size(&RecipeResult::peak_rss_bytes)},
          {"perplexity", "", fixed(&RecipeResult::perplexity, 4)},
          {"perplexity", "+ %, 95 %", bounds(&RecipeResult::perplexity_increase_percent, 2)},
          {"bits", "an original weight", fixed(&RecipeResult::bits_per_original_weight, 2)},
          {"decode", "tokens/s", fixed(&RecipeResult::decode_tokens_per_s, 1)},
          {"decode", "% of read probe", fixed(&RecipeResult::decode_probe_fraction, 1, 100)},
          {"prefill", "tokens/s", fixed(&RecipeResult::prefill_tokens_per_s, 0)},
          {"prefill", "% of arithmetic probe", [](R result) {
             return format_fixed(100 * result.prefill_probe_fraction, 1) + (result.int8 ? " int8" : " fp32");
           }}};
}

std::string standing_text(const FrontierReport& report, const Standing& standing) {
  if (!standing.compared) return "–";
  if (!standing.dominator) return "on the frontier";
  return fmt::format("by {} {}", *standing.dominator, html(report.results[*standing.dominator].name));
}

std::string table_html(const FrontierReport& report, const std::vector<std::vector<Standing>>& all) {
  const std::vector<ColumnOfPage> cells = columns();
  std::string out =
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"All figures\">\n<table>\n"
      "<caption>Every recipe; numbers are those of the charts.</caption>\n<thead><tr>"
      "<th scope=\"col\">#</th><th scope=\"col\" class=\"name\">recipe</th>";
  for (const Axis& axis : axes())
    out += fmt::format("<th scope=\"col\" class=\"name\">dominated<small>KL and {}</small></th>", axis.name);
  for (const ColumnOfPage& column : cells)
    out += fmt::format("<th scope=\"col\">{}<small>{}</small></th>", column.header, column.unit);
  out += "</tr></thead>\n<tbody>\n";
  for (size_t i = 0; i < report.results.size(); ++i) {
    const RecipeResult& result = report.results[i];
    out += fmt::format("<tr><td>{}</td><th scope=\"row\" class=\"name\">{} {}<small>{}</small></th>", i,
                       of(result.kind).symbol, html(result.name), html(result.recipe));
    if (!result.measured()) {
      out += fmt::format("<td class=\"name\" colspan=\"{}\">{}: {}</td></tr>\n", cells.size() + axes().size(),
                         name(result.status), html(result.reason));
      continue;
    }
    for (size_t a = 0; a < axes().size(); ++a)
      out += fmt::format("<td class=\"name\">{}</td>", standing_text(report, all[a][i]));
    for (const ColumnOfPage& column : cells) out += fmt::format("<td>{}</td>", column.cell(result));
    out += "</tr>\n";
  }
  return out + "</tbody>\n</table>\n</div>\n";
}

// How many of those that prune nothing dominates, and which.
std::string verdict_html(const FrontierReport& report, const std::vector<Standing>& standing,
                         const Axis& axis) {
  std::string best;
  int64_t pruned = 0, kept = 0;
  for (size_t i = 0; i < report.results.size(); ++i) {
    const RecipeResult& result = report.results[i];
    const bool prunes = result.kind == RecipeKind::sparse || result.kind == RecipeKind::parts;
    pruned += prunes && standing[i].compared;
    kept += prunes && standing[i].on_frontier();
    if (standing[i].on_frontier())
      best += fmt::format("{}{} {}", best.empty() ? "" : ", ", i, html(result.name));
  }
  return fmt::format(
      "<p><strong>KL and {}:</strong> on the frontier {}. Recipes that prune: {} of {} on it.</p>\n",
      axis.name, best.empty() ? "nothing" : best, kept, pruned);
}

std::string chart_html(const FrontierReport& report, const std::vector<Standing>& standing, size_t a) {
  const Axis& axis = axes()[a];
  const bool size = axis.key == "size";
  Chart chart;
  chart.id = fmt::format("chart-{}", axis.key);
  chart.title = fmt::format("KL divergence and {}", axis.name);
  chart.x_title = size ? "size on disk, MB (less is better)" : "decode speed, × original (more is better)";
  chart.less_is_better = size;
  chart.description = "The lower, the less is lost. On the frontier:";
  for (size_t i = 0; i < report.results.size(); ++i) {
    const RecipeResult& result = report.results[i];
    const double x = size ? megabytes(result.disk_bytes) : result.decode_speedup.mean;
    if (!standing[i].compared || !std::isfinite(x) || !std::isfinite(result.kl.mean)) continue;
    const std::string figures = size ? fmt::format("{:.2f} MB, KL {}", x, format_number(result.kl.mean))
                                     : fmt::format("{:.2f}×, KL {}", x, format_number(result.kl.mean));
    chart.points.push_back({i, fmt::format("{}: {}", result.name, figures), x, result.kl.mean,
                            of(result.kind).shape, standing[i].on_frontier()});
    if (standing[i].on_frontier()) chart.description += fmt::format(" {} ({});", result.name, figures);
  }
  chart.description += " the table has all figures.";
  return fmt::format("<figure>\n<figcaption><h2>{}</h2></figcaption>\n{}</figure>\n", html(chart.title),
                     chart_svg(chart));
}

}  // namespace

std::string comparison_page(const FrontierReport& report) {
  const std::vector<std::vector<Standing>> all = standings(report.results);
  const std::string title = fmt::format("Size, speed and drift of {}", html(report.model));
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
      title, style);
  for (size_t a = 0; a < axes().size(); ++a) page += verdict_html(report, all[a], axes()[a]);
  page += "<p>";
  for (const KindText& kind : kinds) page += fmt::format("{} {} &ensp; ", kind.symbol, kind.text);
  page += "filled: on the frontier, hollow: dominated.</p>\n<div class=\"charts\">\n";
  for (size_t a = 0; a < axes().size(); ++a) page += chart_html(report, all[a], a);
  page +=
      "</div>\n<h2>All figures</h2>\n" + table_html(report, all) + "<h2>How this was measured</h2>\n<ul>\n";
  for (const std::string& note : comparison_notes(report)) page += fmt::format("<li>{}.</li>\n", html(note));
  return page + fmt::format("<li>whittle {}; this run took {}.</li>\n</ul>\n</main>\n</body>\n</html>\n",
                            html(report.version), html(format_seconds(report.seconds)));
}

}  // namespace whittle
