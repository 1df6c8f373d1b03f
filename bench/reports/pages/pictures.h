#pragma once
// What a page shows of each kind of report besides its figures: pictures, and tables that no figure is in.

#include <string>
#include <string_view>
#include <vector>

#include "bench/reports/compare/comparison.h"
#include "bench/reports/pages/html_page.h"
#include "bench/reports/pages/plot.h"

namespace whittle {

struct Pictures {
  std::vector<Plot> plots;
  std::vector<HtmlTable> tables;
  std::vector<std::string> notes;  // a sentence each
};

// Of all reports of a group; empty where its kind has none. Any key may be missing.
Pictures pictures_of(const ReportGroup& group);

// One a file:
void add_latency_pictures(const ReportGroup& group, Pictures& pictures);
void add_throughput_pictures(const ReportGroup& group, Pictures& pictures);
void add_rooflines(const ReportGroup& group, Pictures& pictures);
void add_drift_pictures(const ReportGroup& group, Pictures& pictures);
void add_task_pictures(const ReportGroup& group, Pictures& pictures);
void add_gate_pictures(const ReportGroup& group, Pictures& pictures);
void add_estimate_pictures(const ReportGroup& group, Pictures& pictures);
void add_soak_pictures(const ReportGroup& group, Pictures& pictures);
void add_frontier_pictures(const ReportGroup& group, Pictures& pictures);

// "A model-int8", or the latter alone where there is one report only.
std::string with_letter(const ReportGroup& group, size_t report, const std::string& text);

// How many of a kind of picture, and of rows in one, a page shows.
inline constexpr size_t most_pictures = 6, most_picture_rows = 30;

// A row an item and report: series of points with intervals. Built row by row.
class RowPlot {
 public:
  RowPlot(Plot plot, std::vector<std::string> series);  // names of the series, each with a shape of its own
  // `values`: one a series.
  void add_row(const std::string& name, const std::vector<PlotPoint>& values);
  // Nothing where no value is finite.
  void add_to(Pictures& pictures) const;

 private:
  Plot plot_;
  size_t left_out_ = 0;
};

}  // namespace whittle
