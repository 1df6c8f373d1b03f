#pragma once
// A small report of each kind, as the program writes them, with figures made up.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/reports/report_file.h"

namespace whittle::test {

inline ReportFile report_file(const std::string& kind, nlohmann::json json, const std::string& path = "") {
  const std::string schema = "whittle." + kind;
  json["schema"] = schema;
  json["version"] = 1;
  return {path.empty() ? kind + ".json" : path, schema, 1, std::move(json)};
}

// One of bench's figures with four repeats around it.
inline void set_series(nlohmann::json& cell, const std::string& key, double value) {
  cell[key] = value;
  cell["samples"][key] = {0.97 * value, 0.99 * value, 1.01 * value, 1.03 * value};
  cell["spread"][key] = {
      {"median", value}, {"min", 0.97 * value}, {"max", 1.03 * value}, {"mad", 0.02 * value}};
}

inline nlohmann::json bench_cell(const std::string& model, int threads, int sequences, double speed) {
  nlohmann::json cell = {{"model", model},
                         {"threads", threads},
                         {"sequences", sequences},
                         {"context", 0},
                         {"kv_cache", "f16"},
                         {"prompt_tokens", 64},
                         {"gen_tokens", 16},
                         {"is_baseline", false},
                         {"itl_ms", {{"p50", 11.5 / speed}, {"p95", 14.25 / speed}, {"p99", 17.75 / speed}}},
                         {"itl_histogram_ms", {{"edges", {8.0, 10.0, 12.5, 20.0}}, {"counts", {30, 60, 10}}}},
                         {"kv_cache_bytes", 327680},
                         {"profile", nullptr}};
  for (const auto& [key, value] : {std::pair("ttft_ms", 71.25 / speed),
                                   {"prefill_tokens_per_s", 912.5 * speed},
                                   {"decode_tokens_per_s", 86.75 * speed},
                                   {"decode_bandwidth_fraction", 0.8125},
                                   {"adjacent_read_gb_per_s", 21.5},
                                   {"adjacent_arithmetic_gops", 1040.5}})
    set_series(cell, key, value);
  cell["profile"]["prefill"] = {{{"operation", "gate, up, silu"},
                                 {"calls", 8},
                                 {"ms", 4.25},
                                 {"share", 0.42},
                                 {"gb_per_s", 1.5},
                                 {"gops", 94.5},
                                 {"limit_fraction", 0.35}},
                                {{"operation", "wait for others"},
                                 {"calls", 8},
                                 {"ms", 0.5},
                                 {"share", 0.05},
                                 {"gb_per_s", nullptr},
                                 {"gops", nullptr},
                                 {"limit_fraction", nullptr}}};
  cell["profile"]["decode"] = nlohmann::json::array({{{"operation", "gate, up, silu"},
                                                      {"calls", 128},
                                                      {"ms", 3.625},
                                                      {"share", 0.44},
                                                      {"gb_per_s", 17.25},
                                                      {"gops", 34.5},
                                                      {"limit_fraction", 0.8}}});
  return cell;
}

inline nlohmann::json machine_figures() {
  return {{"cpu", "Some CPU"},    {"isa_chosen", "avx2"},  {"threads", 2},          {"read_gb_per_s", 22.5},
          {"int8_gops", 1050.75}, {"fp32_gflops", 262.25}, {"bf16_gflops", nullptr}};
}

// Two models at each number of threads.
inline ReportFile bench_report(double speed = 1, const std::vector<int>& threads = {2},
                               const std::string& model = "model-int8") {
  nlohmann::json models = nlohmann::json::array(), cells = nlohmann::json::array();
  for (const std::string& name : {std::string("original"), model}) {
    models.push_back({{"name", name},
                      {"disk_bytes", 14696720},
                      {"weights_bytes", 14697472},
                      {"peak_rss_bytes", 29741056},
                      {"bits_per_weight", 8.25},
                      {"load_seconds", 0.0146},
                      {"drift", nullptr},
                      {"against_baseline", nullptr}});
    for (const int count : threads) cells.push_back(bench_cell(name, count, 1, speed * count));
  }
  nlohmann::json protocol = {{"context", 0}, {"prompt_tokens", 64}, {"isa", "avx2"}, {"repeat", 4}};
  protocol["threads"] = threads.size() == 1 ? nlohmann::json(threads[0]) : nlohmann::json();
  return report_file("bench", {{"machine", machine_figures()},
                               {"protocol", protocol},
                               {"goal", nullptr},
                               {"models", models},
                               {"cells", cells}});
}

inline ReportFile drift_report(double worse = 0, const std::string& model = "model-int8",
                               const std::string& text = "story.txt") {
  nlohmann::json layers = nlohmann::json::array();
  for (int layer = 0; layer < 3; ++layer)
    layers.push_back({{"stream_error_percent", 1.5 + layer},
                      {"alone_error_percent", 0.75 + layer},
                      {"linears",
                       {{"q", {{"input_error_percent", 0.0}, {"output_error_percent", 0.625}}},
                        {"down", {{"input_error_percent", 0.5}, {"output_error_percent", 1.875 + layer}}}}}});
  return report_file(
      "drift", {{"model", model},
                {"text", text},
                {"stored_baseline", nullptr},
                {"protocol", "windows"},
                {"context", 128},
                {"windows", 4},
                {"tokens_scored", 508},
                {"perplexity",
                 {{"baseline", 24.5},
                  {"model", 24.625 + worse},
                  {"increase_percent", 0.5 + worse},
                  {"increase_percent_ci95", {0.25 + worse, 0.75 + worse}}}},
                {"nll", {{"baseline", 3.1875}, {"model", 3.1953125}}},
                {"bits_per_byte", {{"baseline", 1.2265625}, {"model", 1.234375}}},
                {"kl",
                 {{"mean", 0.0078125},
                  {"mean_ci95", {0.0068125, 0.0088125}},
                  {"p50", 0.00625},
                  {"p99", 0.034375},
                  {"max", 0.0625}}},
                {"same_top_percent", 97.875},
                {"rms_probability_difference_percent", 0.6875},
                {"window_nll",
                 {{"baseline", {2.5, 3.25, 3.5, 3.125}},
                  {"model", {2.515625 + worse, 3.2578125 + worse, 3.5078125 + worse, 3.1328125 + worse}}}},
                {"window_kl", {0.00625 + worse, 0.0078125 + worse, 0.01 + worse, 0.0071875 + worse}},
                {"layers", {{"tokens", 500}, {"embedding_error_percent", 0.0}, {"layers", layers}}},
                {"gates", nlohmann::json::array()}});
}

inline ReportFile tasks_report(const std::vector<bool>& right = {true, false, true, true}) {
  nlohmann::json items = nlohmann::json::array(), flips = nlohmann::json::array();
  for (size_t i = 0; i < right.size(); ++i)
    items.push_back({{"line", i + 1}, {"answer", 0}, {"model", {{"correct", bool(right[i])}}}});
  flips.push_back({{"line", 2}, {"correct", false}});
  const nlohmann::json figures = {{"accuracy_percent", 71.5},
                                  {"accuracy_percent_ci95", {68.25, 74.5}},
                                  {"accuracy_normalized_percent", 72.25},
                                  {"accuracy_normalized_percent_ci95", {69.0, 75.25}},
                                  {"f1", nullptr},
                                  {"matthews", nullptr},
                                  {"perplexity", nullptr}};
  return report_file("tasks", {{"model", "model-int8"},
                               {"baseline", "original"},
                               {"kv_cache", "f16"},
                               {"tasks", nlohmann::json::array({{{"name", "quiz.jsonl"},
                                                                 {"file", "quiz.jsonl"},
                                                                 {"format", "multiple choice"},
                                                                 {"shots", 0},
                                                                 {"count", right.size()},
                                                                 {"model", figures},
                                                                 {"baseline", figures},
                                                                 {"comparison",
                                                                  {{"right_to_wrong", 7},
                                                                   {"wrong_to_right", 3},
                                                                   {"mcnemar_p", 0.34375},
                                                                   {"loss_points", 0.5},
                                                                   {"loss_points_ci95", {-0.25, 1.25}},
                                                                   {"flips", flips}}},
                                                                 {"gate", nullptr},
                                                                 {"items", items}}})}});
}

inline ReportFile gate_report() {
  const nlohmann::json check = {{"name", "KL divergence"},
                                {"outcome", "regression"},
                                {"unit", "nats"},
                                {"before", 0.00078125},
                                {"now", 0.01875},
                                {"change_unit", "nats"},
                                {"change", 0.01796875},
                                {"change_interval", {0.0171875, 0.01875}},
                                {"budget", 0.0009765625},
                                {"p_value", 0.0001220703125},
                                {"reason", "worse by more than the budget"}};
  return report_file("gate", {{"model", "model-int8"},
                              {"outcome", "regression"},
                              {"inputs", {{"cpu", "Some CPU"}, {"text_hash", "abc"}, {"context", 64}}},
                              {"checks", nlohmann::json::array({check})},
                              {"suspects", nlohmann::json::array({"layer 0 up: error 0.997 % → 8.41 %"})},
                              {"speed", nullptr}});
}

inline ReportFile estimate_report() {
  const nlohmann::json format = {{"name", "int8"},
                                 {"file_bytes", 269030016},
                                 {"peak_rss_bytes", 340010240},
                                 {"running_bytes", 340010240},
                                 {"loading_bytes", 270867456},
                                 {"weights_bytes", 269100288},
                                 {"kv_cache_bytes", 47185920},
                                 {"missing_bytes", 0},
                                 {"fits", true},
                                 {"decode_tokens_per_s", 77.875},
                                 {"decode_tokens_per_s_range", {67.5, 102.25}},
                                 {"prefill_tokens_per_s", 839.25},
                                 {"prefill_tokens_per_s_range", {797.25, 899.75}},
                                 {"ttft_ms", 610.125}};
  return report_file("estimate", {{"model", "some-shape"},
                                  {"cpu", "Some CPU"},
                                  {"isa", "avx2"},
                                  {"memory_available_bytes", 24371978240},
                                  {"protocol", {{"threads", 2}}},
                                  {"formats", nlohmann::json::array({format})}});
}

inline ReportFile soak_report() {
  nlohmann::json points = nlohmann::json::array();
  for (int i = 0; i < 10; ++i)
    points.push_back({{"seconds", 30.0 * i},
                      {"rounds", 6},
                      {"anonymous_bytes", 24162986.0 + 1000 * i},
                      {"decode_ms_per_token", 0.1875 + 0.001953125 * i},
                      {"prefill_ms_per_token", 0.046875},
                      {"clock_mhz", nullptr},
                      {"temperature_c", nullptr}});
  return report_file(
      "soak", {{"model", "model-int8"},
               {"protocol", {{"minutes", 5.0}, {"threads", 2}}},
               {"seconds", 300.5},
               {"rounds", 60},
               {"answers", 360},
               {"tokens", 16800},
               {"answers_changed", 1},
               {"changed",
                nlohmann::json::array({{{"round", 7}, {"conversation", "short"}, {"difference", "id 3"}}})},
               {"anonymous_bytes",
                {{"mean", 24167486.0},
                 {"change", 9000.0},
                 {"change_ci95", {-100.0, 18100.0}},
                 {"slope_per_hour", 108000.0},
                 {"limit", 1048576.0},
                 {"verdict", "kept"}}},
               {"decode_percent",
                {{"mean", 0.196},
                 {"change", 9.125},
                 {"change_ci95", {8.5, 9.75}},
                 {"slope_per_hour", 0.2109375},
                 {"limit", 5.0},
                 {"verdict", "exceeded"}}},
               {"clock_mhz", {{"mean", nullptr}, {"change", nullptr}, {"change_ci95", {nullptr, nullptr}}}},
               {"points", points}});
}

inline ReportFile frontier_report() {
  const auto recipe = [](const char* name, const char* kind, int64_t bytes, double speed, double kl) {
    return nlohmann::json{{"name", name},
                          {"kind", kind},
                          {"disk_bytes", bytes},
                          {"decode_speedup", speed},
                          {"kl", kl},
                          {"kl_ci95", {0.5 * kl, 2 * kl}},
                          {"perplexity", 19.125},
                          {"on_frontier_size", true},
                          {"on_frontier_decode", false}};
  };
  return report_file("frontier", {{"model", "original"},
                                  {"machine", machine_figures()},
                                  {"recipes",
                                   {recipe("original", "original", 14696720, 1.0, 1e-7),
                                    recipe("int8", "dense", 8493224, 1.375, 0.00078125),
                                    recipe("2:4", "sparse", 6150000, 1.5625, 0.15625)}}});
}

// One of each kind.
inline std::vector<ReportFile> sample_reports() {
  return {
      bench_report(1, {1, 2}),
      drift_report(),
      tasks_report(),
      gate_report(),
      estimate_report(),
      soak_report(),
      frontier_report(),
      report_file("machine", {{"machine", machine_figures()}}),
      report_file("quantize",
                  {{"recipe", "int8 channel"},
                   {"bits_per_weight", 8.125},
                   {"relative_error", 0.0000498},
                   {"source_bytes", 14696720},
                   {"written_bytes", 8493224},
                   {"modules", 56},
                   {"output_errors",
                    nlohmann::json::array({{{"module", "layers.0.q"}, {"relative_error", 0.001953125}}})}})};
}

}  // namespace whittle::test
