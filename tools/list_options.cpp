#include "tools/list_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "engine/files/json_file.h"
#include "kernels/kv_format.h"

namespace whittle {
namespace {

// What stands between the commas; "1," has an empty last part.
std::vector<std::string> parts(const std::string& list) {
  std::vector<std::string> found(1);
  for (const char c : list)
    if (c == ',')
      found.emplace_back();
    else
      found.back() += c;
  return found;
}

CLI::Validator each_part(const std::function<std::string(const std::string&)>& wrong) {
  return CLI::Validator(
      [wrong](const std::string& list) {
        std::set<std::string> seen;
        for (const std::string& part : parts(list)) {
          if (std::string message = wrong(part); !message.empty()) return message;
          if (!seen.insert(part).second) return fmt::format("has {} twice", part);
        }
        return std::string();
      },
      "");
}

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

template <typename Integer>
CLI::Option* add_list(CLI::App& command, const std::string& flag, std::vector<Integer>& values, int64_t least,
                      int64_t most, const std::string& help) {
  const auto wrong = [=](const std::string& part) {
    const std::optional<int64_t> value = whole_number(part);
    if (value && *value >= least && *value <= most) return std::string();
    return fmt::format("expected whole numbers from {} to {}, found {}", least, most, quote(part));
  };
  const auto set = [&values](const std::string& list) {
    values.clear();
    for (const std::string& part : parts(list)) values.push_back(static_cast<Integer>(*whole_number(part)));
  };
  return command
      .add_option_function<std::string>(flag, set,
                                        fmt::format("{} (default: {})", help, fmt::join(values, ",")))
      ->type_name("N,...")
      ->check(each_part(wrong));
}
template CLI::Option* add_list(CLI::App&, const std::string&, std::vector<int>&, int64_t, int64_t,
                               const std::string&);
template CLI::Option* add_list(CLI::App&, const std::string&, std::vector<int64_t>&, int64_t, int64_t,
                               const std::string&);

void add_kv_cache_list(CLI::App& command, std::vector<KvFormat>& formats) {
  std::vector<std::string> names;
  for (const KvFormatInfo& row : kv_formats()) names.emplace_back(row.name);
  const auto wrong = [names](const std::string& part) {
    if (kv_format_named(part)) return std::string();
    return fmt::format("expected {}, found {}", fmt::join(names, ", "), quote(part));
  };
  command
      .add_option_function<std::string>(
          "--kv-cache",
          [&formats](const std::string& list) {
            formats.clear();
            for (const std::string& part : parts(list)) formats.push_back(*kv_format_named(part));
          },
          fmt::format("How keys and values are kept; a list too (default: {})", info(formats.front()).name))
      ->type_name(fmt::format("{}", fmt::join(names, "|")))
      ->check(each_part(wrong));
}

}  // namespace whittle
