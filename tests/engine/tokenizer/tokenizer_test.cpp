// Every stage of a tokenizer, on small ones.

#include "engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <random>
#include <thread>

#include "kernels/error.h"
#include "tests/support/tokenizer_files.h"

using nlohmann::json;
using whittle::Tokenizer;
using whittle::test::bpe_tokenizer;
using whittle::test::open_files;
using whittle::test::open_tokenizer;

namespace {

using Ids = std::vector<int32_t>;

// Whether the model sees exactly `words`: each is a token of its own, and all else is unknown.
void check_words(const json& pretokenizer, const std::string& text, const std::vector<std::string>& words) {
  std::vector<std::string> tokens = {"<unk>"};
  tokens.insert(tokens.end(), words.begin(), words.end());
  json file = bpe_tokenizer(tokens);
  file["pre_tokenizer"] = pretokenizer;
  file["model"]["ignore_merges"] = true;
  file["model"]["unk_token"] = "<unk>";
  const Tokenizer tokenizer = open_tokenizer(file);
  Ids expected;
  for (const std::string& word : words) expected.push_back(tokenizer.token_id(word).value());
  INFO(pretokenizer.dump() << " on \"" << text << '"');
  CHECK(tokenizer.encode(text) == expected);
}

json split(const json& pattern, const char* behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
}

std::string decode(const json& decoder, const std::vector<std::string>& tokens) {
  json file = bpe_tokenizer(tokens);
  file["decoder"] = decoder;
  const Tokenizer tokenizer = open_tokenizer(file);
  Ids ids;
  for (const std::string& token : tokens) ids.push_back(tokenizer.token_id(token).value());
  std::string streamed;
  Tokenizer::Stream stream(tokenizer);
  for (const int32_t id : ids) streamed += stream.push(id);
  streamed += stream.finish();
  CHECK(streamed == tokenizer.decode(ids));
  return tokenizer.decode(ids);
}

// The definition of byte-pair encoding, word for word.
std::vector<std::string> slow_bpe(std::vector<std::string> symbols,
                                  const std::vector<std::pair<std::string, std::string>>& merges) {
  for (;;) {
    size_t best_rank = merges.size(), best = 0;
    for (size_t i = 0; i + 1 < symbols.size(); i++) {
      for (size_t rank = 0; rank < best_rank; rank++) {
        if (merges[rank] == std::pair(symbols[i], symbols[i + 1])) {
          best_rank = rank;
          best = i;
        }
      }
    }
    if (best_rank == merges.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

}  // namespace

TEST_CASE("a split does with its matches what its behavior says") {
  const json dash = {{"String", "-"}}, dashes = {{"Regex", "-+"}};
  check_words(split(dash, "Isolated"), "a--b-c", {"a", "-", "-", "b", "-", "c"});
  check_words(split(dash, "Removed"), "-a--b-c-", {"a", "b", "c"});
  check_words(split(dash, "Removed", true), "a--b", {"-", "-"});
  check_words(split(dash, "MergedWithPrevious"), "-a--b-", {"-", "a-", "-", "b-"});
  check_words(split(dash, "MergedWithNext"), "-a--b-", {"-a", "-", "-b", "-"});
  check_words(split(dash, "Contiguous"), "a--b-c", {"a", "--", "b", "-", "c"});
  check_words(split(dashes, "Isolated"), "a--b", {"a", "--", "b"});
  check_words(split({{"Regex", "x*"}}, "Isolated"), "aéxx", {"a", "é", "xx"});  // empty matches cut too
  check_words(split({{"String", "."}}, "Isolated"), "ab.c", {"ab", ".", "c"});  // a string is no expression
  check_words(split({{"Regex", "(?i:'s)|\\p{Lu}+|\\s+(?!\\S)|\\s+"}}, "Isolated"), "ÀÉx'S   y",
              {"ÀÉ", "x", "'S", "  ", " ", "y"});
}

TEST_CASE("the other pre-tokenizers") {
  check_words({{"type", "Digits"}, {"individual_digits", true}}, "a12b٣", {"a", "1", "2", "b", "٣"});
  check_words({{"type", "Digits"}, {"individual_digits", false}}, "a12b", {"a", "12", "b"});
  check_words({{"type", "Punctuation"}}, "a!?b$", {"a", "!", "?", "b", "$"});
  check_words({{"type", "Punctuation"}, {"behavior", "Contiguous"}}, "a!?b", {"a", "!?", "b"});
  check_words({{"type", "Whitespace"}}, " he_y  é1!? x", {"he_y", "é1", "!?", "x"});
  // BLOOM's: a set within a set.
  check_words(split({{"Regex", R"( ?[^(\s|[.,!?…。，、।۔،])]+)"}}, "Isolated", false), "Hi, you (a|b)… [c]",
              {"Hi", ",", " you", " (", "a", "|", "b", ")…", " [c]"});
  check_words({{"type", "WhitespaceSplit"}}, " a!\t\u00A0b ", {"a!", "b"});
  check_words({{"type", "CharDelimiterSplit"}, {"delimiter", "é"}}, "aéb", {"a", "b"});
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  check_words(byte_level, "a é\n", {"aĠÃ©Ċ"});
  check_words({{"type", "ByteLevel"}, {"add_prefix_space", true}}, "we've 12!\n\n x",
              {"Ġwe", "'ve", "Ġ12", "!", "ĊĊ", "Ġx"});
  check_words({{"type", "ByteLevel"}, {"add_prefix_space", true}}, " we", {"Ġwe"});
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  check_words({{"type", "Sequence"}, {"pretokenizers", {digits, byte_level}}}, "a 12", {"aĠ", "1", "2"});
}

TEST_CASE("metaspace marks spaces and the start") {
  const auto metaspace = [](const char* scheme, bool cut) -> json {
    return {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", cut}};
  };
  check_words(metaspace("always", true), "a  b", {"▁a", "▁", "▁b"});
  check_words(metaspace("always", false), "a b", {"▁a▁b"});
  check_words(metaspace("always", false), " a", {"▁a"});
  check_words(metaspace("never", true), "a b", {"a", "▁b"});
  check_words({{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}}, "a b", {"a", "_b"});

  // "first" is the first of the input, not of what follows an added token.
  json file = bpe_tokenizer({"▁a", "a", "[X]"});
  file["model"]["ignore_merges"] = true;
  file["added_tokens"] = {{{"id", 2}, {"content", "[X]"}, {"special", true}}};
  file["pre_tokenizer"] = metaspace("first", true);
  CHECK(open_tokenizer(file).encode("a[X]a") == Ids{0, 2, 1});
  file["pre_tokenizer"] = metaspace("always", true);
  CHECK(open_tokenizer(file).encode("a[X]a") == Ids{0, 2, 0});
}

TEST_CASE("normalizers rewrite the text") {
  struct Case {
    json normalizer;
    std::string text, expected;
  };
  const json prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  const Case cases[] = {
      {prepend, "a", "▁a"},
      {replace, "a b  c", "a▁b▁▁c"},
      {{{"type", "Replace"}, {"pattern", {{"Regex", "b+"}}}, {"content", "$0"}}, "abbbab", "a$0a$0"},
      {{{"type", "Sequence"}, {"normalizers", {prepend, replace}}}, "a b", "▁a▁b"},
      {{{"type", "NFC"}}, "e\u0301 ①", "é ①"},
      {{{"type", "NFD"}}, "é ①", "e\u0301 ①"},
      {{{"type", "NFKC"}}, "e\u0301 ① ﬁ", "é 1 fi"},
      {{{"type", "NFKD"}}, "é ①", "e\u0301 1"},
      {{{"type", "Lowercase"}}, "AÉΣİx", "aéσi\u0307x"},
      {{{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}, " \u3000a b\n\u00A0", "a b"},
      {{{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}}, " a ", " a"},
  };
  for (const auto& [normalizer, text, expected] : cases) {
    json file = bpe_tokenizer({"x", expected});
    file["model"]["ignore_merges"] = true;
    file["normalizer"] = normalizer;
    INFO(normalizer.dump());
    CHECK(open_tokenizer(file).encode(text) == Ids{1});
    CHECK(open_tokenizer(file).encode("").empty());
  }
}

TEST_CASE("decoders") {
  CHECK(decode(nullptr, {"a", "b"}) == "a b");
  CHECK(decode({{"type", "ByteLevel"}}, {"Ġa", "Ã", "©", "Ċ"}) == " aé\n");
  CHECK(decode({{"type", "ByteLevel"}}, {"a", "â", "Ĥ", "b", "Ã"}) == "a\uFFFDb\uFFFD");
  CHECK(decode({{"type", "Fuse"}}, {"a", " b"}) == "a b");
  CHECK(decode({{"type", "ByteFallback"}}, {"a", "<0xC3>", "<0xA9>", "b"}) == "aéb");
  CHECK(decode({{"type", "ByteFallback"}}, {"<0xC3>", "<0xA9>", "<0xFF>", "b", "<0xc3>"}) ==
        "\uFFFD\uFFFD\uFFFDb\uFFFD");
  CHECK(decode({{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}}, {"▁a", "b▁"}) ==
        " ab ");
  CHECK(decode({{"type", "Strip"}, {"content", "x"}, {"start", 1}, {"stop", 2}}, {"xxa", "bxxx"}) == "xabx");
  CHECK(decode({{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}}, {"▁a", "▁b"}) ==
        "a b");
  CHECK(decode({{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "never"}}, {"▁a", "▁b"}) ==
        " a b");
  const json fuse = {{"type", "Fuse"}};
  const json strip = {{"type", "Strip"}, {"content", " "}, {"start", 2}, {"stop", 1}};
  const json sequence = {{"type", "Sequence"}, {"decoders", {fuse, strip}}};
  CHECK(decode(sequence, {" ", "  ", " a", "b ", "c   "}) == "  ab c  ");
  CHECK(decode(sequence, {" ", "  ", "   "}) == "   ");
}

TEST_CASE("merging is the definition's, on random words") {
  std::mt19937 random(7);
  for (int round = 0; round < 60; round++) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> merges;
    while (merges.size() < 14) {
      const std::pair pair(tokens[random() % tokens.size()], tokens[random() % tokens.size()]);
      if (std::find(merges.begin(), merges.end(), pair) != merges.end()) continue;
      merges.push_back(pair);
      const std::string token = pair.first + pair.second;
      if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
    }
    json written = json::array();
    for (const auto& [left, right] : merges) {
      if (round % 2) {
        written.push_back(left + " " + right);
      } else {
        written.push_back({left, right});
      }
    }
    const Tokenizer tokenizer = open_tokenizer(bpe_tokenizer(tokens, written));
    for (int i = 0; i < 20; i++) {
      std::vector<std::string> symbols(random() % 40);
      std::string word;
      for (std::string& symbol : symbols) word += symbol = tokens[random() % 3];
      Ids expected;
      for (const std::string& token : slow_bpe(symbols, merges))
        expected.push_back(tokenizer.token_id(token).value());
      CAPTURE(word);
      CHECK(tokenizer.encode(word) == expected);
    }
  }
}

TEST_CASE("characters that are no token") {
  json file = bpe_tokenizer({"<unk>", "a", "<0xC3>", "<0xA9>", "aa"}, {"a a"});
  CHECK(open_tokenizer(file).encode("axa") == Ids{4});  // left out, and then neighbours merge
  file["model"]["unk_token"] = "<unk>";
  CHECK(open_tokenizer(file).encode("axéa") == Ids{1, 0, 0, 1});
  file["model"]["fuse_unk"] = true;
  CHECK(open_tokenizer(file).encode("axéa") == Ids{1, 0, 1});
  file["model"]["byte_fallback"] = true;
  CHECK(open_tokenizer(file).encode("axéya") == Ids{1, 0, 2, 3, 0, 1});
  CHECK(open_tokenizer(file).encode("è") == Ids{0});  // only one of its bytes is a token
}

TEST_CASE("bytes that are not UTF-8 are encoded like U+FFFD") {
  const Tokenizer tokenizer = Tokenizer::open(whittle::test::reference_model());
  const std::string mark = "\uFFFD";
  const std::pair<std::string, std::string> cases[] = {
      {"a\xFFz", "a" + mark + "z"},         {"\xE4\xBD", mark + mark},
      {"\xE4\xBD!", mark + mark + "!"},     {"\xC0\x80", mark + mark},
      {"\xED\xA0\x80", mark + mark + mark}, {"\xF5\x80\x80\x80", mark + mark + mark + mark},
      {"\xF0\x9F\x99\x82", "\U0001F642"},   {"\x80 tail", mark + " tail"},
  };
  for (const auto& [bytes, text] : cases) CHECK(tokenizer.encode(bytes) == tokenizer.encode(text));
}

TEST_CASE("added tokens are found in the text") {
  json file = bpe_tokenizer({"a", "b", " "});
  const auto with = [&](const json& options, const std::string& content = "[X]") {
    json token = {{"id", 9}, {"content", content}, {"special", true}};
    token.update(options);
    file["added_tokens"] =
        json::array({token, {{"id", 10}, {"content", content + "+"}, {"normalized", false}}});
    return open_tokenizer(file);
  };
  CHECK(with(json::object()).encode("a[X]b[X][") == Ids{0, 9, 1, 9});
  CHECK(with(json::object()).encode("[X]+[X]") == Ids{10, 9});  // the longest
  CHECK(with(json::object()).encode("a  [X]  b") == Ids{0, 2, 2, 9, 2, 2, 1});
  CHECK(with({{"lstrip", true}}).encode("a \u3000[X] [X]") == Ids{0, 9, 9});
  CHECK(with({{"rstrip", true}}).encode("[X] \u3000b[X]") == Ids{9, 1, 9});
  CHECK(with({{"single_word", true}}, "bb").encode("abb bb") == Ids{0, 1, 1, 2, 9});
  CHECK(with({{"single_word", true}}, "bb").encode("ébb bb") == Ids{1, 1, 2, 9});
  CHECK(with(json::object()).vocab_size() == 11);
  CHECK(with(json::object()).token_id("[X]") == 9);

  const Tokenizer tokenizer = with(json::object());
  CHECK(tokenizer.decode(Ids{0, 9, 1, 10, 5, 99, -3}) == "a b [X]+");
  CHECK(tokenizer.decode(Ids{0, 9, 1}, true) == "a [X] b");

  // `normalized` tokens are looked for after the normalizer, and are themselves rewritten by it.
  file["normalizer"] = {{"type", "Lowercase"}};
  CHECK(with({{"normalized", true}}).encode("A[x]") == Ids{0, 9});
  CHECK(with({{"normalized", false}}).encode("A[x][X]") == Ids{0, 9});
}

TEST_CASE("a byte-level decoder leaves added tokens as they are written") {
  json file = bpe_tokenizer({"Ã", "©"});
  file["added_tokens"] = {{{"id", 2}, {"content", "Ġé "}}};
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  file["decoder"] = {{"type", "ByteLevel"}};
  const Tokenizer tokenizer = open_tokenizer(file);
  CHECK(tokenizer.encode("éĠé é") == Ids{0, 1, 2, 0, 1});
  CHECK(tokenizer.decode(tokenizer.encode("éĠé é")) == "éĠé é");
}

TEST_CASE("special tokens around the text") {
  json file = bpe_tokenizer({"a", "<s>", "</s>"});
  const auto special = [](const char* id) -> json {
    return {{"SpecialToken", {{"id", id}, {"type_id", 0}}}};
  };
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json tokens = {{"B", {{"id", "B"}, {"ids", {1}}, {"tokens", {"<s>"}}}},
                       {"E", {{"id", "E"}, {"ids", {2, 1}}, {"tokens", {"</s>", "<s>"}}}}};
  const json form = {{"type", "TemplateProcessing"},
                     {"single", {special("B"), text, special("E")}},
                     {"special_tokens", tokens}};
  file["post_processor"] = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, form}}};
  const Tokenizer tokenizer = open_tokenizer(file);
  CHECK(tokenizer.encode("aa") == Ids{1, 0, 0, 2, 1});
  CHECK(tokenizer.encode("aa", false) == Ids{0, 0});
  CHECK(tokenizer.encode("") == Ids{1, 2, 1});
  CHECK(tokenizer.bos_token_id() == 1);

  // Without a template tokenizer_config.json says it.
  file.erase("post_processor");
  CHECK(open_tokenizer(file).encode("a") == Ids{0});
  CHECK(open_tokenizer(file).bos_token_id() == std::nullopt);
  const json config = {{"add_bos_token", true},
                       {"bos_token", {{"content", "<s>"}}},
                       {"add_eos_token", true},
                       {"eos_token", "</s>"}};
  CHECK(open_files({{"tokenizer.json", file.dump()}, {"tokenizer_config.json", config.dump()}}).encode("a") ==
        Ids{1, 0, 2});
}

TEST_CASE("vocab.json and merges.txt") {
  const std::string vocab =
      whittle::test::vocabulary_of({"a", "b", "Ġ", "ab", "Ġab", "<|endoftext|>"}).dump();
  const std::string merges = "#version: 0.2\na b\r\nĠ ab\n";
  const Tokenizer tokenizer = open_files({{"vocab.json", vocab}, {"merges.txt", merges}});
  CHECK(tokenizer.encode("ab ab<|endoftext|>b") == Ids{3, 4, 5, 1});
  CHECK(tokenizer.decode(Ids{3, 4, 5, 1}) == "ab abb");
  const json config = {{"add_bos_token", true}, {"bos_token", "<|endoftext|>"}};
  CHECK(open_files({{"vocab.json", vocab}, {"merges.txt", merges}, {"tokenizer_config.json", config.dump()}})
            .encode("a") == Ids{5, 0});
}

TEST_CASE("tokenizer.model") {
  const std::string model = whittle::test::small_sentencepiece_model(true, false).bytes();
  const Tokenizer tokenizer = open_files({{"tokenizer.model", model}});
  const auto id = [&](const char* piece) { return tokenizer.token_id(piece).value(); };
  CHECK(tokenizer.bos_token_id() == 1);
  CHECK(tokenizer.encode("the[user]x") == Ids{1, id("▁the"), id("[user]"), id("<0x78>")});
  CHECK(tokenizer.encode("<s>", false).size() > 1);  // control tokens are not read from texts
  for (const char* text : {"the the", "  the", "", " ", "a é東京 \n the "})
    CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
  CHECK(tokenizer.decode(Ids{1, id("▁a"), 2}, true) == "<s> a</s>");
  const auto with_config = [&](const json& config) {
    return open_files({{"tokenizer.model", model}, {"tokenizer_config.json", config.dump()}}).encode("a");
  };
  CHECK(with_config({{"add_bos_token", false}}) == Ids{id("▁a")});
  CHECK(with_config({{"add_eos_token", true}}) == Ids{1, id("▁a"), 2});
}

TEST_CASE("a word of a megabyte") {
  const Tokenizer reference = Tokenizer::open(whittle::test::reference_model());
  for (const char* unit : {"a", "the", " ", "\n", "7", "!", "é", "\U0001F642", "\t "}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    INFO(unit);
    CHECK((reference.decode(reference.encode(text)) == text));
  }
  // One word to the model, with merges all over it.
  std::vector<std::string> tokens = {"a", "b"};
  json merges = json::array();
  for (const char* pair : {"a b", "ab ab", "abab abab", "b a", "abababab abababab"}) {
    const std::string text = pair;
    const size_t space = text.find(' ');
    merges.push_back(text);
    tokens.push_back(text.substr(0, space) + text.substr(space + 1));
  }
  std::string text;
  while (text.size() < (1 << 20)) text += "ab";
  CHECK(open_tokenizer(bpe_tokenizer(tokens, merges)).encode(text) == Ids((1 << 20) / 16, 6));
}

TEST_CASE("many threads encode with one tokenizer") {
  const Tokenizer tokenizer = Tokenizer::open(whittle::test::reference_model());
  std::string text;
  for (int i = 0; i < 2000; i++) text += "Once upon a time " + std::to_string(i) + ", naïve 東京!\n";
  const Ids expected = tokenizer.encode(text);
  std::vector<Ids> found(4);
  std::vector<std::thread> threads;
  for (Ids& ids : found) threads.emplace_back([&] { ids = tokenizer.encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : found) CHECK((ids == expected));
}

TEST_CASE("A folder without tokenizer files has no tokenizer, and one with a broken file is an error") {
  const whittle::test::TemporaryFolder folder;
  CHECK_FALSE(Tokenizer::open_if_any(folder.path()).has_value());
  CHECK_THROWS_AS(Tokenizer::open(folder.path()), whittle::Error);
  CHECK(Tokenizer::open_if_any(whittle::test::reference_model()).has_value());
  for (const char* file : {"tokenizer.json", "tokenizer.model", "vocab.json"}) {
    const whittle::test::TemporaryFolder broken;
    std::ofstream(broken.path() / file) << "{";
    CHECK_THROWS_AS(Tokenizer::open_if_any(broken.path()), whittle::Error);
  }
}
