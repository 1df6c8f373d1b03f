#include "kernels/kernel_table.h"

#include <set>

#include "tests/support/reference_kernels.h"

using namespace whittle;

TEST_CASE("instruction sets have names of their own, and the last one runs everywhere") {
  std::set<std::string_view> names;
  for (const InstructionSet& set : instruction_sets()) {
    CHECK(names.insert(set.table->name).second);
    CHECK_FALSE(set.table->int8_instruction.empty());
    CHECK_FALSE(set.needs.empty());
  }
  CHECK(instruction_sets().back().available());
}

TEST_CASE("the best available instruction set is chosen unless WHITTLE_ISA names one") {
  const char* wanted = std::getenv("WHITTLE_ISA");
  for (const InstructionSet& set : instruction_sets()) {
    if (wanted && *wanted ? set.table->name != wanted : !set.available()) continue;
    CHECK(kernels().name == set.table->name);
    break;
  }
}
