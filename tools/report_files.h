#pragma once
// What `compare` and `report` share: reports of the program as their input.

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "bench/reports/report_file.h"

namespace whittle {

// The positional FILE ..., `order` says what its order means.
void add_report_files(CLI::App& command, std::vector<std::string>& files, const std::string& order);

// Throws Error that names the file.
std::vector<ReportFile> read_reports(const std::vector<std::string>& files);

// Throws where an output would replace one of the files.
void refuse_own_output(const std::vector<std::string>& files,
                       std::initializer_list<std::pair<const char*, std::string>> flags_and_paths);

}  // namespace whittle
