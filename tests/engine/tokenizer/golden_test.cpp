// Ids that independent implementations give, and whole texts there and back.

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/files/json_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/support/paths.h"

using whittle::Tokenizer;

namespace {

std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  REQUIRE(stream);
  return text.str();
}

// Texts end with a line break and the line "__ggml_vocab_test__"; expected ids are a line a text.
void check_cases(const std::filesystem::path& folder) {
  const Tokenizer tokenizer = Tokenizer::open(folder);
  const std::string texts = read_text(folder / "cases.inp");
  std::istringstream expected(read_text(folder / "cases.out"));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int cases = 0;
  size_t begin = 0;
  for (std::string line; std::getline(expected, line); cases++) {
    const size_t end = std::min(texts.find(separator, begin), texts.size());
    const std::string text = texts.substr(begin, end - begin);
    begin = end + separator.size();
    std::istringstream numbers(line);
    std::vector<int32_t> ids;
    for (int32_t id; numbers >> id;) ids.push_back(id);
    INFO("case " << cases << ": \"" << text << '"');
    CHECK(tokenizer.encode(text, false) == ids);
    CHECK(tokenizer.decode(ids) == text);
  }
  CHECK(cases == 46);
  CHECK(begin >= texts.size());
}

void check_round_trip(const Tokenizer& tokenizer, const std::filesystem::path& shared) {
  for (const char* name : {"tinystories-valid.txt", "wikitext-2-valid.txt", "lambada-test.jsonl"}) {
    INFO(name);
    const std::string text = read_text(shared / "data" / "text" / name);
    REQUIRE(text.size() > 100'000);
    const std::vector<int32_t> ids = tokenizer.encode(text, false);
    CHECK(ids.size() < text.size() / 2);
    CHECK((tokenizer.decode(ids) == text));
    std::string streamed;
    Tokenizer::Stream stream(tokenizer);
    for (const int32_t id : ids) streamed += stream.push(id);
    streamed += stream.finish();
    CHECK((streamed == text));
  }
}

void check_prompts(const std::filesystem::path& folder) {
  const Tokenizer tokenizer = Tokenizer::open(folder);
  const nlohmann::json prompts = whittle::read_json_file(folder / "golden" / "prompts.json", 1 << 24);
  REQUIRE(prompts.size() >= 3);
  for (const auto& prompt : prompts) {
    const std::string text = prompt["prompt"];
    CHECK(tokenizer.encode(text) == prompt["ids"].get<std::vector<int32_t>>());
    CHECK(tokenizer.bos_token_id() == prompt["ids"][0].get<int32_t>());
    CHECK(tokenizer.decode(prompt["ids"].get<std::vector<int32_t>>()) == text);
  }
}

}  // namespace

TEST_CASE("the reference model's golden ids") {
  const Tokenizer tokenizer = Tokenizer::open(whittle::test::reference_model());
  const auto golden =
      whittle::read_json_file(whittle::test::reference_model() / "golden" / "tokenizer.json", 1 << 20);
  REQUIRE(golden.size() >= 20);
  for (const auto& item : golden) {
    const std::string text = item["text"];
    const std::vector<int32_t> ids = item["ids"];
    CHECK(tokenizer.encode(text, false) == ids);
    CHECK(tokenizer.decode(ids) == text);
  }
  CHECK(tokenizer.vocab_size() == 4096);
  CHECK(tokenizer.token_id("<|endoftext|>") == 0);
  check_prompts(whittle::test::reference_model());
}

TEST_CASE("tinystories-656k: prompts and the text of a continuation") {
  WHITTLE_NEEDS_SHARED(shared);
  const auto folder = shared / "data" / "models" / "tinystories-656k";
  check_prompts(folder);
  const Tokenizer tokenizer = Tokenizer::open(folder);
  for (const auto& prompt : whittle::read_json_file(folder / "golden" / "prompts.json", 1 << 24)) {
    const std::string expected = prompt["greedy_text"];
    std::vector<int32_t> ids = prompt["ids"];
    for (const int32_t id : prompt["greedy_ids"]) ids.push_back(id);
    const std::string text = tokenizer.decode(ids);
    CAPTURE(text, expected);
    CHECK(text.find(expected) != std::string::npos);
  }
}

TEST_CASE("tokenizer cases of three families") {
  WHITTLE_NEEDS_SHARED(shared);
  for (const char* name : {"llama-3.1", "llama-2", "gpt-2"}) {
    INFO(name);
    check_cases(shared / "data" / "tokenizers" / name);
  }
}

TEST_CASE("texts come back as they were") {
  WHITTLE_NEEDS_SHARED(shared);
  for (const char* name : {"llama-3.1", "llama-2", "gpt-2"}) {
    INFO(name);
    check_round_trip(Tokenizer::open(shared / "data" / "tokenizers" / name), shared);
  }
  check_round_trip(Tokenizer::open(whittle::test::reference_model()), shared);
}
