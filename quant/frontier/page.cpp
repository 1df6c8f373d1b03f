#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "bench/reports/figures.h"
#include "bench/reports/markup.h"
#include "bench/reports/pages/frontier_plot.h"
#include "bench/reports/pages/html_page.h"
#include "bench/reports/table.h"
#include "quant/frontier/report.h"
#include "quant/frontier/standings.h"

namespace whittle {
namespace {

struct KindText {
  const char* symbol;
  const char* text;
};
// By RecipeKind.
constexpr KindText kinds[] = {{"◆", "the original"},
                              {"●", "fewer bits"},
                              {"■", "single weights pruned"},
                              {"▲", "parts of the model pruned"}};
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
  const FrontierTrade trade = {
      fmt::format("KL divergence and {}", axis.name),
      size ? "size on disk, MB (less is better)" : "decode speed, × original (more is better)",
      size ? " MB" : "×", size};
  std::vector<TradedRecipe> points;
  for (size_t i = 0; i < report.results.size(); ++i) {
    const RecipeResult& result = report.results[i];
    if (standing[i].compared)
      points.push_back({i, result.name, std::string(name(result.kind)),
                        size ? megabytes(result.disk_bytes) : result.decode_speedup.mean, result.kl.mean,
                        standing[i].on_frontier()});
  }
  return picture_html(frontier_plot(trade, points), fmt::format("chart-{}", axis.key), 2);
}

}  // namespace

std::string comparison_page(const FrontierReport& report) {
  const std::vector<std::vector<Standing>> all = standings(report.results);
  const std::string title = fmt::format("Size, speed and drift of {}", report.model);
  std::string page;
  for (size_t a = 0; a < axes().size(); ++a) page += verdict_html(report, all[a], axes()[a]);
  page += "<p>";
  for (const KindText& kind : kinds) page += fmt::format("{} {} &ensp; ", kind.symbol, kind.text);
  page += "filled: on the frontier, hollow: dominated.</p>\n<div class=\"charts\">\n";
  for (size_t a = 0; a < axes().size(); ++a) page += chart_html(report, all[a], a);
  page +=
      "</div>\n<h2>All figures</h2>\n" + table_html(report, all) + "<h2>How this was measured</h2>\n<ul>\n";
  for (const std::string& note : comparison_notes(report)) page += fmt::format("<li>{}.</li>\n", html(note));
  page += fmt::format("<li>whittle {}; this run took {}.</li>\n</ul>\n", html(report.version),
                      html(format_seconds(report.seconds)));
  return html_page(title, page);
}

}  // namespace whittle
