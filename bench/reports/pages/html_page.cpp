#include "bench/reports/pages/html_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "bench/reports/markup.h"

namespace whittle {
namespace {

constexpr size_t most_rows = 1000;

// System colours: light, dark, grey and printed alike.
constexpr const char* style = R"(
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 85rem; padding: 1rem }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin-top: 2.5rem; overflow-wrap: anywhere;
     border-bottom: 1px solid color-mix(in srgb, currentColor 40%, transparent) }
h3 { font-size: 1.05rem; overflow-wrap: anywhere }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem }
figure { margin: 0; min-width: 0 }
svg { display: block; width: 100%; max-width: 40rem; height: auto; font: 11px system-ui, sans-serif;
      fill: currentColor; overflow: visible }
svg .axis, svg .grid, svg .line, svg .mark, svg .interval { fill: none; stroke: currentColor }
svg .grid { opacity: 0.15 }
svg .line { stroke-width: 1.4 }
svg .mark { stroke-dasharray: 1 3 }
svg .dashed { stroke-dasharray: 7 3 }
svg .dotted { stroke-dasharray: 2 3 }
svg .dash-dot { stroke-dasharray: 8 3 2 3 }
svg .halo { paint-order: stroke; stroke: Canvas; stroke-width: 3px; stroke-linejoin: round }
svg .full { fill: currentColor; stroke: currentColor }
svg .open { fill: Canvas; stroke: currentColor; stroke-width: 1.2 }
.scroll { overflow: auto; max-height: 32rem }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums }
caption { text-align: left; padding: 0.5rem 0 }
th, td { padding: 0.25rem 0.6rem; text-align: right; vertical-align: top; white-space: nowrap;
         border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
th.name, td.name { text-align: left; white-space: normal; min-width: 8rem; overflow-wrap: anywhere }
thead th { white-space: normal }
th small { display: block; font-weight: normal }
li, p { overflow-wrap: anywhere }
@media print { .scroll { max-height: none; overflow: visible } }
)";

// Text, and in small letters what stands after its line break.
std::string cell_html(const std::string& text) {
  const size_t end = text.find('\n');
  if (end == text.npos) return html(text);
  return fmt::format("{}<br><small>{}</small>", html(text.substr(0, end)), html(text.substr(end + 1)));
}

// A number as tables show it; "–" where there is none.
std::string cell_number(double value) {
  if (!std::isfinite(value)) return "–";
  const bool whole = value == std::round(value) && std::abs(value) < 1e15;
  return whole || std::abs(value) >= 1e6 ? fmt::format("{:.0f}", value + 0.0) : fmt::format("{:.6g}", value);
}

std::string with_interval(double value, const PlotPoint& point) {
  const std::string text = cell_number(value);
  if (std::isnan(point.low) || std::isnan(point.high)) return text;
  return fmt::format("{}\n{} to {}", text, cell_number(point.low), cell_number(point.high));
}

std::string place_on(const PlotAxis& axis, double value, double until) {
  if (!axis.categories.empty()) {
    const bool is_one = value >= 0 && value < static_cast<double>(axis.categories.size());
    return is_one ? axis.categories[static_cast<size_t>(value)] : "–";
  }
  return std::isnan(until) ? cell_number(value)
                           : fmt::format("{} to {}", cell_number(value), cell_number(until));
}

// Without lines for the eye.
std::vector<PlotSeries> series_of(const Plot& plot) {
  std::vector<PlotSeries> named = plot.series;
  std::erase_if(named, [](const PlotSeries& series) { return series.name.empty(); });
  return named;
}

// A row a point: they have names, or are at places of their own.
HtmlTable table_of_points(const Plot& plot) {
  HtmlTable table{plot.title, {}, {}};
  const std::vector<PlotSeries> all = series_of(plot);
  const bool several = all.size() > 1;
  if (several) table.columns.push_back({"series", "", true});
  table.columns.push_back({"point", "", true});
  table.columns.push_back({plot.x.title});
  table.columns.push_back({plot.y.title});
  for (const PlotSeries& series : all)
    for (const PlotPoint& point : series.points) {
      std::vector<std::string> row;
      if (several) row.push_back(series.name);
      const std::string mark = point.mark.empty() ? "" : point.mark + " ";
      row.push_back(mark + (point.label.empty() ? series.name : point.label));
      row.push_back(place_on(plot.x, point.x, point.until));
      row.push_back(with_interval(point.y, point));
      table.rows.push_back(std::move(row));
    }
  return table;
}

}  // namespace

std::string table_html(const HtmlTable& table) {
  std::string out = fmt::format(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\">\n<table>\n"
      "<caption>{0}</caption>\n<thead><tr>",
      html(table.caption));
  const auto style_of = [&](size_t c) { return table.columns[c].text ? " class=\"name\"" : ""; };
  for (size_t c = 0; c < table.columns.size(); ++c) {
    const HtmlColumn& column = table.columns[c];
    out += fmt::format("<th scope=\"col\"{}>{}", style_of(c), html(column.header));
    if (!column.unit.empty()) out += fmt::format("<small>{}</small>", html(column.unit));
    out += "</th>";
  }
  out += "</tr></thead>\n<tbody>\n";
  for (size_t r = 0; r < std::min(most_rows, table.rows.size()); ++r) {
    out += "<tr>";
    for (size_t c = 0; c < table.rows[r].size(); ++c)
      out += c == 0 ? fmt::format("<th scope=\"row\"{}>{}</th>", style_of(c), cell_html(table.rows[r][c]))
                    : fmt::format("<td{}>{}</td>", style_of(c), cell_html(table.rows[r][c]));
    out += "</tr>\n";
  }
  out += "</tbody>\n</table>\n</div>\n";
  if (table.rows.size() > most_rows)
    out += fmt::format("<p>{} more rows are left out.</p>\n", table.rows.size() - most_rows);
  return out;
}

HtmlTable plot_table(const Plot& plot) {
  const bool rows_are_y = !plot.y.categories.empty();
  const std::vector<PlotSeries> all = series_of(plot);
  bool named = false;
  for (const PlotSeries& series : all)
    for (const PlotPoint& point : series.points) named = named || !point.mark.empty();
  if (named) return table_of_points(plot);

  const PlotAxis &places = rows_are_y ? plot.y : plot.x, &figures = rows_are_y ? plot.x : plot.y;
  HtmlTable table{plot.title, {{places.title, "", true}}, {}};
  // The place and where a bar ends, else −1 (bars are of times); none where there is no place.
  const auto key_of = [&](const PlotPoint& point) -> std::optional<std::pair<double, double>> {
    const double place = rows_are_y ? point.y : point.x;
    if (std::isnan(place)) return {};
    return std::pair{place, std::isnan(point.until) ? -1 : point.until};
  };
  std::vector<std::pair<double, double>> keys;
  for (const PlotSeries& series : all)
    for (const PlotPoint& point : series.points)
      if (const auto key = key_of(point)) keys.push_back(*key);
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (const auto& [place, until] : keys)
    table.rows.push_back({place_on(places, place, until == -1 ? no_value : until)});
  for (const PlotSeries& series : all) {
    const bool alone = all.size() == 1;
    table.columns.push_back(alone ? HtmlColumn{figures.title, series.name}
                                  : HtmlColumn{series.name, figures.title});
    std::vector<std::string> cells(keys.size(), "–");
    for (const PlotPoint& point : series.points) {
      const auto key = key_of(point);
      if (!key) continue;
      const auto row = static_cast<size_t>(std::ranges::lower_bound(keys, *key) - keys.begin());
      cells[row] = with_interval(rows_are_y ? point.x : point.y, point);
    }
    for (size_t r = 0; r < cells.size(); ++r) table.rows[r].push_back(cells[r]);
  }
  return table;
}

std::string picture_html(const Plot& plot, const std::string& id, int level) {
  std::string out = fmt::format("<figure>\n<figcaption><h{0}>{1}</h{0}></figcaption>\n{2}", level,
                                html(plot.title), plot_svg(plot, id));
  for (const auto& notes : {plot.notes, left_out_notes(plot)})
    for (const std::string& note : notes) out += fmt::format("<p>{}.</p>\n", html(note));
  return out + "</figure>\n";
}

std::string figure_html(const Plot& plot, const std::string& id, int level) {
  return fmt::format("<div>\n{}{}</div>\n", picture_html(plot, id, level), table_html(plot_table(plot)));
}

std::string html_page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n{2}</main>\n</body>\n</html>\n",
      html(title), style, body);
}

}  // namespace whittle
