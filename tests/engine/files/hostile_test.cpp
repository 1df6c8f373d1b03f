// Model folders as a stranger might make them: each must give one Error that names the file and the field or
// tensor.

#include "tests/support/hostile.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>

#include "engine/tokenizer/tokenizer.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
using nlohmann::json;
using nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

const std::string norm = "model.norm.weight";  // the tensor that most cases spoil

std::string deep(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("hostile: the untouched models load") {
  TemporaryFolder folder;
  write_tiny_model(folder.path());
  CHECK_NOTHROW(load(folder.path()));
  TemporaryFolder sharded;
  write_sharded_tiny_model(sharded.path());
  CHECK_NOTHROW(load(sharded.path()));
}

TEST_CASE("hostile: bytes of a safetensors file") {
  const std::vector<RawTensor> tensors = tensors_of({});
  const std::string good = safetensors_bytes(header_of(tensors).dump(), buffer_of(tensors));
  const std::string header = header_of(tensors).dump(), buffer = buffer_of(tensors);
  const auto with_length = [&](uint64_t length) {
    std::string bytes = good;
    std::memcpy(bytes.data(), &length, 8);
    return bytes;
  };
  const auto as_header = [&](const std::string& text) { return safetensors_bytes(text, buffer); };
  const struct {
    const char* what;
    std::string bytes, name;
  } cases[] = {
      {"empty", "", "8"},
      {"seven bytes", good.substr(0, 7), "8"},
      {"cut in the header", good.substr(0, 100), "header"},
      {"cut in the data", good.substr(0, good.size() - 1), "data_offsets"},
      {"a byte too many", good + "x", "data_offsets"},
      {"header length 2^64 - 1", with_length(UINT64_MAX), "header"},
      {"header length 2^63", with_length(uint64_t{1} << 63), "header"},
      {"header length over 100 MB", with_length(100'000'001), "header"},
      {"header length 0", with_length(0), "header"},
      {"header length one short", with_length(header.size() - 1), "header"},
      {"header an array", as_header("[]"), "header"},
      {"header after a space", as_header(" " + header), "header"},
      {"header with a byte order mark", as_header("\xef\xbb\xbf" + header), "header"},
      {"header cut", as_header(header.substr(0, header.size() / 2)), "header"},
      {"text after the header", as_header(header + "{}"), "header"},
      {"header not UTF-8", as_header("{\"\xff\xfe\":1}"), "header"},
      {"header nested deep", as_header("{\"a\":" + deep(100'000) + "}"), "deep"},
      {"header never closed", as_header("{\"a\":" + std::string(100'000, '[')), "deep"},
      {"a number too large for a double", as_header("{\"a\":1e999}"), "header"},
      {"a zero byte", as_header(std::string("{\"a\":\0}", 7)), "header"},
      {"a tensor twice", as_header(header.substr(0, header.size() - 1) + "," + header.substr(1)), "twice"},
      {"a field twice", as_header(R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})"),
       "dtype"},
      {"metadata with a number", as_header(R"({"__metadata__":{"n":1}})"), "__metadata__"},
      {"metadata a string", as_header(R"({"__metadata__":"x"})"), "__metadata__"},
      {"no tensor, but data", as_header("{}"), "data_offsets"},
      {"a name a megabyte long", as_header("{\"" + std::string(1 << 20, 'n') + "\":{}}"), "dtype"},
  };
  for (const auto& [what, bytes, name] : cases) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    write_text(folder.path() / weights_name, bytes);
    check_refused(folder.path(), what, {weights_name, name});
  }
}

TEST_CASE("hostile: fields of a tensor in the header") {
  const int64_t huge = int64_t{1} << 62;
  const size_t begin = header_of(tensors_of({}))[norm]["data_offsets"][0];
  const struct {
    const char* what;
    std::string field;
    ordered_json value;
  } cases[] = {
      {"dtype a number", "dtype", 1},
      {"dtype unknown", "dtype", "F31"},
      {"dtype in small letters", "dtype", "f32"},
      {"dtype of another size", "dtype", "F64"},
      {"dtype null", "dtype", nullptr},
      {"shape a number", "shape", 8},
      {"shape of strings", "shape", {"8"}},
      {"shape with a fraction", "shape", {8.0}},
      {"shape negative", "shape", {-8}},
      {"shape negative twice", "shape", {-2, -4}},
      {"shape over 2^63", "shape", {UINT64_MAX}},
      {"shape product overflows to the right size", "shape", {huge, 4, 8}},
      {"shape product overflows", "shape", {1 << 30, 1 << 30, 1 << 30}},
      {"shape too small", "shape", {7}},
      {"shape too large", "shape", {9}},
      {"shape with a zero", "shape", {0, huge}},
      {"shape nested", "shape", {{8}}},
      {"offsets a number", "data_offsets", 3},
      {"offsets of one", "data_offsets", {begin}},
      {"offsets of three", "data_offsets", {begin, begin + 32, begin + 32}},
      {"offsets turned round", "data_offsets", {begin + 32, begin}},
      {"offsets past the end", "data_offsets", {begin, huge}},
      {"offsets both past the end", "data_offsets", {huge - 32, huge}},
      {"offsets negative", "data_offsets", {-32, 0}},
      {"offsets of strings", "data_offsets", {"0", "32"}},
      {"offsets overlapping the tensor before", "data_offsets", {begin - 4, begin + 28}},
      {"offsets leaving a hole", "data_offsets", {begin + 4, begin + 36}},
      {"offsets of another tensor", "data_offsets", {0, 32}},
      {"a field that the format does not have", "strides", {1}},
  };
  for (const auto& [what, field, value] : cases) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    ordered_json header = header_of(tensors_of({}));
    header[norm][field] = value;
    write_text(folder.path() / weights_name, safetensors_bytes(header.dump(), buffer_of(tensors_of({}))));
    check_refused(folder.path(), what, {weights_name, field});
  }
  for (const std::string field : {"dtype", "shape", "data_offsets"}) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    ordered_json header = header_of(tensors_of({}));
    header[norm].erase(field);
    write_text(folder.path() / weights_name, safetensors_bytes(header.dump(), buffer_of(tensors_of({}))));
    check_refused(folder.path(), "without " + field, {weights_name, norm, field});
  }
}

TEST_CASE("hostile: tensors that do not fit the model") {
  const struct {
    const char* what;
    std::function<void(std::vector<RawTensor>&, RawTensor&)> edit;  // of all, and of the norm
    std::string name;
  } cases[] = {
      {"a norm of integers", [](auto&, RawTensor& tensor) { tensor.dtype = "I32"; }, norm},
      {"a norm in two dimensions",
       [](auto&, RawTensor& tensor) {
         tensor.shape = {2, 4};
       },
       norm},
      {"a norm with NaN",
       [](auto&, RawTensor& tensor) { tensor.bytes = encode(std::vector<float>(8, NAN), "F32"); }, norm},
      {"a norm in float8",
       [](auto&, RawTensor& tensor) {
         tensor = {norm, "F8_E4M3", {8}, "12345678"};
       },
       norm},
      {"a norm missing", [](auto&, RawTensor& tensor) { tensor.name = "model.other.weight"; }, "model.norm"},
      {"a matrix turned round",
       [](auto& all, RawTensor&) { std::swap(all.back().shape[0], all.back().shape[1]); }, "embed_tokens"},
      {"a matrix of bytes",
       [](auto& all, RawTensor&) {
         all.back().dtype = "I8";
         all.back().bytes.resize(128);
       },
       "embed_tokens"},
      {"a bias out of nowhere",
       [](auto& all, RawTensor&) {
         all.push_back({"model.layers.0.mlp.up_proj.bias", "F32", {16}, std::string(64, 0)});
       },
       "up_proj.bias"},
      {"a tensor without a name",
       [](auto& all, RawTensor&) {
         all.push_back({"", "F32", {}, "1234"});
       },
       "\"\""},
      {"control characters in a name",
       [](auto& all, RawTensor&) {
         all.push_back({"\x1b[2J", "F32", {}, "1234"});
       },
       "\\x1b[2J"},
  };
  for (const auto& [what, edit, name] : cases) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    std::vector<RawTensor> tensors = tensors_of({});
    edit(tensors, *std::ranges::find(tensors, norm, &RawTensor::name));
    write_safetensors(folder.path() / weights_name, tensors);
    check_refused(folder.path(), what, {weights_name, name});
  }
}

TEST_CASE("hostile: config.json") {
  const json object = json::object();
  const struct {
    std::string field;
    json value;
  } cases[] = {
      {"architectures", "LlamaForCausalLM"},
      {"architectures", json::array()},
      {"architectures", {"A", "B"}},
      {"architectures", {1}},
      {"architectures", {"FalconForCausalLM"}},
      {"architectures", nullptr},
      {"model_type", "qwen2"},
      {"model_type", 1},
      {"hidden_size", 0},
      {"hidden_size", -8},
      {"hidden_size", 8.0},
      {"hidden_size", "8"},
      {"hidden_size", nullptr},
      {"hidden_size", UINT64_MAX},
      {"hidden_size", int64_t{1} << 40},
      {"intermediate_size", 0},
      {"intermediate_size", int64_t{1} << 60},
      {"num_hidden_layers", 0},
      {"num_hidden_layers", 10'001},
      {"num_hidden_layers", true},
      {"num_attention_heads", 0},
      {"num_attention_heads", int64_t{1} << 31},
      {"num_key_value_heads", 3},
      {"num_key_value_heads", 0},
      {"head_dim", 3},
      {"head_dim", -4},
      {"head_dim", 1 << 30},
      {"vocab_size", 0},
      {"vocab_size", int64_t{1} << 33},
      {"vocab_size", object},
      {"max_position_embeddings", 0},
      {"max_position_embeddings", int64_t{1} << 40},
      {"rms_norm_eps", 0},
      {"rms_norm_eps", -1e-6},
      {"rms_norm_eps", "small"},
      {"rms_norm_eps", 1e30},
      {"rms_norm_eps", 1e-300},
      {"rope_theta", 0},
      {"rope_theta", -1},
      {"rope_theta", json::array()},
      {"rope_scaling", 2},
      {"rope_scaling", {{"type", "yarn"}, {"factor", 2}}},
      {"rope_scaling", {{"rope_type", "longrope"}}},
      {"rope_scaling", {{"type", "linear"}}},
      {"rope_scaling", {{"type", "linear"}, {"factor", 0}}},
      {"rope_scaling", {{"type", "linear"}, {"rope_type", "llama3"}, {"factor", 2}}},
      {"rope_scaling", {{"type", "linear"}, {"factor", 2}, {"attention_factor", 3}}},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}}},
      {"rope_scaling",
       {{"rope_type", "llama3"},
        {"factor", 8},
        {"low_freq_factor", 4},
        {"high_freq_factor", 4},
        {"original_max_position_embeddings", 8}}},
      {"rope_parameters", {{"full_attention", object}}},
      {"hidden_act", "gelu"},
      {"hidden_act", 1},
      {"tie_word_embeddings", 1},
      {"attention_bias", "no"},
      {"mlp_bias", 0},
      {"bos_token_id", 16},
      {"bos_token_id", "0"},
      {"eos_token_id", -1},
      {"eos_token_id", {1, "2"}},
      {"eos_token_id", {1, 99}},
      {"num_experts", 8},
      {"quantization_config", 4},
      {"compression_config", {{"a", 1}}},
  };
  for (const auto& [field, value] : cases) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    ordered_json config = config_of({});
    config[field] = value;
    write_text(folder.path() / config_name, config.dump());
    check_refused(folder.path(), field + ": " + value.dump(), {config_name, field});
  }
  for (const std::string field : {"architectures", "model_type", "hidden_size", "intermediate_size",
                                  "num_hidden_layers", "num_attention_heads", "vocab_size"}) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    ordered_json config = config_of({});
    config.erase(field);
    write_text(folder.path() / config_name, config.dump());
    check_refused(folder.path(), "without " + field, {config_name, field});
  }
}

TEST_CASE("hostile: files that are no JSON, or not there") {
  for (const std::string& file : {config_name, std::string("generation_config.json"), index_name}) {
    const std::string texts[] = {"",
                                 "{",
                                 "[]",
                                 "null",
                                 "{} {}",
                                 "{\"a\": 1, \"a\": 2}",
                                 "{\"a\": " + deep(65) + "}",
                                 "{'a': 1}",
                                 "{\"a\": NaN}",
                                 "{\"\xc0\x80\": 1}",
                                 "\xff\xfe{}",
                                 std::string("{\"a\"\0:1}", 9)};
    for (const std::string& text : texts) {
      TemporaryFolder folder;
      write_sharded_tiny_model(folder.path());
      write_text(folder.path() / file, text);
      check_refused(folder.path(), text, {file});
    }
  }
  TemporaryFolder folder;
  write_tiny_model(folder.path());
  write_text(folder.path() / config_name, "{\"a\": \"" + std::string(17 << 20, 'x') + "\"}");
  check_refused(folder.path(), "17 MB of config.json", {config_name, "bytes"});
  fs::remove(folder.path() / config_name);
  check_refused(folder.path(), "no config.json", {config_name});
  fs::create_directory(folder.path() / config_name);
  check_refused(folder.path(), "config.json a folder", {config_name});
  check_refused(folder.path() / weights_name, "a file for a folder", {weights_name, "folder"});
  check_refused(folder.path() / "none", "no folder", {"none"});

  TemporaryFolder other;
  write_tiny_model(other.path());
  fs::remove(other.path() / weights_name);
  check_refused(other.path(), "no weights", {weights_name});
  fs::create_directory(other.path() / weights_name);
  check_refused(other.path(), "weights a folder", {weights_name});
  fs::remove(other.path() / weights_name);
  REQUIRE(mkfifo((other.path() / weights_name).c_str(), 0600) == 0);
  check_refused(other.path(), "weights a pipe", {weights_name, "regular"});
}

TEST_CASE("hostile: git-lfs pointers in the place of files") {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 4500000000\n";
  for (const std::string& file : {config_name, weights_name}) {
    TemporaryFolder folder;
    write_tiny_model(folder.path());
    write_text(folder.path() / file, pointer);
    check_refused(folder.path(), file, {file, "git-lfs"});
  }
  for (const std::string file : {"tokenizer.json", "tokenizer.model"}) {
    TemporaryFolder folder;
    write_text(folder.path() / file, pointer);
    CHECK_THROWS_WITH(Tokenizer::open(folder.path()),
                      Catch::Matchers::Contains(file) && Catch::Matchers::Contains("git-lfs"));
  }
}

TEST_CASE("hostile: the index of shards") {
  const std::string first = "model-00001-of-00002.safetensors", second = "model-00002-of-00002.safetensors";
  const struct {
    const char* what;
    std::function<void(json& map)> edit;
    std::vector<std::string> names;
  } cases[] = {
      {"a path upwards", [](json& map) { map[norm] = "../model.safetensors"; }, {index_name, norm}},
      {"a whole path", [](json& map) { map[norm] = "/etc/passwd"; }, {index_name, norm}},
      {"two dots", [](json& map) { map[norm] = ".."; }, {index_name, norm}},
      {"no name", [](json& map) { map[norm] = ""; }, {index_name, norm}},
      {"a zero byte", [&](json& map) { map[norm] = second + std::string(1, '\0'); }, {index_name, norm}},
      {"an escape sequence", [](json& map) { map[norm] = "\x1b[2J"; }, {index_name, norm, "\\x1b"}},
      {"a number", [](json& map) { map[norm] = 1; }, {index_name, norm}},
      {"a shard that is not there",
       [](json& map) { map[norm] = "absent.safetensors"; },
       {"absent.safetensors"}},
      {"config.json for a shard", [](json& map) { map[norm] = "config.json"; }, {config_name, "header"}},
      {"the wrong shard", [&](json& map) { map[norm] = first; }, {first, norm}},
      {"a tensor too many", [&](json& map) { map["x"] = first; }, {index_name, "\"x\""}},
      {"a tensor too few", [](json& map) { map.erase(norm); }, {second, norm}},
      {"nothing", [](json& map) { map = json::object(); }, {index_name, "weight_map"}},
      {"a list", [](json& map) { map = json::array(); }, {index_name, "weight_map"}},
      {"null", [](json& map) { map = nullptr; }, {index_name, "weight_map"}},
  };
  for (const auto& [what, edit, names] : cases) {
    TemporaryFolder folder;
    write_sharded_tiny_model(folder.path());
    json index = json::parse(read_text(folder.path() / index_name));
    edit(index["weight_map"]);
    write_text(folder.path() / index_name, index.dump());
    check_refused(folder.path(), what, names);
  }
  TemporaryFolder folder;  // both shards hold all tensors
  write_sharded_tiny_model(folder.path());
  write_safetensors(folder.path() / second, tensors_of({}));
  check_refused(folder.path(), "tensors in two shards", {second, "weight_map"});
}
