#include "bench/reports/packing_report.h"

#include <catch2/catch.hpp>

using namespace whittle;

namespace {

PackingChoice choice(Packing taken, PackingChoice::Reason reason, double speedup = 0) {
  return {WeightFormat::int8, Packing::two_of_four, taken, reason, speedup};
}

}  // namespace

TEST_CASE("reports count linears packed alike, and say why") {
  using Reason = PackingChoice::Reason;
  std::vector<PackingCount> counts;
  count_packing(counts, {});  // no sparse packing in question
  CHECK(counts.empty());
  count_packing(counts, choice(Packing::two_of_four, Reason::probed, 1.5));
  count_packing(counts, choice(Packing::dense, Reason::probed, 0.9));
  count_packing(counts, choice(Packing::two_of_four, Reason::probed, 1.25));
  count_packing(counts, choice(Packing::two_of_four, Reason::asked));
  count_packing(counts, choice(Packing::dense, Reason::no_instruction));
  std::vector<std::string> lines;
  for (const PackingCount& count : counts) lines.push_back(packing_text(count));
  CHECK(lines ==
        std::vector<std::string>{
            "int8 2:4: 2 linears packed sparse (a probe found sparse 1.25 to 1.50 times as fast as dense)",
            "int8 2:4: 1 linear packed dense (a probe found sparse 0.90 times as fast as dense)",
            "int8 2:4: 1 linear packed sparse (as asked)",
            "int8 2:4: 1 linear packed dense (this CPU has no instruction for it)"});
  const nlohmann::json json = packings_json(counts);
  REQUIRE(json.size() == 4);
  CHECK(json[0] == nlohmann::json{{"format", "int8"},
                                  {"fits", "2:4"},
                                  {"taken", "2:4"},
                                  {"reason", "probed"},
                                  {"linears", 2},
                                  {"least_speedup", 1.25},
                                  {"most_speedup", 1.5}});
  CHECK(json[3]["taken"] == "dense");
  CHECK(json[3]["reason"] == "no_instruction");
  CHECK(json[3]["least_speedup"].is_null());
}
