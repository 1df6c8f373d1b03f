#include "bench/reports/compare/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "bench/reports/report_values.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr size_t most_rows = 2000;

// An item of one report: the object and what its keys say.
struct FoundItem {
  const nlohmann::json* json = nullptr;
  std::vector<std::string> keys;
};

std::vector<FoundItem> found_items(const ItemSpec& spec, const nlohmann::json& report) {
  std::vector<FoundItem> found;
  for (const char* place : spec.places)
    for (const nlohmann::json* json : items_at(report, place)) {
      const bool says = std::ranges::any_of(
          spec.figures, [&](const FigureSpec& figure) { return !std::isnan(number_at(*json, figure.path)); });
      if (!says) continue;
      FoundItem& item = found.emplace_back(FoundItem{json, {}});
      for (const KeySpec& key : spec.keys) item.keys.push_back(text_at(*json, key.path));
    }
  return found;
}

// Whether two items of one report have different values there.
std::vector<bool> telling_keys(const ItemSpec& spec, const std::vector<std::vector<FoundItem>>& by_report) {
  std::vector<bool> telling(spec.keys.size(), false);
  for (const std::vector<FoundItem>& items : by_report)
    for (const FoundItem& item : items)
      for (size_t k = 0; k < telling.size(); ++k) telling[k] = telling[k] || item.keys[k] != items[0].keys[k];
  return telling;
}

std::vector<ReportItem> matched(const ItemSpec& spec, const std::vector<std::vector<FoundItem>>& by_report,
                                const std::vector<bool>& telling) {
  std::vector<ReportItem> items;
  std::unordered_map<std::string, size_t> index;
  for (size_t r = 0; r < by_report.size(); ++r) {
    std::unordered_map<std::string, int64_t> times;
    for (const FoundItem& item : by_report[r]) {
      std::string name = item_name(spec, *item.json, telling);
      if (const int64_t nth = ++times[name]; nth > 1)
        name += fmt::format("{}{} {}", name.empty() ? "" : ", ", spec.name, nth);
      const auto [at, is_new] = index.try_emplace(name, items.size());
      if (is_new) items.push_back({name, std::vector<const nlohmann::json*>(by_report.size())});
      items[at->second].in[r] = item.json;
    }
  }
  return items;
}

void add_rows(ReportGroup& group, const ItemSpec& spec, const ReportItem& item) {
  for (const FigureSpec& figure : spec.figures) {
    ReportRow row{item.name, figure.label, figure.unit, figure.better, figure.change, {}, {}};
    static const nlohmann::json nothing;
    const auto in = [&](size_t r) -> const nlohmann::json& { return item.in[r] ? *item.in[r] : nothing; };
    for (size_t r = 0; r < item.in.size(); ++r) {
      row.values.push_back(number_at(in(r), figure.path));
      if (row.unit.empty() && !figure.unit_path.empty()) row.unit = text_at(in(r), figure.unit_path);
      if (r > 0) row.from_first.push_back(judge(figure, in(0), in(r)));
    }
    if (std::ranges::all_of(row.values, [](double value) { return std::isnan(value); })) continue;
    if (group.rows.size() < most_rows)
      group.rows.push_back(std::move(row));
    else
      ++group.left_out;
  }
}

// What several specs say of one item (its sizes, its speeds) stands together, where the item comes first.
void gather_items(std::vector<ReportRow>& rows) {
  std::unordered_map<std::string, size_t> first;
  for (size_t i = 0; i < rows.size(); ++i) first.try_emplace(rows[i].item, i);
  std::ranges::stable_sort(rows, {}, [&](const ReportRow& row) { return first.at(row.item); });
}

void add_conditions(ReportGroup& group, const ItemSpec& spec,
                    const std::vector<std::vector<FoundItem>>& by_report, const std::vector<bool>& telling) {
  for (size_t k = 0; k < telling.size(); ++k) {
    if (telling[k]) continue;
    Condition condition{spec.keys[k].name, condition_kind(spec.keys[k].name), {}};
    for (const std::vector<FoundItem>& items : by_report)
      condition.values.push_back(items.empty() ? "" : items[0].keys[k]);
    const bool said =
        std::ranges::any_of(condition.values, [](const std::string& text) { return !text.empty(); });
    if (said &&
        std::ranges::find(group.conditions, condition.name, &Condition::name) == group.conditions.end())
      group.conditions.push_back(std::move(condition));
  }
}

}  // namespace

std::string report_letter(size_t i) {
  const std::string letter(1, static_cast<char>('A' + i % 26));
  return i < 26 ? letter : fmt::format("{}{}", letter, i / 26 + 1);
}

std::string item_name(const ItemSpec& spec, const nlohmann::json& item, const std::vector<bool>& named) {
  std::string text;
  for (size_t k = 0; k < spec.keys.size(); ++k) {
    if (!named[k]) continue;
    const std::string value = text_at(item, spec.keys[k].path);
    if (!value.empty())
      text += (text.empty() ? "" : ", ") + fmt::format(fmt::runtime(spec.keys[k].text), value);
  }
  return text;
}

const ReportItems& ReportGroup::all(std::string_view name) const {
  static const ReportItems none;
  const auto found =
      std::ranges::find_if(items, [&](const ReportItems& of) { return of.spec->name == name; });
  return found == items.end() ? none : *found;
}

bool ReportGroup::in_common() const {
  return std::ranges::any_of(rows, [](const ReportRow& row) {
    return std::ranges::count_if(row.values, [](double value) { return !std::isnan(value); }) >= 2;
  });
}

ReportGroup group_of(const ReportKind& kind, std::vector<const ReportFile*> reports,
                     std::vector<std::string> letters) {
  ReportGroup group;
  group.kind = &kind;
  group.conditions = conditions(reports);
  for (const ItemSpec& spec : kind.items) {
    std::vector<std::vector<FoundItem>> by_report;
    for (const ReportFile* report : reports) by_report.push_back(found_items(spec, report->json));
    const std::vector<bool> telling = telling_keys(spec, by_report);
    add_conditions(group, spec, by_report, telling);
    group.items.push_back({&spec, telling, matched(spec, by_report, telling)});
    for (const ReportItem& item : group.items.back().items) add_rows(group, spec, item);
  }
  gather_items(group.rows);
  group.reports = std::move(reports);
  group.letters = std::move(letters);
  return group;
}

std::vector<ReportGroup> group_reports(std::span<const ReportFile> reports) {
  std::vector<ReportGroup> groups;
  std::vector<const ReportKind*> kinds;
  for (const ReportFile& report : reports) {
    const ReportKind* kind = report_kind(report.schema);
    if (!kind) fail("{}: reports of {} have no figures to show", quote(report.path), quote(report.schema));
    if (std::ranges::find(kinds, kind) == kinds.end()) kinds.push_back(kind);
  }
  for (const ReportKind* kind : kinds) {
    std::vector<const ReportFile*> files;
    std::vector<std::string> letters;
    for (size_t i = 0; i < reports.size(); ++i)
      if (report_kind(reports[i].schema) == kind) {
        files.push_back(&reports[i]);
        letters.push_back(report_letter(i));
      }
    groups.push_back(group_of(*kind, std::move(files), std::move(letters)));
  }
  return groups;
}

std::vector<ReportGroup> compare_reports(std::span<const ReportFile> reports) {
  std::vector<ReportGroup> groups = group_reports(reports);
  std::erase_if(groups, [](const ReportGroup& group) { return group.reports.size() < 2; });
  if (groups.empty()) fail("no two of these reports are of the same kind");
  std::erase_if(groups, [](const ReportGroup& group) { return !group.in_common(); });
  if (groups.empty()) fail("these reports have no figure in common: other models, settings or texts");
  return groups;
}

}  // namespace whittle
