#pragma once
// Reports as one HTML page: pictures, each with its numbers, and every figure of the catalogue.

#include <span>
#include <string>

#include "bench/reports/report_file.h"

namespace whittle {

// Of at least one report. What a million rows or points would do to a page is left out and counted.
std::string report_page(std::span<const ReportFile> files, const std::string& title);

}  // namespace whittle
