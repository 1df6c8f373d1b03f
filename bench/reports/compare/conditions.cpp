#include "bench/reports/compare/conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "bench/reports/report_values.h"

namespace whittle {
namespace {

// Where reports say on what they hold: a value, or an object of them.
constexpr const char* places[] = {"/fingerprint",
                                  "/machine/cpu",
                                  "/machine/isa_chosen",
                                  "/machine/threads",
                                  "/machine/kernel",
                                  "/machine/memory_bytes",
                                  "/cpu",
                                  "/isa",
                                  "/protocol",
                                  "/inputs",
                                  "/kv_cache",
                                  "/context",
                                  "/stored_baseline"};

// The same thing by another name.
constexpr std::pair<const char*, const char*> synonyms[] = {{"isa chosen", "isa"}};

constexpr const char* of_machine[] = {"cpu", "isa", "threads", "kernel", "os", "memory bytes", "hypervisor"};
// The beginnings of names.
constexpr const char* of_subject[] = {"program", "version",   "commit",  "compiler", "build",
                                      "model",   "tokenizer", "weights", "config",   "recipe"};

// What tells the elements of an array apart (models, texts), and says nothing of itself.
constexpr const char* element_names[] = {"name", "role"};

// A stranger's file may have any number of them.
constexpr size_t most_conditions = 100;

std::string spoken(std::string key) {
  std::ranges::replace(key, '_', ' ');
  for (const auto& [other, usual] : synonyms)
    if (key == other) return usual;
  return key;
}

// `name`: in words.
void gather(const nlohmann::json& value, const std::string& name, int depth,
            std::vector<std::pair<std::string, std::string>>& found) {
  if (found.size() >= most_conditions) return;
  if (value.is_object() && depth < 3) {
    for (const auto& [key, inner] : value.items())
      gather(inner, name.empty() ? spoken(key) : fmt::format("{} {}", name, spoken(key)), depth + 1, found);
    return;
  }
  if (value.is_array() && depth < 3) {
    for (const nlohmann::json& element : value)
      if (element.is_object())
        for (const auto& [key, inner] : element.items())
          if (std::ranges::find(element_names, std::string_view(key)) == std::end(element_names))
            gather(inner, fmt::format("{} {} {}", name, text_at(element, "/name"), spoken(key)), depth + 2,
                   found);
    return;
  }
  if (value.is_null() || value.is_structured()) return;
  found.emplace_back(name, text_at(value, ""));
}

std::vector<std::pair<std::string, std::string>> said_by(const nlohmann::json& report) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const char* place : places) {
    const nlohmann::json& value = value_at(report, place);
    const std::string pointer = place;
    gather(value, value.is_object() ? "" : spoken(pointer.substr(pointer.rfind('/') + 1)), 0, found);
  }
  return found;
}

}  // namespace

std::string_view name(ConditionKind kind) {
  constexpr std::string_view names[] = {"machine", "work", "subject"};
  return names[static_cast<size_t>(kind)];
}

bool Condition::differs() const {
  const std::string* first = nullptr;
  for (const std::string& value : values) {
    if (value.empty()) continue;
    if (first && *first != value) return true;
    first = &value;
  }
  return false;
}

ConditionKind condition_kind(const std::string& name) {
  if (std::ranges::find(of_machine, name) != std::end(of_machine)) return ConditionKind::machine;
  const bool subject =
      std::ranges::any_of(of_subject, [&](const char* begin) { return name.starts_with(begin); });
  return subject ? ConditionKind::subject : ConditionKind::work;
}

std::vector<Condition> conditions(std::span<const ReportFile* const> reports) {
  std::vector<Condition> all;
  for (size_t i = 0; i < reports.size(); ++i)
    for (auto& [name, value] : said_by(reports[i]->json)) {
      auto condition = std::ranges::find(all, name, &Condition::name);
      if (condition == all.end())
        condition =
            all.insert(all.end(), {name, condition_kind(name), std::vector<std::string>(reports.size())});
      if (condition->values[i].empty()) condition->values[i] = value;  // the fingerprint's comes first
    }
  return all;
}

}  // namespace whittle
