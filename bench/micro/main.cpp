// Every kernel of every instruction set of this machine.

#include "bench/micro/limits.h"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const whittle::InstructionSet& set : whittle::instruction_sets()) {
    if (!set.available() || set.table->name == "scalar") continue;
    whittle::register_matmul(*set.table);
    whittle::register_attention(*set.table);
    whittle::register_elementwise(*set.table);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
