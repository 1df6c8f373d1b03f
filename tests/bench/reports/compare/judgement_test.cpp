#include "bench/reports/compare/judgement.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "tests/support/sample_reports.h"

using namespace whittle;
using nlohmann::json;

namespace {

// An item with this figure, known as well as the figure's kind allows, or not at all.
json item_with(const FigureSpec& figure, double value, bool certain) {
  json item;
  item[json::json_pointer(figure.path)] = value;
  const double off = certain ? 0.001 : 10;
  if (!figure.interval.empty()) item[json::json_pointer(figure.interval)] = {value - off, value + off};
  if (!figure.range.empty()) item[json::json_pointer(figure.range)] = {value - off, value + off};
  if (!figure.samples.empty())
    for (int i = 0; i < 5; ++i)
      item[json::json_pointer(figure.samples)].push_back(value *
                                                         (certain ? 1 + 0.001 * i : std::pow(4.0, i - 2)));
  if (!figure.spread.empty()) {
    item[json::json_pointer(figure.spread + "/min")] = value - off;
    item[json::json_pointer(figure.spread + "/max")] = value + off;
  }
  return item;
}

bool has_error_told(const FigureSpec& figure) {
  return !figure.interval.empty() || !figure.samples.empty() || !figure.spread.empty() ||
         !figure.range.empty();
}

std::vector<FigureSpec> all_figures() {
  std::vector<FigureSpec> figures;
  for (const ReportKind& kind : report_kinds())
    for (const ItemSpec& item : kind.items)
      figures.insert(figures.end(), item.figures.begin(), item.figures.end());
  return figures;
}

}  // namespace

TEST_CASE("Every figure is better in its direction, worse in the other, and neither without proof") {
  for (const FigureSpec& figure : all_figures()) {
    INFO(figure.path << " (" << figure.label << ")");
    const Finding up = judge(figure, item_with(figure, 1, true), item_with(figure, 2, true)).finding,
                  down = judge(figure, item_with(figure, 2, true), item_with(figure, 1, true)).finding;
    if (figure.certainty == Certainty::measured && !has_error_told(figure)) {
      CHECK(up == Finding::unsure);
      CHECK(down == Finding::unsure);
      continue;
    }
    const std::pair<Finding, Finding> expected =
        figure.better == Better::more   ? std::pair{Finding::better, Finding::worse}
        : figure.better == Better::less ? std::pair{Finding::worse, Finding::better}
                                        : std::pair{Finding::changed, Finding::changed};
    CHECK(std::pair{up, down} == expected);
    CHECK(judge(figure, item_with(figure, 2, true), item_with(figure, 2, true)).finding == Finding::same);
    if (figure.certainty == Certainty::measured)
      CHECK(judge(figure, item_with(figure, 1, false), item_with(figure, 2, false)).finding ==
            Finding::within);
  }
}

TEST_CASE("Directions are those that units and names say") {
  const std::set<std::string> speeds = {"tokens/s", "GB/s", "GOPS", "GFLOPS", "×"};
  const std::set<std::string> costs = {"ms", "s", "bytes", "J/token", "nats", "nats/token"};
  for (const FigureSpec& figure : all_figures()) {
    INFO(figure.path << " (" << figure.label << ")");
    const std::string label = figure.label;
    if (speeds.count(figure.unit)) CHECK(figure.better != Better::less);
    if (costs.count(figure.unit)) CHECK(figure.better != Better::more);
    for (const char* good : {"accuracy by", "F1", "same top", "part of the int8", "speed"})
      if (label.find(good) != label.npos) CHECK(figure.better == Better::more);
    for (const char* bad : {"perplexity", "KL ", "lost", "worse", "relative error", "growth", "peak memory"})
      if (label.find(bad) != label.npos) CHECK(figure.better == Better::less);
  }
}

TEST_CASE("A speed that moved with the probe beside it is the machine's") {
  FigureSpec figure{.path = "/v", .label = "v", .better = Better::more, .samples = "/s", .probe = "/p"};
  const auto item = [](double value, double probe) {
    json made = {{"v", value}};
    for (int i = 0; i < 6; ++i) {
      made["s"].push_back(value * (1 + 0.01 * i));
      made["p"].push_back(probe * (1 + 0.01 * i));
    }
    return made;
  };
  CHECK(judge(figure, item(10, 5), item(20, 5)).finding == Finding::better);
  CHECK(judge(figure, item(20, 5), item(10, 5)).finding == Finding::worse);
  CHECK(judge(figure, item(10, 5), item(20, 10)).finding == Finding::machine);
  CHECK(judge(figure, item(10, 5), item(20, 40)).finding == Finding::machine);
  const Judgement twice = judge(figure, item(10, 5), item(20, 5));
  CHECK(twice.change == 2);
  CHECK(twice.interval.low < 2);
  CHECK(twice.interval.low > 1.9);
  CHECK(twice.interval.high < 2.1);
}

TEST_CASE("Too few repeats, values that are no numbers, and zeros prove nothing") {
  FigureSpec figure{.path = "/v", .label = "v", .better = Better::more, .samples = "/s"};
  const json three = {{"v", 1}, {"s", {1, 1.01, 1.02}}}, more = {{"v", 2}, {"s", {2, 2.01, 2.02}}};
  CHECK(judge(figure, three, more).finding == Finding::unsure);
  for (const json& bad :
       {json({{"v", 2}}), json({{"v", 2}, {"s", "x"}}), json({{"v", 2}, {"s", json::array()}}),
        json({{"v", 2}, {"s", {2, nullptr, 2}}}), json({{"v", 2}, {"s", {-1, 2, 2, 2}}})})
    CHECK(judge(figure, {{"v", 1}, {"s", {1, 1, 1, 1, 1}}}, bad).finding == Finding::unsure);
  for (const json& bad : {json(), json({{"v", nullptr}}), json({{"v", "1"}}), json::array()})
    CHECK(judge(figure, bad, more).finding == Finding::unknown);
  const Judgement from_zero = judge({.path = "/v", .label = "v"}, {{"v", 0}}, {{"v", 5}});
  CHECK(std::isnan(from_zero.change));
}

TEST_CASE("Windows and questions are compared in pairs where they are the same ones") {
  const auto find = [](const char* schema, const std::string& path) {
    for (const ItemSpec& item : report_kind(schema)->items)
      for (const FigureSpec& figure : item.figures)
        if (figure.path == path) return figure;
    FAIL("no such figure");
    return FigureSpec{};
  };
  const FigureSpec perplexity = find("whittle.drift", "/perplexity/model");
  const json drift = test::drift_report().json, worse = test::drift_report(0.01).json;
  const Judgement judged = judge(perplexity, drift, worse);
  CHECK(judged.finding == Finding::worse);
  CHECK(judged.basis == "pairs");
  CHECK(judged.interval.mean == Approx(std::exp(0.01)));
  const FigureSpec divergence = find("whittle.drift", "/kl/mean");
  json more = drift;
  for (json& kl : more["window_kl"]) kl = kl.get<double>() + 0.001;
  more["kl"]["mean"] = drift["kl"]["mean"].get<double>() + 0.001;
  const Judgement grown = judge(divergence, drift, more);
  CHECK(grown.finding == Finding::worse);  // although the intervals overlap
  CHECK(grown.basis == "pairs");
  CHECK(grown.interval.mean == Approx(1 + 0.001 / 0.0078125));
  json exact = drift;  // a model that was the baseline itself
  exact["kl"]["mean"] = 0;
  exact["kl"]["mean_ci95"] = {0, 0};
  for (json& kl : exact["window_kl"]) kl = 0;
  CHECK(judge(divergence, exact, drift).finding == Finding::worse);
  CHECK(judge(divergence, drift, exact).finding == Finding::better);
  json partly = more;  // judged by the likeliest tokens alone
  partly["kl"]["mean_exact"] = {0.001, 0.1};
  CHECK(judge(divergence, drift, partly).basis == "intervals");
  more.erase("window_kl");
  CHECK(judge(divergence, drift, more).basis == "intervals");
  CHECK(judge(divergence, drift, more).finding == Finding::within);
  json other_text = worse;
  other_text["window_nll"]["baseline"][0] = 9.0;
  CHECK(judge(perplexity, drift, other_text).basis != "pairs");

  const FigureSpec accuracy = find("whittle.tasks", "/model/accuracy_percent");
  const auto task = [](const std::vector<bool>& right, double percent) {
    json made = test::tasks_report(right).json["tasks"][0];
    made["model"]["accuracy_percent"] = percent;
    return made;
  };
  const std::vector<bool> half(40, true);
  std::vector<bool> few = half;
  few[0] = false;
  CHECK(judge(accuracy, task(half, 100), task(few, 97.5)).finding == Finding::within);
  CHECK(judge(accuracy, task(half, 100), task(std::vector<bool>(40, false), 0)).finding == Finding::worse);
  CHECK(judge(accuracy, task(std::vector<bool>(40, false), 0), task(half, 100)).finding == Finding::better);
}
