#include "tools/options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bench/reports/json_report.h"
#include "engine/files/json_file.h"
#include "engine/files/model_file.h"
#include "kernels/error.h"
#include "kernels/kv_format.h"
#include "tools/streams.h"

namespace whittle {

void add_threads(CLI::App& command, int& threads, const std::string& zero) {
  command.add_option("--threads", threads, "Threads; 0: " + zero)
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
}

void add_characters(CLI::App& command, int64_t& count) {
  command.add_option("--characters", count, "Use only the first N characters of the text; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40).description(""));
}

void add_json(CLI::App& command, std::string& path) {
  command
      .add_option("--json", path,
                  "Write the report as JSON to FILE; - is standard output, instead of the table")
      ->type_name("FILE")
      ->check(not_empty());
}

namespace {

template <class Format>
void add_kv_format(CLI::App& command, Format& format, const std::string& what_else) {
  std::vector<std::string> names;
  for (const KvFormatInfo& row : kv_formats()) names.emplace_back(row.name);
  command
      .add_option_function<std::string>(
          "--kv-cache", [&format](const std::string& name) { format = *kv_format_named(name); },
          fmt::format("How keys and values are kept (default: {})", what_else))
      ->type_name(fmt::format("{}", fmt::join(names, "|")))
      ->check(CLI::IsMember(names).description(""));
}

}  // namespace

void add_kv_cache(CLI::App& command, KvFormat& format) {
  add_kv_format(command, format, std::string(info(format).name));
}

void add_optional_kv_cache(CLI::App& command, std::optional<KvFormat>& format) {
  add_kv_format(command, format, fmt::format("as stored, else {}", info(KvFormat::f16).name));
}

CLI::Validator not_empty() {
  return CLI::Validator(
      [](const std::string& value) {
        return value.empty() ? std::string("expected a name, found \"\"") : "";
      },
      "");
}

CLI::Validator size_in_bytes(int64_t low) {
  return CLI::Validator(
      [low](std::string& text) {
        constexpr std::string_view prefixes = "kmgt";
        constexpr double most = int64_t{1} << 50;
        double bytes = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
        std::string unit = CLI::detail::to_lower(text.substr(static_cast<size_t>(end - text.data())));
        const size_t prefix = unit.empty() ? prefixes.npos : prefixes.find(unit.front());
        if (prefix != prefixes.npos) {
          bytes = std::ldexp(bytes, 10 * static_cast<int>(prefix + 1));
          unit.erase(0, 1);
        }
        const bool is_size = error == std::errc() &&
                             (unit.empty() || unit == "b" || (unit == "ib" && prefix != prefixes.npos));
        bytes = std::round(bytes);
        if (!is_size || !(bytes >= static_cast<double>(low) && bytes <= most))
          return fmt::format("expected a size from {} to {} bytes, such as 700M or 1.5G, found {}", low,
                             int64_t{1} << 50, quote(text));
        text = std::to_string(static_cast<int64_t>(bytes));
        return std::string();
      },
      "");
}

CLI::Validator number(double low, double high, const std::string& expected) {
  return CLI::Validator(
      [=](const std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        const bool is_one = !text.empty() && *end == '\0' && value >= low && value <= high;
        return is_one ? std::string() : fmt::format("expected {}, found {}", expected, quote(text));
      },
      "");
}

void refuse_void(const CLI::App& command, std::initializer_list<const char*> flags, const std::string& why) {
  for (const char* flag : flags)
    if (command.get_option(flag)->count() > 0) throw CLI::ValidationError(flag, "has no effect: " + why);
}

void check_outputs(std::initializer_list<std::pair<const char*, std::string>> flags_and_paths) {
  for (const auto& [flag, path] : flags_and_paths) {
    if (path.empty()) continue;
    for (const auto& [other, other_path] : flags_and_paths) {
      if (flag == other) break;
      if (!other_path.empty() && same_path(path, other_path))
        throw CLI::ValidationError(flag, fmt::format("is the same as {}", other));
    }
  }
  for (const auto& [flag, path] : flags_and_paths)
    if (!path.empty()) check_report_path(path);
}

void check_baseline(const std::string& folder) {
  if (ModelFile(folder).config().contains("quantization_config"))
    fail("--baseline {}: the model is quantized; expected the original weights", quote(folder));
}

bool same_path(const std::string& a, const std::string& b) {
  const auto folder = [](const std::filesystem::path& path) {
    return (std::filesystem::absolute(path) / "").lexically_normal();
  };
  return folder(a) == folder(b);
}

nlohmann::json read_json(const std::string& path, int64_t max_bytes) {
  if (path != "-") return read_json_file(path, max_bytes);
  const std::string text = read_text(path);
  if (static_cast<int64_t>(text.size()) > max_bytes)
    fail("standard input: {} bytes, expected at most {}", text.size(), max_bytes);
  return parse_json(text, "standard input");
}

}  // namespace whittle
