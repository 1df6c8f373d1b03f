// Files from strangers: each fault is one Error that names the file and the field.

#include <catch2/catch.hpp>
#include <functional>

#include "engine/tokenizer/tokenizer.h"
#include "kernels/error.h"
#include "tests/support/tokenizer_files.h"

using nlohmann::json;
using whittle::Tokenizer;
using whittle::test::bpe_tokenizer;
using whittle::test::open_files;
using whittle::test::open_tokenizer;

namespace {

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const whittle::Error& error) {
    return error.what();
  }
  return "no error";
}

json valid_file() {
  json file = bpe_tokenizer({"<s>", "a", "b", "ab"}, {"a b"});
  file["added_tokens"] = {{{"id", 0}, {"content", "<s>"}, {"special", true}}};
  file["normalizer"] = {{"type", "NFC"}};
  file["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "\\s+"}}}, {"behavior", "Isolated"}};
  file["decoder"] = {{"type", "Fuse"}};
  file["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                            {"special_tokens", {{"<s>", {{"ids", {0}}}}}}};
  return file;
}

struct Fault {
  const char* pointer;  // where in the file
  json value;           // what is put there; discarded: the field goes
  const char* named;    // what the message must name
};

const json gone = json(json::value_t::discarded);

json pattern(const char* regex) { return {{"Regex", regex}}; }

}  // namespace

TEST_CASE("faults in tokenizer.json") {
  CHECK(open_tokenizer(valid_file()).encode("ab a") == std::vector<int32_t>{0, 3, 1});
  const Fault faults[] = {
      {"/model", gone, "model"},
      {"/model", 3, "model"},
      {"/model/type", "Unigram", "Unigram"},
      {"/model/type", 1, "type"},
      {"/model/vocab", gone, "vocab"},
      {"/model/vocab", json::array(), "vocab"},
      {"/model/vocab/b", "2", "\"b\""},
      {"/model/vocab/b", 1.5, "\"b\""},
      {"/model/vocab/b", -1, "\"b\""},
      {"/model/vocab/b", 1, "same id 1"},
      {"/model/vocab/b", 1 << 30, "\"b\""},
      {"/model/vocab/b", UINT64_MAX, "\"b\""},
      {"/model/vocab/b", INT64_MIN, "\"b\""},
      {"/model/merges", gone, "merges"},
      {"/model/merges", "a b", "merges"},
      {"/model/merges/0", "a x", "\"x\""},
      {"/model/merges/0", "b a", "\"ba\""},
      {"/model/merges/0", "ab", "merges"},
      {"/model/merges/0", "a b ", "merges"},
      {"/model/merges/0", 7, "merges"},
      {"/model/merges/0", {"a", "b", "c"}, "merges"},
      {"/model/merges/0", {"a", 1}, "merges"},
      {"/model/merges/1", {"a", "b"}, "given twice"},
      {"/model/unk_token", "zz", "unk_token"},
      {"/model/unk_token", 5, "unk_token"},
      {"/model/byte_fallback", "yes", "byte_fallback"},
      {"/model/dropout", 0.5, "dropout"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
      {"/model/scores", json::array(), "scores"},
      {"/surprise", 1, "surprise"},
      {"/version", "2.0", "version"},
      {"/added_tokens", 1, "added_tokens"},
      {"/added_tokens/0", 1, "added_tokens"},
      {"/added_tokens/0/id", 2, "same id 2"},
      {"/added_tokens/0/id", 7, "\"<s>\""},
      {"/added_tokens/0/id", -1, "id"},
      {"/added_tokens/0/id", 1e9, "id"},
      {"/added_tokens/0/id", gone, "id"},
      {"/added_tokens/0/content", gone, "content"},
      {"/added_tokens/0/content", "", "content"},
      {"/added_tokens/0/lstrip", 1, "lstrip"},
      {"/added_tokens/1", {{"id", 0}, {"content", "<s>"}}, "added twice"},
      {"/normalizer/type", "BertNormalizer", "BertNormalizer"},
      {"/normalizer/type", gone, "normalizer"},
      {"/normalizer/extra", 1, "extra"},
      {"/normalizer", {{"type", "Prepend"}}, "prepend"},
      {"/normalizer", {{"type", "Replace"}, {"content", ""}, {"pattern", {{"String", ""}}}}, "pattern"},
      {"/normalizer", {{"type", "Replace"}, {"content", ""}, {"pattern", {{"Glob", "*"}}}}, "Glob"},
      {"/normalizer", {{"type", "Sequence"}, {"normalizers", {{"type", "NFC"}}}}, "normalizers"},
      {"/normalizer", {{"type", "Strip"}, {"strip_left", 1}, {"strip_right", true}}, "strip_left"},
      {"/pre_tokenizer/type", "UnicodeScripts", "UnicodeScripts"},
      {"/pre_tokenizer/behavior", "Sideways", "Sideways"},
      {"/pre_tokenizer/behavior", gone, "behavior"},
      {"/pre_tokenizer/invert", "no", "invert"},
      {"/pre_tokenizer/pattern", "\\s", "pattern"},
      {"/pre_tokenizer/pattern", json::object(), "pattern"},
      {"/pre_tokenizer/pattern", pattern("(a"), "Regex"},
      {"/pre_tokenizer/pattern", pattern("a\\"), "Regex"},
      {"/pre_tokenizer/pattern", pattern("[a"), "Regex"},
      {"/pre_tokenizer/pattern", pattern("\\p{"), "Regex"},
      {"/pre_tokenizer/pattern", pattern("\\w+"), "\\w"},
      {"/pre_tokenizer/pattern", pattern("\\p{Han}"), "Han"},
      {"/pre_tokenizer/pattern", pattern("[a-z&&[^b]]"), "&&"},
      {"/pre_tokenizer/pattern", pattern("[a[^b]]"), "[^"},
      {"/pre_tokenizer/pattern", pattern("[a-[b]]"), "[b"},
      {"/pre_tokenizer/pattern", pattern("[a[b]-c]"), "[b"},
      {"/pre_tokenizer/pattern", pattern("[a[b-c]]"), "[b"},
      {"/pre_tokenizer/pattern", pattern("[a[:alpha:]]"), "[:"},
      {"/pre_tokenizer/pattern", pattern("[a[b[c]]]"), "[b"},
      {"/pre_tokenizer/pattern", pattern("[a[]b]]"), "[]"},
      {"/pre_tokenizer/pattern", pattern("[a[b"), "[b"},
      {"/pre_tokenizer/pattern", pattern("(*LIMIT_MATCH=1)a"), "(*"},
      {"/pre_tokenizer/pattern", pattern("(?R)"), "(?R)"},
      {"/pre_tokenizer/pattern", pattern("(?i)a"), "(?i)"},
      {"/pre_tokenizer/pattern", pattern("a{2}+"), "}+"},
      {"/pre_tokenizer/pattern", pattern("(a{1,60000}){1,60000}"), "Regex"},
      {"/pre_tokenizer/pattern", pattern(std::string(100'000, 'a').c_str()), "Regex"},
      {"/pre_tokenizer/pattern", pattern(std::string(5'000, '(').c_str()), "Regex"},
      {"/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}, "replacement"},
      {"/pre_tokenizer",
       {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}},
       "prepend_scheme"},
      {"/pre_tokenizer",
       {{"type", "Metaspace"},
        {"replacement", "_"},
        {"prepend_scheme", "first"},
        {"add_prefix_space", false}},
       "add_prefix_space"},
      {"/pre_tokenizer",
       {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}},
       "after ByteLevel"},
      {"/decoder/type", "WordPiece", "WordPiece"},
      {"/decoder", "Fuse", "decoder"},
      {"/decoder", {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}}, "start"},
      {"/decoder", {{"type", "Strip"}, {"content", ""}, {"start", 0}, {"stop", 0}}, "content"},
      {"/decoder",
       {{"type", "Sequence"}, {"decoders", {{{"type", "Fuse"}}, {{"type", "ByteLevel"}}}}},
       "after ByteLevel or Fuse"},
      {"/post_processor/type", "BertProcessing", "BertProcessing"},
      {"/post_processor/single", gone, "single"},
      {"/post_processor/single/1", {{"Sequence", {{"id", "B"}}}}, "id"},
      {"/post_processor/single/2", {{"Sequence", {{"id", "A"}}}}, "twice"},
      {"/post_processor/single/1", {{"Word", 1}}, "Word"},
      {"/post_processor/single", json::array(), "single"},
      {"/post_processor/special_tokens", json::object(), "<s>"},
      {"/post_processor/special_tokens/<s>/ids", {77}, "ids"},
      {"/post_processor/special_tokens/<s>/ids", {UINT64_MAX}, "ids"},
      {"/post_processor/special_tokens/<s>/ids", "0", "ids"},
  };
  for (const auto& [pointer, value, named] : faults) {
    json file = valid_file();
    const json::json_pointer place(pointer);
    if (value.is_discarded()) {
      file[place.parent_pointer()].erase(place.back());
    } else {
      file[place] = value;
    }
    const std::string message = error_of([&] { open_tokenizer(file); });
    INFO(pointer << " = " << (value.is_discarded() ? "gone" : value.dump().substr(0, 80)));
    CAPTURE(message);
    CHECK(message.find("tokenizer.json") != std::string::npos);
    CHECK(message.find(named) != std::string::npos);
    CHECK(message.size() < 600);
  }
}

TEST_CASE("tokenizer.json that is no JSON, or too much of it") {
  const std::string valid = valid_file().dump();
  std::string deep = valid;
  deep.insert(1, "\"normalizer\":" + std::string(100'000, '[') + std::string(100'000, ']') + ",");
  std::string twice = valid;
  twice.insert(1, "\"version\":\"1.0\",");
  std::string bad_text = valid;
  bad_text.insert(bad_text.find("\"ab\"") + 2, "\xFF");
  std::string sequences = R"({"type":"NFC"})";
  for (int i = 0; i < 80; i++) sequences = R"({"type":"Sequence","normalizers":[)" + sequences + "]}";
  std::string nested = valid;
  nested.replace(nested.find(R"({"type":"NFC"})"), 14, sequences);
  for (const std::string& content :
       {std::string(), std::string("[]"), std::string("nul"), valid + "}", deep, twice, bad_text, nested}) {
    const std::string message = error_of([&] { open_files({{"tokenizer.json", content}}); });
    CAPTURE(content.substr(0, 60), message);
    CHECK(message.find("tokenizer.json") != std::string::npos);
  }
  for (size_t length = 0; length < valid.size(); length += 7) {
    const std::string message = error_of([&] { open_files({{"tokenizer.json", valid.substr(0, length)}}); });
    CHECK(message.find("tokenizer.json") != std::string::npos);
  }
}

TEST_CASE("a pattern that would take for ever is given up") {
  json file = valid_file();
  file["pre_tokenizer"]["pattern"] = pattern("(a+)+\\z|(a|aa)+\\z");
  const Tokenizer tokenizer = open_tokenizer(file);
  CHECK(tokenizer.encode("aaa").size() == 4);
  const std::string message = error_of([&] { tokenizer.encode(std::string(40, 'a') + "b"); });
  CAPTURE(message);
  CHECK(message.find("pre_tokenizer") != std::string::npos);

  file["pre_tokenizer"]["pattern"] = pattern("(?:a|b)*(?:ab|b)*c");
  const std::string stack = error_of([&] { open_tokenizer(file).encode(std::string(4'000'000, 'a')); });
  CAPTURE(stack);
  CHECK(stack.find("pre_tokenizer") != std::string::npos);
}

TEST_CASE("a text that a normalizer blows up is refused") {
  json file = valid_file();
  file["normalizer"] = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(100'000, 'b')}};
  const Tokenizer tokenizer = open_tokenizer(file);
  CHECK(error_of([&] { tokenizer.encode(std::string(10'000, 'a')); }).find("bytes") != std::string::npos);
}

TEST_CASE("faults in vocab.json, merges.txt and tokenizer_config.json") {
  const std::string vocab = whittle::test::vocabulary_of({"a", "b", "ab"}).dump(), merges = "a b\n";
  REQUIRE(open_files({{"vocab.json", vocab}, {"merges.txt", merges}}).encode("ab").size() == 1);
  struct Case {
    std::string vocab, merges, config, file, named;
  };
  const Case cases[] = {
      {"[]", merges, "{}", "vocab.json", "object"},
      {R"({"a":0,"b":0})", merges, "{}", "vocab.json", "same id"},
      {R"({"a":0,"b":"1"})", merges, "{}", "vocab.json", "\"b\""},
      {R"({"a":0,"b":9999999999})", merges, "{}", "vocab.json", "\"b\""},
      {R"({"a":0,"a":1})", merges, "{}", "vocab.json", "\"a\""},
      {vocab, "a\n", "{}", "merges.txt", "line 1"},
      {vocab, "a b\nb c\n", "{}", "merges.txt", "line 2"},
      {vocab, "a b\na b\n", "{}", "merges.txt", "twice"},
      {vocab, "a b c\n", "{}", "merges.txt", "line 1"},
      {vocab, merges, "[]", "tokenizer_config.json", "object"},
      {vocab, merges, "{\"add_bos_token\":1}", "tokenizer_config.json", "add_bos_token"},
      {vocab, merges, "{\"add_bos_token\":true}", "tokenizer_config.json", "bos_token"},
      {vocab, merges, R"({"add_bos_token":true,"bos_token":"<s>"})", "tokenizer_config.json", "bos_token"},
      {vocab, merges, R"({"bos_token":{"text":"a"}})", "tokenizer_config.json", "bos_token"},
      {vocab, merges, R"({"added_tokens_decoder":{"x":{"content":"a"}}})", "tokenizer_config.json",
       "added_tokens_decoder"},
      {vocab, merges, R"({"added_tokens_decoder":{"1":{"content":"a"}}})", "tokenizer_config.json",
       "same id"},
  };
  for (const Case& c : cases) {
    const std::string message = error_of([&] {
      open_files({{"vocab.json", c.vocab}, {"merges.txt", c.merges}, {"tokenizer_config.json", c.config}});
    });
    CAPTURE(c.vocab, c.merges, c.config, message);
    CHECK(message.find(c.file) != std::string::npos);
    CHECK(message.find(c.named) != std::string::npos);
  }
  CHECK(error_of([&] { open_files({{"vocab.json", vocab}}); }).find("merges.txt") != std::string::npos);
}

TEST_CASE("faults in tokenizer.model") {
  using Model = whittle::test::SentencePieceModel;
  const std::string valid = whittle::test::small_sentencepiece_model(true, false).bytes();
  REQUIRE(open_files({{"tokenizer.model", valid}}).vocab_size() > 256);
  const std::string charsmap = Model::field(2, std::string("\x04\0\0\0\xFF\xFF\xFF\xFF", 8));
  const auto model = [] { return whittle::test::small_sentencepiece_model(true, false); };
  const std::pair<std::string, const char*> cases[] = {
      {"", ""},
      {"not a model", ""},
      {"\x0A", ""},
      {std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12), ""},
      {std::string(11, '\xFF'), ""},
      {"\x0A\xF0\xFF\x7F", ""},
      {model().piece("he", 0, Model::normal).bytes(), "he"},
      {model().piece("", 0, Model::normal).bytes(), ""},
      {model().piece("<unk2>", 0, Model::unknown).bytes(), ""},
      {model().piece("\xFF", 0, Model::normal).bytes(), "UTF-8"},
      {Model().piece("a", 0, Model::normal).trainer(false).normalizer(true, false).bytes(), ""},
      {model().normalizer(true, false, charsmap).bytes(), "precompiled_charsmap"},
      {model().bytes() + Model::field(5, charsmap), "precompiled_charsmap"},
      {model().trainer(true, Model::varint(24 << 3) + Model::varint(1)).bytes(),
       "treat_whitespace_as_suffix"},
  };
  for (const auto& [content, named] : cases) {
    const std::string message = error_of([&] { open_files({{"tokenizer.model", content}}); });
    CAPTURE(named, message);
    CHECK(message.find("tokenizer.model") != std::string::npos);
    CHECK(message.find(named) != std::string::npos);
  }
  // Cut anywhere: an error, or a smaller model that works.
  for (size_t length = 0; length < valid.size(); length += 5) {
    const std::string message = error_of([&] {
      open_files({{"tokenizer.model", valid.substr(0, length)}}).encode("the a");
    });
    CHECK((message == "no error" || message.find("tokenizer.model") != std::string::npos));
  }
}

TEST_CASE("a folder without a tokenizer") {
  whittle::test::TemporaryFolder folder;
  CHECK(error_of([&] { Tokenizer::open(folder.path()); }).find("tokenizer.json") != std::string::npos);
  CHECK(error_of([&] { Tokenizer::open(folder.path() / "absent"); }).find("absent") != std::string::npos);
}
