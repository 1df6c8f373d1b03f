#include "bench/windows.h"

#include <algorithm>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// A token a letter, and nothing that encode would put before or after a text.
Tokenizer letters() {
  std::vector<std::string> tokens;
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  return open_tokenizer(bpe_tokenizer(tokens));
}

}  // namespace

TEST_CASE("Both protocols cut the text as they say") {
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::string text = read_text(reference_model() / "texts" / "story.txt");
  const std::vector<int32_t> ids = tokenizer.encode(text, false);
  const Windows windows = text_windows(tokenizer, text, 64, "windows");
  REQUIRE(windows.ids.size() == ids.size() / 63);
  CHECK(windows.first_scored == 1);
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    CHECK(windows.ids[w][0] == 0);
    CHECK(std::equal(windows.ids[w].begin() + 1, windows.ids[w].end(),
                     ids.begin() + static_cast<int64_t>(w) * 63));
  }
  const Windows chunks = text_windows(tokenizer, text, 64, "llama.cpp");
  REQUIRE(chunks.ids.size() == (ids.size() + 1) / 64);
  CHECK(chunks.first_scored == 33);
  CHECK(std::equal(chunks.ids[1].begin() + 1, chunks.ids[1].end(), ids.begin() + 64));
  CHECK(chunks.ids[1][0] == 0);
}

TEST_CASE("Without BOS, windows are consecutive pieces of the text, and the protocol says so") {
  const Tokenizer tokenizer = letters();
  REQUIRE_FALSE(tokenizer.bos_token_id().has_value());
  const std::string text = "abcdefghijklm";
  const Windows windows = text_windows(tokenizer, text, 4, "windows");
  CHECK(windows.protocol == "windows without BOS");
  CHECK(windows.context == 4);
  CHECK(windows.first_scored == 1);  // every token but the first of a window
  CHECK(windows.ids == std::vector<std::vector<int32_t>>{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}});

  const Windows chunks = text_windows(tokenizer, text, 4, "llama.cpp");
  CHECK(chunks.protocol == "llama.cpp without BOS");
  CHECK(chunks.first_scored == 3);
  CHECK(chunks.ids == windows.ids);
  CHECK_THROWS_AS(text_windows(tokenizer, "abc", 4, "windows"), Error);
  CHECK(text_windows(tokenizer, "abcd", 4, "windows").ids.size() == 1);
}

TEST_CASE("GPTQ's windows are pieces of the text as the tokenizer makes it, BOS once at its start") {
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::string text = read_text(reference_model() / "texts" / "story.txt");
  const std::vector<int32_t> ids = tokenizer.encode(text);
  REQUIRE(ids[0] == 0);
  const Windows windows = text_windows(tokenizer, text, 64, "gptq");
  CHECK(windows.protocol == "gptq");
  REQUIRE(windows.ids.size() == ids.size() / 64);
  std::vector<int32_t> all;
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    CHECK(windows.ids[w].size() == 64);
    CHECK(windows.first_scored_of(w) == 1);
    all.insert(all.end(), windows.ids[w].begin(), windows.ids[w].end());
  }
  CHECK(std::equal(all.begin(), all.end(), ids.begin()));
}

TEST_CASE("Strided windows score each token once, with enough before it, to the end of the text") {
  const Tokenizer tokenizer = letters();
  const std::string alphabet = "abcdefghijklmnopqrstuvwxyz";
  for (const size_t length : {2, 5, 6, 7, 19, 26})
    for (const auto& [context, stride] :
         {std::pair<int64_t, int64_t>{5, 1}, {5, 2}, {5, 4}, {8, 4}, {30, 7}}) {
      INFO(length << " tokens, context " << context << ", stride " << stride);
      const Windows windows = text_windows(tokenizer, alphabet.substr(0, length), context, "strided", stride);
      CHECK(windows.protocol == fmt::format("strided by {}", stride));
      std::vector<int> scored(length);
      for (size_t w = 0; w < windows.ids.size(); ++w) {
        const std::vector<int32_t>& ids = windows.ids[w];
        CHECK(std::ssize(ids) <= context);
        if (w + 1 < windows.ids.size()) CHECK(std::ssize(ids) == context);
        CHECK(ids[0] == static_cast<int32_t>(w) * stride);  // a letter's id is its place in the text
        for (auto i = static_cast<size_t>(windows.first_scored_of(w)); i < ids.size(); ++i) {
          ++scored[static_cast<size_t>(ids[i])];
          if (w > 0) CHECK(static_cast<int64_t>(i) >= context - stride);
        }
      }
      CHECK(scored[0] == 0);
      CHECK(std::count(scored.begin(), scored.end(), 1) == static_cast<int64_t>(length) - 1);
    }
  CHECK(text_windows(tokenizer, alphabet, 8, "strided").protocol == "strided by 4");
  CHECK_THROWS_WITH(text_windows(tokenizer, alphabet, 8, "strided", 8), Catch::Contains("stride"));
  CHECK_THROWS_WITH(text_windows(tokenizer, "a", 8, "strided"), Catch::Contains("text"));
}

TEST_CASE("Windows that cannot be made are refused") {
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::string text = read_text(reference_model() / "texts" / "story.txt");
  CHECK_THROWS_AS(text_windows(tokenizer, "short", 64, "windows"), Error);
  CHECK_THROWS_AS(text_windows(tokenizer, text, 1, "windows"), Error);
  CHECK_THROWS_AS(text_windows(tokenizer, text, 2, "llama.cpp"), Error);  // its second half is empty
  CHECK_THROWS_AS(text_windows(tokenizer, text, 64, "sideways"), Error);
  for (const char* bad : {"{}", "[]", "[[]]", "[[1]]", "[1, 2]", "[[1, -2]]", "[[1, 2.5]]",
                          "[[1, 99999999999]]", "[[1, \"2\"]]", "[[1, [2]]]"})
    CHECK_THROWS_AS(token_windows(parse_json(bad, "ids.json"), "ids.json"), Error);
  for (const int64_t context : {2, 3, 64})
    CHECK_NOTHROW(check_windows(text_windows(tokenizer, text, context, "windows"), 4096));
  for (const int64_t context : {3, 4, 5, 64})
    CHECK_NOTHROW(check_windows(text_windows(tokenizer, text, context, "llama.cpp"), 4096));
}
