// Text that comes token by token is the text of all tokens, whatever the ids.

#include <sentencepiece_processor.h>

#include <catch2/catch.hpp>
#include <random>

#include "engine/tokenizer/tokenizer.h"
#include "tests/support/tokenizer_files.h"

using nlohmann::json;
using whittle::Tokenizer;
using whittle::test::bpe_tokenizer;
using whittle::test::open_tokenizer;

namespace {

using Ids = std::vector<int32_t>;

// Strict UTF-8, by the bits.
bool is_utf8(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u; };
    const unsigned lead = byte(i);
    const size_t length = lead < 0x80       ? 1
                          : lead >> 5 == 6  ? 2
                          : lead >> 4 == 14 ? 3
                          : lead >> 3 == 30 ? 4
                                            : 0;
    if (length == 0) return false;
    unsigned value = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length; k++) {
      if (byte(i + k) >> 6 != 2) return false;
      value = value << 6 | (byte(i + k) & 0x3F);
    }
    constexpr unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return false;
    i += length;
  }
  return true;
}

// `pick` gives ids; also some that no token has.
template <typename Pick>
void check_streams(const Tokenizer& tokenizer, const Pick& pick, int rounds = 300) {
  std::mt19937 random(11);
  Tokenizer::Stream stream(tokenizer);  // one for all rounds: finish makes it fresh
  for (int round = 0; round < rounds; round++) {
    Ids ids(random() % 24);
    for (int32_t& id : ids) id = random() % 20 == 0 ? -1 : pick(random);
    std::string streamed;
    std::vector<std::string> parts;
    for (const int32_t id : ids) {
      parts.push_back(stream.push(id));
      streamed += parts.back();
      // What was printed stays true whatever comes: also when this was the last token.
      REQUIRE(is_utf8(parts.back()));
    }
    const std::string last = stream.finish();
    REQUIRE(is_utf8(last));
    CAPTURE(ids);
    REQUIRE(streamed + last == tokenizer.decode(ids));
  }
}

template <typename Pick>
void check_prefixes(const Tokenizer& tokenizer, const Pick& pick) {
  std::mt19937 random(5);
  for (int round = 0; round < 40; round++) {
    Ids ids(30);
    for (int32_t& id : ids) id = pick(random);
    std::string printed;
    Tokenizer::Stream stream(tokenizer);
    for (size_t n = 0; n < ids.size(); n++) {
      printed += stream.push(ids[n]);
      // A prefix of any continuation's text, of which the text up to here is one.
      const std::string now = tokenizer.decode(std::span(ids).first(n + 1));
      REQUIRE(now.substr(0, printed.size()) == printed);
    }
  }
}

void check(const Tokenizer& tokenizer) {
  const auto any = [&](std::mt19937& random) {
    return static_cast<int32_t>(random() % static_cast<uint64_t>(tokenizer.vocab_size()));
  };
  check_streams(tokenizer, any);
  check_prefixes(tokenizer, any);
}

const std::vector<std::string> pieces = {
    "▁",      "▁a",     "b▁",     "▁▁",   "é", "\U0001F642", " ", "<0xE6>", "<0x9D>", "<0xB1>",
    "<0xFF>", "<0x20>", "<0x41>", "</s>", "x", "Ġ",          "Ã", "©",      "ðŁĻĤ",   "ðŁ"};

}  // namespace

TEST_CASE("streams of every decoder") {
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  const json fallback = {{"type", "ByteFallback"}}, fuse = {{"type", "Fuse"}},
             byte_level = {{"type", "ByteLevel"}};
  const auto strip = [](int start, int stop) -> json {
    return {{"type", "Strip"}, {"content", " "}, {"start", start}, {"stop", stop}};
  };
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  const auto sequence = [](const json& decoders) -> json {
    return {{"type", "Sequence"}, {"decoders", decoders}};
  };
  const json decoders[] = {nullptr,
                           byte_level,
                           fallback,
                           metaspace,
                           strip(1, 1),
                           sequence({replace, fallback, fuse, strip(1, 0)}),
                           sequence({replace, fallback, fuse, strip(3, 2)}),
                           sequence({replace, fallback, fuse, strip(0, 1)}),
                           sequence({metaspace, fallback}),
                           sequence({byte_level, strip(1, 1)})};
  for (const json& decoder : decoders) {
    INFO(decoder.dump());
    json file = bpe_tokenizer(pieces);
    file["decoder"] = decoder;
    file["added_tokens"] = {{{"id", 13}, {"content", "</s>"}, {"special", true}}};
    check(open_tokenizer(file));
  }
}

TEST_CASE("a stream prints what is certain at once") {
  json file = bpe_tokenizer(pieces);
  file["decoder"] = {{"type", "ByteLevel"}};
  const Tokenizer tokenizer = open_tokenizer(file);
  Tokenizer::Stream stream(tokenizer);
  const auto push = [&](const char* token) { return stream.push(tokenizer.token_id(token).value()); };
  CHECK(push("x") == "x");
  CHECK(push("Ã") == "");
  CHECK(push("©") == "é");
  CHECK(push("Ġ") == " ");
  CHECK(push("ðŁ") == "");
  CHECK(push("x") == "\uFFFDx");
  CHECK(push("ðŁ") == "");
  CHECK(stream.finish() == "\uFFFD");
  CHECK(push("x") == "x");
}

TEST_CASE("streams of the reference model's tokenizer") {
  check(Tokenizer::open(whittle::test::reference_model()));
}

TEST_CASE("a stream of many tokens") {
  const Tokenizer tokenizer = whittle::test::open_files(
      {{"tokenizer.model", whittle::test::small_sentencepiece_model(true, true).bytes()}});
  for (const char* token : {"▁", "<0xE6>", "<s>", "a"}) {
    const Ids ids(200'000, tokenizer.token_id(token).value());
    std::string text;
    Tokenizer::Stream stream(tokenizer);
    for (const int32_t id : ids) text += stream.push(id);
    text += stream.finish();
    CHECK((text == tokenizer.decode(ids)));
  }
}

namespace {

// Against the library's own decoding of the same ids.
void check_sentencepiece(const std::string& model) {
  sentencepiece::SentencePieceProcessor processor;
  REQUIRE(processor.LoadFromSerializedProto(model).ok());
  const Tokenizer tokenizer = whittle::test::open_files({{"tokenizer.model", model}});
  std::mt19937 random(3);
  // Bytes and the first pieces, or any.
  for (const int range : {8, 300, processor.GetPieceSize()}) {
    const auto pick = [&](std::mt19937& r) {
      const int from = range == 8 ? processor.GetPieceSize() - 12 : 0;
      return static_cast<int32_t>(
          from + static_cast<int>(r() % static_cast<unsigned>(std::min(range, processor.GetPieceSize()))));
    };
    check_streams(tokenizer, pick);
    check_prefixes(tokenizer, pick);
    for (int round = 0; round < 1000; round++) {
      std::vector<int> ids(random() % 12);
      for (int& id : ids) id = pick(random);
      // A control token amid the bytes of a character is not there for us, and an end of it for the library.
      std::erase_if(ids, [&](int id) { return processor.IsControl(id); });
      CAPTURE(ids);
      REQUIRE(tokenizer.decode(ids) == processor.DecodeIds(ids));
    }
  }
}

}  // namespace

TEST_CASE("sentencepiece ids decode as the library does") {
  for (const bool dummy_prefix : {false, true}) {
    for (const bool remove_extra : {false, true}) {
      CAPTURE(dummy_prefix, remove_extra);
      check_sentencepiece(whittle::test::small_sentencepiece_model(dummy_prefix, remove_extra).bytes());
    }
  }
}

TEST_CASE("streams of large tokenizers") {
  WHITTLE_NEEDS_SHARED(shared);
  const auto folder = shared / "data" / "tokenizers";
  check(Tokenizer::open(folder / "llama-3.1"));
  std::ifstream file(folder / "llama-2" / "tokenizer.model", std::ios::binary);
  check_sentencepiece(std::string(std::istreambuf_iterator<char>(file), {}));
}
