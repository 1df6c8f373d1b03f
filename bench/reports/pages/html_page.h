#pragma once
// HTML pages that need nothing else: no network, no script. Readable on a telephone, in grey, printed, and
// read out.

#include <cstdint>
#include <string>
#include <vector>

#include "bench/reports/pages/plot.h"

namespace whittle {

struct HtmlColumn {
  std::string header;
  std::string unit = {};  // in small letters below it
  bool text = false;      // words, which stand to the left and may be wrapped; else numbers
};

// Cells are text, not markup; what stands after a line break is written small. The first cell of a row names
// it.
struct HtmlTable {
  std::string caption;
  std::vector<HtmlColumn> columns;
  std::vector<std::vector<std::string>> rows;
};

// At most 1000 rows, and a sentence on how many are left out.
std::string table_html(const HtmlTable& table);

// The numbers of a picture: a row a place on the axis and a column a series where that is all, else a row a
// point.
HtmlTable plot_table(const Plot& plot);

// The picture, its notes and its table, with a heading of the level.
std::string figure_html(const Plot& plot, const std::string& id, int level);
// The picture without the table, for pages that have one of all pictures.
std::string picture_html(const Plot& plot, const std::string& id, int level);

// A page of `body`, markup, below a heading of `title`, text.
std::string html_page(const std::string& title, const std::string& body);

}  // namespace whittle
