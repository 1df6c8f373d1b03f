#include "quant/frontier/result.h"

#include <algorithm>
#include <array>

#include "bench/reports/figures.h"
#include "engine/files/json_record.h"

namespace whittle {
namespace {

constexpr std::array<std::string_view, 3> statuses = {"measured", "failed", "skipped"};  // by Status

// Every figure under its key. JSON has no NaN: null.
constexpr RecordField<RecipeResult, double> numbers[] = {
    {"make_seconds", &RecipeResult::make_seconds},
    {"measure_seconds", &RecipeResult::measure_seconds},
    {"bits_per_weight", &RecipeResult::bits_per_weight},
    {"bits_per_original_weight", &RecipeResult::bits_per_original_weight},
    {"prefill_tokens_per_s", &RecipeResult::prefill_tokens_per_s},
    {"prefill_probe_fraction", &RecipeResult::prefill_probe_fraction},
    {"decode_tokens_per_s", &RecipeResult::decode_tokens_per_s},
    {"decode_probe_fraction", &RecipeResult::decode_probe_fraction},
    {"perplexity", &RecipeResult::perplexity},
    {"same_top_percent", &RecipeResult::same_top_percent},
};
constexpr RecordField<RecipeResult, int64_t> counts[] = {
    {"disk_bytes", &RecipeResult::disk_bytes},
    {"weights", &RecipeResult::weights},
    {"weights_bytes", &RecipeResult::weights_bytes},
    {"peak_rss_bytes", &RecipeResult::peak_rss_bytes},
};
// KEY, and its ends as KEY_ci95.
constexpr RecordField<RecipeResult, Interval> intervals[] = {
    {"prefill_speedup", &RecipeResult::prefill_speedup},
    {"decode_speedup", &RecipeResult::decode_speedup},
    {"perplexity_increase_percent", &RecipeResult::perplexity_increase_percent},
    {"kl", &RecipeResult::kl},
};

double number_or_nan(const JsonFields& fields, const char* field, const nlohmann::json& value) {
  if (value.is_null()) return unknown_figure;
  if (!value.is_number()) fields.reject(field, "expected a number or null");
  return value.get<double>();
}

// Ends beyond all numbers are null as well: not known.
Interval read_interval(const JsonFields& fields, const char* key) {
  const std::string ends_key = std::string(key) + "_ci95";
  const nlohmann::json absent;
  const nlohmann::json& mean = fields.has(key) ? fields.at(key) : absent;
  const nlohmann::json& ends = fields.at(ends_key.c_str());
  if (!ends.is_array() || ends.size() != 2) fields.reject(ends_key.c_str(), "expected two ends");
  return {number_or_nan(fields, key, mean), number_or_nan(fields, ends_key.c_str(), ends[0]),
          number_or_nan(fields, ends_key.c_str(), ends[1])};
}

}  // namespace

std::string_view name(RecipeResult::Status status) { return statuses[static_cast<size_t>(status)]; }

nlohmann::ordered_json result_json(const RecipeResult& result) {
  const bool measured = result.measured();
  nlohmann::ordered_json json = {
      {"name", result.name},
      {"recipe", result.recipe},
      {"kind", name(result.kind)},
      {"status", name(result.status)},
      {"reason", result.reason.empty() ? nlohmann::json() : nlohmann::json(result.reason)},
      {"prefill_probe", measured ? nlohmann::json(result.int8 ? "int8" : "fp32") : nlohmann::json()}};
  for (const auto& [key, count] : counts)
    json[key] = measured ? nlohmann::json(result.*count) : nlohmann::json();
  for (const auto& [key, number] : numbers) json[key] = or_null(result.*number);
  for (const auto& [key, interval] : intervals) {
    json[key] = or_null((result.*interval).mean);
    json[std::string(key) + "_ci95"] = bounds_json(result.*interval);
  }
  return json;
}

RecipeResult read_result(const nlohmann::json& json, const std::string& what) {
  const JsonFields fields(json, what);
  RecipeResult result;
  result.name = fields.string("name");
  result.recipe = fields.string("recipe");
  const std::optional<RecipeKind> kind = recipe_kind_named(fields.string("kind"));
  if (!kind) fields.reject("kind", "no such kind of recipe");
  result.kind = *kind;
  const auto status = std::ranges::find(statuses, fields.string("status"));
  if (status == statuses.end()) fields.reject("status", "expected measured, failed or skipped");
  result.status = static_cast<RecipeResult::Status>(status - statuses.begin());
  result.reason = fields.string("reason", "");
  result.int8 = fields.string("prefill_probe", "fp32") == "int8";
  for (const auto& [key, count] : counts) result.*count = fields.integer(key, 0, int64_t{1} << 60, 0);
  for (const auto& [key, number] : numbers)
    result.*number = fields.has(key) ? number_or_nan(fields, key, fields.at(key)) : unknown_figure;
  for (const auto& [key, interval] : intervals) result.*interval = read_interval(fields, key);
  return result;
}

}  // namespace whittle
