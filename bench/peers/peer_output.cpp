#include "bench/peers/peer_output.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>
#include <vector>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

bool is_rows(const nlohmann::json& value) {
  return value.is_array() && !value.empty() && value[0].is_object();
}

// The first JSON value that begins a line with `opening` and suits: a log's line may begin with it too.
template <class Suits>
nlohmann::json find_json(const std::string& text, char opening, Suits suits, std::string_view what) {
  for (size_t at = text.find(opening); at != std::string::npos; at = text.find(opening, at + 1)) {
    if (at > 0 && text[at - 1] != '\n') continue;
    nlohmann::json value;
    try {
      std::istringstream(text.substr(at)) >> value;  // one value; what follows it stays unread
    } catch (const nlohmann::json::exception&) {
      continue;
    }
    if (suits(value)) return value;
  }
  fail("no {} in its output", what);
}

// The JSON value that begins `text`, without what follows it; all of `text` where it begins none.
std::string_view first_value(std::string_view text) {
  std::istringstream stream{std::string(text)};
  try {
    nlohmann::json value;
    stream >> value;
  } catch (const nlohmann::json::exception&) {
    return text;
  }
  const auto end = stream.tellg();  // -1 at the end of the stream
  return text.substr(0, static_cast<size_t>(end));
}

using Cells = std::vector<std::string_view>;

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
  return first == std::string_view::npos ? std::string_view() : text.substr(first, last - first + 1);
}

// What stands between a line's bars.
Cells cells(std::string_view line) {
  Cells found;
  for (size_t bar = line.find('|'); bar != std::string_view::npos;) {
    const size_t next = line.find('|', bar + 1);
    if (next != std::string_view::npos) found.push_back(trimmed(line.substr(bar + 1, next - bar - 1)));
    bar = next;
  }
  return found;
}

std::optional<size_t> index_of(const Cells& header, std::string_view name) {
  const auto found = std::ranges::find(header, name);
  if (found == header.end()) return std::nullopt;
  return static_cast<size_t>(found - header.begin());
}

// A finite number above 0.
std::optional<double> speed_in(std::string_view cell) {
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value) || value <= 0)
    return std::nullopt;
  return value;
}

}  // namespace

PeerSpeed read_llama_bench(const std::string& text) {
  std::optional<double> prefill, decode;
  for (const nlohmann::json& row : find_json(text, '[', is_rows, "JSON rows")) {
    const JsonFields fields(row, "a row of its output");
    constexpr int64_t most = int64_t{1} << 40;
    const bool reads = fields.integer("n_prompt", 0, most) > 0, writes = fields.integer("n_gen", 0, most) > 0;
    if (reads != writes) (reads ? prefill : decode) = fields.positive("avg_ts");
  }
  if (!prefill || !decode) fail("no row with \"{}\" alone in its output", prefill ? "n_gen" : "n_prompt");
  return {prefill, *decode};
}

PeerSpeed read_batched_bench(const std::string& text) {
  std::istringstream lines(text);
  std::optional<size_t> prefill, decode;
  for (std::string line; std::getline(lines, line);) {
    const Cells row = cells(line);
    if (prefill && decode && row.size() > std::max(*prefill, *decode)) {
      const auto prompt_speed = speed_in(row[*prefill]), decode_speed = speed_in(row[*decode]);
      if (prompt_speed && decode_speed) return {prompt_speed, *decode_speed};
    } else if (!prefill || !decode) {
      prefill = index_of(row, "S_PP t/s");
      decode = index_of(row, "S_TG t/s");
    }
  }
  fail("no table with speeds under \"S_PP t/s\" and \"S_TG t/s\" in its output");
}

PeerSpeed read_whittle_bench(const std::string& text) {
  const auto is_report = [](const nlohmann::json& value) {
    return value.is_object() && value.contains("models") && is_rows(value["models"]);
  };
  const nlohmann::json report = find_json(text, '{', is_report, "JSON report of models");
  const JsonFields fields(report["models"][0], "the model in its output");
  return {fields.positive("prefill_tokens_per_s"), fields.positive("decode_tokens_per_s")};
}

PeerSpeed read_any_program(const std::string& text) {
  const std::string what = "the JSON object in its output";
  size_t at = text.rfind('{');
  while (at != std::string::npos && at > 0 && text[at - 1] != '\n') at = text.rfind('{', at - 1);
  if (at == std::string::npos) fail("no line of its output begins a JSON object");
  const nlohmann::json found = parse_json(first_value(std::string_view(text).substr(at)), what);
  const JsonFields fields(found, what);
  PeerSpeed speed;
  speed.decode = fields.positive("decode_tokens_per_s");
  if (fields.has("prefill_tokens_per_s")) speed.prefill = fields.positive("prefill_tokens_per_s");
  return speed;
}

}  // namespace whittle
