#include "bench/reports/pages/plot.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <random>
#include <set>

#include "bench/reports/pages/html_page.h"
#include "tests/support/markup.h"

using namespace whittle;
using test::count;
using test::is_well_formed;

namespace {

Plot plot_of(std::vector<PlotPoint> points, bool logarithmic = false) {
  return {.title = "t",
          .description = "d",
          .x = {.title = "x"},
          .y = {.title = "y", .logarithmic = logarithmic},
          .series = {{"s", Marker::circle, Stroke::solid, std::move(points)}}};
}

// The middles of all circles.
std::vector<std::pair<double, double>> circles(const std::string& svg) {
  std::vector<std::pair<double, double>> found;
  for (size_t at = svg.find("<circle cx=\""); at != svg.npos; at = svg.find("<circle cx=\"", at + 1)) {
    double x = 0, y = 0;
    REQUIRE(std::sscanf(svg.c_str() + at, "<circle cx=\"%lf\" cy=\"%lf\"", &x, &y) == 2);
    found.emplace_back(x, y);
  }
  return found;
}

}  // namespace

TEST_CASE("Ticks cover the values at round numbers, not too many, in order and within the axis") {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> exponent(-12, 12), part(0, 1);
  std::vector<std::pair<double, double>> ranges = {
      {0, 0},     {1, 1},         {-3, -3},        {0, 1e-9},  {1e15, 1e15 + 8},
      {-5, 1e-3}, {1e200, 1e250}, {-1e280, 1e280}, {0.3, 0.7}, {7, 7.0000001}};
  for (int i = 0; i < 300; ++i) {
    const double a = std::pow(10, exponent(random)), b = a * (1 + std::pow(10, exponent(random)));
    ranges.emplace_back(i % 2 ? a : -a * part(random), b);
  }
  for (const auto& [least, most] : ranges)
    for (const bool logarithmic : {false, true}) {
      if (logarithmic && least <= 0) continue;
      INFO(least << " to " << most << (logarithmic ? ", logarithmic" : ""));
      const std::vector<double> values = {most, least};
      const PlotScale scale({.title = "", .logarithmic = logarithmic}, values, 300, 100);
      const std::vector<PlotTick>& ticks = scale.ticks();
      REQUIRE(ticks.size() >= 2);
      CHECK(ticks.size() <= 14);
      const double close = 1e-6 * std::max(std::abs(least), std::abs(most));
      CHECK(ticks.front().value <= least + close);
      CHECK(ticks.back().value >= most - close);
      for (size_t i = 0; i < ticks.size(); ++i) {
        CHECK(scale.at(ticks[i].value) <= 300 + 1e-6);
        CHECK(scale.at(ticks[i].value) >= 100 - 1e-6);
        if (i > 0) CHECK(ticks[i].value > ticks[i - 1].value);
        if (i > 0) CHECK(scale.at(ticks[i].value) < scale.at(ticks[i - 1].value));
        CHECK(std::abs(std::stod(ticks[i].text) - ticks[i].value) <=
              1e-5 * std::max(std::abs(ticks[i].value), std::abs(ticks.back().value - ticks[0].value)));
      }
    }
}

TEST_CASE("Nothing, one point and what is no number make a picture") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const bool logarithmic : {false, true})
    for (const std::vector<PlotPoint>& points : {std::vector<PlotPoint>{},
                                                 {{.x = 1, .y = 1}},
                                                 {{.x = 0, .y = 0}},
                                                 {{.x = NAN, .y = 1}},
                                                 {{.x = 1, .y = infinity}},
                                                 {{.x = -1, .y = -1}, {.x = 1e308, .y = 1e308}},
                                                 {{.x = 1, .y = 2, .low = NAN, .high = 3}},
                                                 {{.x = 1, .y = 2, .low = -infinity, .high = infinity}}}) {
      const std::string page = figure_html(plot_of(points, logarithmic), "f", 2);
      INFO(page);
      CHECK(is_well_formed(page));
      for (const char* bad : {"nan", "inf", "e+308\""}) CHECK(page.find(bad) == page.npos);
    }
  CHECK(is_well_formed(
      figure_html({.title = "t", .description = "d", .x = {}, .y = {}, .series = {}}, "f", 2)));
}

TEST_CASE("A picture has a title and a description that it is read out by, and a table of its numbers") {
  Plot plot = plot_of({{.x = 1, .y = 20.5}, {.x = 2, .y = 31.25}});
  plot.title = "<b>Speed & size</b>";
  plot.series.push_back({"other <i>", Marker::square, Stroke::dashed, {{.x = 2, .y = 7.125}}});
  const std::string page = figure_html(plot, "f1", 3);
  CHECK(is_well_formed(page));
  CHECK(page.find("aria-labelledby=\"f1-title f1-desc\"") != page.npos);
  CHECK(page.find("<title id=\"f1-title\">&lt;b&gt;Speed &amp; size&lt;/b&gt;</title>") != page.npos);
  CHECK(page.find("<desc id=\"f1-desc\">") != page.npos);
  CHECK(page.find("<i>") == page.npos);
  CHECK(count(page, "<th scope=\"col\"") == 3);
  CHECK(count(page, "<th scope=\"row\"") == 2);
  CHECK(count(page, "<caption>") == 1);
  for (const char* number : {">20.5<", ">31.25<", ">7.125<", ">–<"}) CHECK(page.find(number) != page.npos);
  for (const char* colour : {"#0", "#f", "rgb(", ": red"}) CHECK(page.find(colour) == page.npos);
}

TEST_CASE("Points and their letters lie within the picture and do not cover each other") {
  std::vector<PlotPoint> points;
  for (int i = 0; i < 20; ++i)
    points.push_back({.x = 5 + 0.01 * (i % 4), .y = 0.001 * i, .mark = std::to_string(i)});
  const std::string svg = plot_svg(plot_of(points), "f");
  const auto found = circles(svg);
  CHECK(found.size() == 20);
  for (const auto& [x, y] : found) CHECK((x > 0 && x < 400 && y > 0 && y < 310));
}

TEST_CASE("Series in rows, bars and lines across stay within the picture") {
  Plot plot = plot_of({});
  plot.y.categories = {"a", std::string(200, 'b'), "c"};
  for (size_t s = 0; s < 3; ++s) {
    plot.series.push_back({"s", marker_of(0), Stroke::none, {}});
    for (int row = 0; row < 3; ++row)
      plot.series.back().points.push_back(
          {.x = 10.0 * row, .y = double(row), .low = 10.0 * row - 3, .high = 40});
  }
  plot.lines = {{35, true, "limit"}, {-20, true, std::string(100, 'l')}};
  const std::string svg = plot_svg(plot, "f");
  CHECK(is_well_formed(svg));
  std::set<double> rows;
  for (const auto& [x, y] : circles(svg)) {
    CHECK((x > 0 && x < 400));
    if (y < 125) rows.insert(y);  // the legend is below
  }
  CHECK(rows.size() == 9);  // three series beside each other in three rows
}

TEST_CASE(
    "Of a hundred thousand points the picture keeps the extremes, the table is cut, and both are said") {
  std::vector<PlotPoint> points;
  for (int i = 0; i < 100000; ++i)
    points.push_back({.x = double(i), .y = i == 77777 ? 1000.0 : std::sin(i * 0.001)});
  const std::string page = figure_html(plot_of(points), "f", 2);
  CHECK(page.size() < 300000);
  CHECK(count(page, "<circle") <= 400);
  double highest = 1e9;
  for (const auto& [x, y] : circles(page)) highest = std::min(highest, y);
  CHECK(highest == Approx(14).margin(1));  // the spike's
  CHECK(page.find("99000 more rows are left out") != page.npos);
  CHECK(page.find("lowest and the highest") != page.npos);
  Plot many = plot_of({});
  for (int i = 0; i < 50; ++i)
    many.series.push_back({"s", Marker::circle, Stroke::none, {{.x = 1, .y = 1.0 * i}}});
  CHECK(figure_html(many, "f", 2).find("first 12 of 51 series") != std::string::npos);
}
