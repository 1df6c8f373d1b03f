#include "bench/prompt_file.h"

#include <catch2/catch.hpp>

#include "kernels/error.h"

using namespace whittle;

TEST_CASE("prompts are read line by line, with lengths of their own where they have them") {
  const std::vector<PromptLine> prompts = parse_prompts(
      "{\"prompt\": \"Once\"}\r\n\n  \t\n{\"max_tokens\": 7, \"prompt\": \"a\\n\\u00e9\"}\n"
      "{\"prompt\": \"last\", \"max_tokens\": null}",
      "p.jsonl");
  REQUIRE(prompts.size() == 3);
  CHECK(prompts[0].text == "Once");
  CHECK_FALSE(prompts[0].max_tokens);
  CHECK(prompts[1].text == "a\n\u00e9");
  CHECK(prompts[1].max_tokens == 7);
  CHECK(prompts[1].what() == "p.jsonl, line 4");
  CHECK(prompts[2].line == 5);
}

TEST_CASE("a line that is no prompt is one error that names file, line and field") {
  const std::pair<std::string, std::string> hostile[] = {
      {"{\"prompt\": 3}", "\"prompt\""},
      {"{\"prompt\": null}", "\"prompt\""},
      {"{\"prompt\": \"\"}", "\"prompt\""},
      {"{\"prompt\": [\"a\"]}", "\"prompt\""},
      {"{\"max_tokens\": 3}", "\"prompt\""},
      {"{\"prompt\": \"a\", \"max_tokens\": 0}", "\"max_tokens\""},
      {"{\"prompt\": \"a\", \"max_tokens\": -1}", "\"max_tokens\""},
      {"{\"prompt\": \"a\", \"max_tokens\": 1.5}", "\"max_tokens\""},
      {"{\"prompt\": \"a\", \"max_tokens\": \"7\"}", "\"max_tokens\""},
      {"{\"prompt\": \"a\", \"max_tokens\": 1e99}", "\"max_tokens\""},
      {"{\"prompt\": \"a\", \"max_tokens\": 99999999999999999999}", "\"max_tokens\""},
      {"{\"prompt\": \"a\", \"max_token\": 7}", "\"max_token\""},
      {"{\"prompt\": \"a\", \"\\u001b[2J\": 7}", "\\x1b"},
      {"{\"prompt\": \"a\", \"prompt\": \"b\"}", "twice"},
      {"{\"prompt\": \"\xff\"}", "JSON"},
      {"{\"prompt\": \"a\"", "JSON"},
      {"{\"prompt\": \"a\"} {\"prompt\": \"b\"}", "JSON"},
      {"{\"prompt\": \"a\", \"max_tokens\": NaN}", "JSON"},
      {"Once upon a time", "JSON"},
      {"[1]", "p.jsonl"},
      {"\"a\"", "p.jsonl"},
      {std::string(100, '['), "64"},
      {std::string("\0", 1), "JSON"}};
  for (const auto& [line, named] : hostile) {
    INFO(line);
    const std::string text = "{\"prompt\": \"fine\"}\n\n" + line + "\n{\"prompt\": \"fine\"}\n";
    CHECK_THROWS_WITH(parse_prompts(text, "p.jsonl"),
                      Catch::Contains("p.jsonl, line 3") && Catch::Contains(named));
  }
  CHECK_THROWS_WITH(parse_prompts("", "p.jsonl"), Catch::Contains("p.jsonl: no prompt"));
  CHECK_THROWS_WITH(parse_prompts("\n \r\n", "p.jsonl"), Catch::Contains("no prompt"));
  std::string many;
  for (int i = 0; i < 100'001; ++i) many += "{\"prompt\":\"a\"}\n";
  CHECK_THROWS_WITH(parse_prompts(many, "p.jsonl"), Catch::Contains("100000"));
}
