#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/reports/pages/pictures.h"
#include "bench/reports/report_values.h"

namespace whittle {
namespace {

constexpr double gigabyte = 1e9;

struct SpeedFigure {
  const char* key;
  const char* title;
};

}  // namespace

void add_estimate_pictures(const ReportGroup& group, Pictures& pictures) {
  Plot memory{.title = "Memory needed, and what is available",
              .description =
                  "What each format needs at its peak, once it runs, and on disk; the upright line is "
                  "the memory that is available.",
              .x = {.title = "GB", .from_zero = true},
              .y = {.title = "format"}};
  for (size_t r = 0; r < group.reports.size(); ++r) {
    const double available = number_at(group.reports[r]->json, "/memory_available_bytes") / gigabyte;
    if (std::isfinite(available))
      memory.lines.push_back({available, true, with_letter(group, r, "available")});
  }
  // Models far smaller than the memory would all stand at 0.
  double least = INFINITY, most = 0;
  for (const ReportItem& item : group.all("format").items)
    for (const nlohmann::json* format : item.in)
      if (format) least = std::min(least, number_at(*format, "/peak_rss_bytes") / gigabyte);
  for (const PlotLine& line : memory.lines) most = std::max(most, line.at);
  memory.x.logarithmic = least > 0 && most > 10 * least;

  RowPlot needs(std::move(memory), {"peak", "running", "files"});
  constexpr SpeedFigure speeds[] = {{"decode_tokens_per_s", "Estimated decode speed"},
                                    {"prefill_tokens_per_s", "Estimated prefill speed"}};
  for (const ReportItem& item : group.all("format").items)
    for (size_t r = 0; r < item.in.size(); ++r) {
      if (!item.in[r]) continue;
      const auto bytes = [&](const char* key) { return number_at(*item.in[r], key) / gigabyte; };
      const std::string fits = value_at(*item.in[r], "/fits") == false ? " (does not fit)" : "";
      needs.add_row(with_letter(group, r, item.name) + fits, {{.x = bytes("/peak_rss_bytes")},
                                                              {.x = bytes("/running_bytes"), .filled = false},
                                                              {.x = bytes("/file_bytes"), .filled = false}});
    }
  needs.add_to(pictures);
  for (const SpeedFigure& speed : speeds) {
    RowPlot rows({.title = speed.title,
                  .description = "With the least and the most of the rounds. More is better.",
                  .x = {.title = "tokens/s", .from_zero = true},
                  .y = {.title = "format"}},
                 {"estimate"});
    for (const ReportItem& item : group.all("format").items)
      for (size_t r = 0; r < item.in.size(); ++r) {
        if (!item.in[r]) continue;
        const Interval found = interval_at(*item.in[r], fmt::format("/{}_range", speed.key),
                                           number_at(*item.in[r], fmt::format("/{}", speed.key)));
        rows.add_row(with_letter(group, r, item.name),
                     {{.x = found.mean, .low = found.low, .high = found.high}});
      }
    rows.add_to(pictures);
  }
}

}  // namespace whittle
