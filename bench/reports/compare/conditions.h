#pragma once
// On what the figures of reports hold: the machine, the work that was asked for, the program and the model.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bench/reports/report_file.h"

namespace whittle {

// What a difference of a condition makes of a comparison.
enum class ConditionKind : uint8_t {
  machine,  // speeds then compare machines rather than builds
  work,     // figures then are of other work
  subject,  // what may be the very thing that is compared: program, model
};
std::string_view name(ConditionKind kind);

struct Condition {
  std::string name;
  ConditionKind kind = ConditionKind::work;
  std::vector<std::string> values;  // one a report; "" where it does not say
  bool differs() const;             // two reports that say it say otherwise
};

// All that any of the reports says of it, the fingerprint first.
std::vector<Condition> conditions(std::span<const ReportFile* const> reports);
// What a condition of that name is.
ConditionKind condition_kind(const std::string& name);

}  // namespace whittle
