#include "engine/tokenizer/token_ids.h"

#include <catch2/catch.hpp>
#include <limits>

#include "engine/files/json_file.h"
#include "kernels/error.h"

using namespace whittle;

namespace {

std::vector<int32_t> parse(const std::string& text) {
  return parse_token_ids(parse_json(text, "ids.json"), "ids.json");
}

}  // namespace

TEST_CASE("Token ids are read from a JSON array, and anything else names the element") {
  CHECK(parse("[]").empty());
  CHECK(parse("[0, 5, 2147483647]") == std::vector<int32_t>{0, 5, 2147483647});
  for (const char* bad : {"-1", "2147483648", "1e3", "2.0", "\"1\"", "null", "true", "[1]", "{}"})
    CHECK_THROWS_WITH(parse(std::string("[0, ") + bad + "]"), Catch::Contains("ids.json: element 1"));
  for (const char* bad : {"{}", "1", "null", "\"[1]\""}) CHECK_THROWS_AS(parse(bad), Error);
}

TEST_CASE("Token ids outside a vocabulary are named with their position") {
  const std::vector<int32_t> ids = {0, 31, 7};
  CHECK_NOTHROW(check_token_ids(ids, 32, "window 3"));
  CHECK_NOTHROW(check_token_ids({}, 1, "window 3"));
  CHECK_THROWS_WITH(check_token_ids(ids, 31, "window 3"),
                    Catch::Contains("window 3: position 1: token id 31") && Catch::Contains("vocab_size 31"));
  const std::vector<int32_t> negative = {0, -1};
  CHECK_THROWS_AS(check_token_ids(negative, 32, "x"), Error);
}
