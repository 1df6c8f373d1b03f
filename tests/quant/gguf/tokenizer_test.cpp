#include "quant/gguf/tokenizer.h"

#include <catch2/catch.hpp>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

json metadata_of(const fs::path& folder, const ModelSpec& spec) {
  json result = json::object();
  for (const auto& [key, value] : tokenizer_metadata(folder, spec))
    std::visit([&, &name = key](const auto& content) { result[name] = content; }, value);
  return result;
}

ModelSpec spec_of(int64_t vocab_size) {
  ModelSpec spec;
  spec.vocab_size = vocab_size;
  spec.eos_token_ids = {2};
  return spec;
}

json metadata_of(const Files& files, int64_t vocab_size) {
  const TemporaryFolder folder;
  for (const auto& [name, content] : files) write_text(folder.path() / name, content);
  return metadata_of(folder.path(), spec_of(vocab_size));
}

json reference_tokenizer() { return read_json_file(reference_model() / "tokenizer.json", 1 << 24); }

// Every byte, "▁", and the words that merges make of "▁", "a" and "b".
json sentencepiece_style(json merges) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  for (int i = 0; i < 256; ++i) tokens.push_back(fmt::format("<0x{:02X}>", i));
  for (const char* text : {"▁", "a", "b", "ab", "▁a", "▁ab"}) tokens.emplace_back(text);
  json file = bpe_tokenizer(tokens, std::move(merges));
  file["model"]["byte_fallback"] = true;
  file["model"]["unk_token"] = "<unk>";
  file["normalizer"] = {{"type", "Sequence"},
                        {"normalizers",
                         {{{"type", "Prepend"}, {"prepend", "▁"}},
                          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
  file["added_tokens"] = {{{"id", 1}, {"content", "<s>"}, {"special", true}},
                          {{"id", 2}, {"content", "</s>"}, {"special", true}}};
  return file;
}

const json all_merges = json::array({"a b", "▁ ab", "▁a b", "▁ a"});

void check_refused(const json& tokenizer, const std::string& part, int64_t vocab_size = 5000) {
  INFO(part);
  CHECK_THROWS_WITH(metadata_of({{"tokenizer.json", tokenizer.dump()}}, vocab_size), Contains(part));
}

}  // namespace

TEST_CASE("A byte-level tokenizer.json keeps tokens, merges and special ids") {
  const json file = reference_tokenizer();
  const json metadata = metadata_of(reference_model(), spec_of(4100));
  CHECK(metadata["tokenizer.ggml.model"] == "gpt2");
  CHECK(metadata["tokenizer.ggml.pre"] == "smaug-bpe");  // Llama 3's words; its own name would ignore merges
  const json& tokens = metadata["tokenizer.ggml.tokens"];
  REQUIRE(tokens.size() == 4100);
  for (const auto& [text, id] : file["model"]["vocab"].items()) CHECK(tokens[id.get<size_t>()] == text);
  CHECK(metadata["tokenizer.ggml.merges"] == file["model"]["merges"]);
  const json& types = metadata["tokenizer.ggml.token_type"];
  CHECK(types[0] == 3);     // control
  CHECK(types[1] == 1);     // normal
  CHECK(types[4099] == 5);  // unused: the model has more rows than the tokenizer tokens
  CHECK(tokens[4098] != tokens[4099]);
  CHECK(metadata["tokenizer.ggml.bos_token_id"] == 0);
  CHECK(metadata["tokenizer.ggml.eos_token_id"] == 2);
  CHECK(metadata["tokenizer.ggml.add_bos_token"] == true);
  CHECK(metadata["tokenizer.ggml.add_eos_token"] == false);
}

TEST_CASE("Ways to cut words have names") {
  json file = reference_tokenizer();
  const auto name = [&] {
    return metadata_of({{"tokenizer.json", file.dump()}}, 4096)["tokenizer.ggml.pre"];
  };
  file["model"]["ignore_merges"] = true;
  CHECK(name() == "llama-bpe");
  file["model"]["ignore_merges"] = false;
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  file["pre_tokenizer"] = bytes;
  CHECK(name() == "gpt-2");
  file["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, bytes}}};
  CHECK(name() == "smollm");
  json pieces = bytes;
  pieces["use_regex"] = false;
  const json words = {{"type", "Split"},
                      {"pattern", {{"Regex", R"( ?[^(\s|[.,!?…。，、।۔،])]+)"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  json bloom = file;
  bloom["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {words, pieces}}};
  CHECK(metadata_of({{"tokenizer.json", bloom.dump()}}, 4096)["tokenizer.ggml.pre"] == "bloom");
  file["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false;
  check_refused(file, "pre_tokenizer");
}

TEST_CASE("A sentencepiece-style tokenizer.json gets scores in the order of its merges") {
  const json metadata = metadata_of({{"tokenizer.json", sentencepiece_style(all_merges).dump()}}, 265);
  CHECK(metadata["tokenizer.ggml.model"] == "llama");
  CHECK(metadata["tokenizer.ggml.add_space_prefix"] == true);
  const json &scores = metadata["tokenizer.ggml.scores"], &types = metadata["tokenizer.ggml.token_type"];
  CHECK(scores[262] > scores[264]);  // "ab" before "▁ab" before "▁a"
  CHECK(scores[264] > scores[263]);
  CHECK(types[0] == 2);  // unknown
  CHECK(types[1] == 3);  // control
  CHECK(types[3] == 6);  // byte
  CHECK(types[258] == 6);
  CHECK(types[259] == 1);
}

TEST_CASE("A tokenizer.model keeps its scores and types") {
  const Files files = {{"tokenizer.model", small_sentencepiece_model(false, false).bytes()}};
  const json metadata = metadata_of(files, 300);
  CHECK(metadata["tokenizer.ggml.model"] == "llama");
  CHECK(metadata["tokenizer.ggml.add_space_prefix"] == false);
  CHECK(metadata["tokenizer.ggml.tokens"].size() == 300);
  CHECK(metadata["tokenizer.ggml.tokens"][260] == "he");
  CHECK(metadata["tokenizer.ggml.scores"][260] == -1.0);
  const json& types = metadata["tokenizer.ggml.token_type"];
  const std::vector<std::pair<size_t, int>> expected = {{0, 2}, {1, 3}, {3, 6}, {260, 1}, {270, 4}, {271, 5}};
  for (const auto& [id, type] : expected) CHECK(types[id] == type);
  CHECK(metadata["tokenizer.ggml.bos_token_id"] == 1);
  CHECK(metadata["tokenizer.ggml.add_bos_token"] == true);
  CHECK(metadata_of({{"tokenizer.model", small_sentencepiece_model(true, false).bytes()}},
                    271)["tokenizer.ggml.add_space_prefix"] == true);
}

TEST_CASE("A folder without a tokenizer has ids only; its chat template is kept where it has one") {
  CHECK(metadata_of(Files{}, 10) == json{{"tokenizer.ggml.model", "no_vocab"}});
  const Files files = {{"tokenizer.model", small_sentencepiece_model(true, true).bytes()},
                       {"tokenizer_config.json", R"({"chat_template": "{{ messages }}"})"}};
  CHECK(metadata_of(files, 271)["tokenizer.chat_template"] == "{{ messages }}");
}

TEST_CASE("A tokenizer that GGUF has no name for is an error") {
  json file = reference_tokenizer();
  check_refused(file, "vocab_size = 4095", 4095);
  file["model"]["ignore_merges"] = true;
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\s+|\\S+";
  check_refused(file, "pre_tokenizer");
  file = reference_tokenizer();
  file["normalizer"] = {{"type", "Lowercase"}};
  check_refused(file, "normalizer");
  file = reference_tokenizer();
  file["added_tokens"][0]["lstrip"] = true;
  check_refused(file, "lstrip");

  json merges = all_merges;
  merges.erase(1);
  check_refused(sentencepiece_style(merges), "do not merge");
  file = sentencepiece_style(all_merges);
  file["model"]["byte_fallback"] = false;
  check_refused(file, "byte_fallback");
  file = sentencepiece_style(all_merges);
  file["normalizer"] = {{"type", "Lowercase"}};
  check_refused(file, "normalizer");

  CHECK_THROWS_WITH(metadata_of({{"vocab.json", "{}"}, {"merges.txt", ""}}, 10), Contains("vocab.json"));
  SentencePieceModel unigram = small_sentencepiece_model(true, true);
  unigram.trainer(true, SentencePieceModel::varint(3 << 3) + SentencePieceModel::varint(1));
  CHECK_THROWS_WITH(metadata_of({{"tokenizer.model", unigram.bytes()}}, 300), Contains("model_type"));
}
