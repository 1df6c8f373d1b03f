#include "tools/report_files.h"

#include <fmt/format.h>

#include <filesystem>

#include "engine/files/json_file.h"
#include "tools/options.h"

namespace whittle {

void add_report_files(CLI::App& command, std::vector<std::string>& files, const std::string& order) {
  command
      .add_option("FILE", files,
                  fmt::format("Reports that commands wrote with --json, of any kind; {}", order))
      ->required()
      ->check(not_empty());
}

std::vector<ReportFile> read_reports(const std::vector<std::string>& files) {
  // More than a table or a page has room for, and no more than fit into memory.
  constexpr size_t most = 64;
  if (files.size() > most)
    throw CLI::ValidationError("FILE", fmt::format("{} reports; expected at most {}", files.size(), most));
  std::vector<ReportFile> reports;
  for (const std::string& file : files) reports.push_back(read_report(file));
  return reports;
}

void refuse_own_output(const std::vector<std::string>& files,
                       std::initializer_list<std::pair<const char*, std::string>> flags_and_paths) {
  for (const auto& [flag, path] : flags_and_paths) {
    if (path.empty() || path == "-") continue;
    for (const std::string& file : files) {
      std::error_code ignored;
      if (std::filesystem::equivalent(path, file, ignored) || same_path(path, file))
        throw CLI::ValidationError(flag, fmt::format("would replace {}, which is read", quote(file)));
    }
  }
}

}  // namespace whittle
