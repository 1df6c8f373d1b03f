// `whittle estimate` from outside: what it says of a folder is what the quantized model then takes; hostile
// configs.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/kv_cache.h"
#include "engine/model.h"
#include "quant/pipeline.h"
#include "tests/support/commands.h"
#include "tests/support/hostile.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_families.h"

using namespace whittle;
using namespace whittle::test;
using nlohmann::json;

namespace {

json estimate(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "estimate");
  const Outcome outcome = run_whittle(with(arguments, {"--memory-only", "--threads", "1", "--json", "-"}));
  INFO(outcome.err);
  REQUIRE(outcome.exit_code == 0);
  return parse_report(outcome.out);
}

struct Choice {
  std::vector<std::string> flags;
  std::optional<Recipe> recipe;  // that these stand for; unset: the original
};

std::vector<Choice> choices() {
  Recipe int8, int4, mixed;
  int4.weights = WeightFormat::int4;
  int4.group_size = 32;
  int4.lm_head = int4.embedding = WeightFormat::int8;
  mixed.weights = WeightFormat::int5;
  mixed.group_size = 64;
  mixed.lm_head = WeightFormat::int6;
  return {{{"--weights", "f16"}, {}},
          {{"--weights", "int8"}, int8},
          {{"--weights", "int4", "--group-size", "32", "--lm-head", "int8", "--embedding", "int8"}, int4},
          {{"--weights", "int5", "--group-size", "64", "--lm-head", "int6"}, mixed}};
}

}  // namespace

TEST_CASE("What is said before is what a quantized model takes, byte by byte, in every family and format") {
  const TemporaryFolder folder;
  const Team team(1);
  std::vector<std::string> sources;
  for (const char* architecture : {"LlamaForCausalLM", "Qwen3ForCausalLM"}) {
    sources.push_back(folder.path() / architecture);
    std::filesystem::create_directories(sources.back());
    write_tiny_model(sources.back(), {.architecture = architecture,
                                      .hidden_size = 64,
                                      .intermediate_size = 160,
                                      .num_attention_heads = 4,
                                      .num_key_value_heads = 2,
                                      .head_dim = 16,
                                      .vocab_size = 100,
                                      .dtype = "F16",
                                      .tied = sources.size() == 1});
  }
  for (const bool gpt2 : {true, false})
    sources.push_back(write_family(folder.path() / (gpt2 ? "gpt2" : "bloom"), {.gpt2 = gpt2}));
  int made = 0;
  for (const std::string& source : sources)
    for (const Choice& choice : choices()) {
      std::string out = source;
      if (choice.recipe) {
        out = folder.path() / std::to_string(made++);
        quantize(source, out, *choice.recipe, team, {"test"}, {});
      }
      const Model model(out, team);
      const json said = estimate(with({source, "--context", "50", "--kv-cache", "int8", "--sequences", "2"},
                                      choice.flags))["formats"][0];
      CAPTURE(source, said["name"]);
      CHECK(said["weights_bytes"] == model.weight_bytes());
      CHECK(said["kv_cache_bytes"] == 2 * KvCache::bytes(model.spec(), KvFormat::int8, 50));
      const ModelFile file(out);
      int64_t stored = 0;
      for (const TensorView& tensor : file.tensors()) stored += static_cast<int64_t>(tensor.bytes.size());
      CHECK(said["file_bytes"] == stored);
    }
}

TEST_CASE("A shape is compared in four formats, and a model that does not fit is said to be too large") {
  const json bloom = estimate({"bloom-176b"});
  CHECK(bloom["schema"] == "whittle.estimate");
  CHECK(bloom["parameters"] == 176'247'271'424);
  REQUIRE(bloom["formats"].size() == 4);
  std::vector<std::string> names;
  for (const json& format : bloom["formats"]) names.push_back(format["name"]);
  CHECK(names == std::vector<std::string>{"f16", "int8", "int4 g128", "int4 g32"});
  CHECK(bloom["formats"][0]["file_bytes"] == 2 * 176'247'271'424);
  CHECK(bloom["formats"][0]["decode_tokens_per_s"].is_null());
  const json f16 = bloom["formats"][0];
  CHECK(f16["fits"] == (f16["missing_bytes"] == 0));
  CHECK(f16["missing_bytes"].get<int64_t>() ==
        std::max<int64_t>(
            0, f16["peak_rss_bytes"].get<int64_t>() - bloom["memory_available_bytes"].get<int64_t>()));
  const Outcome table = run_whittle({"estimate", "bloom-176b", "--memory-only"});
  CHECK(has(table.out, "352 GB"));
}

TEST_CASE("A small model is run, and a config alone is enough") {
  const TemporaryFolder folder;
  const std::string config = folder.path() / "config.json";
  write_text(config, config_of(TinyModel{.vocab_size = 100}).dump());
  const Outcome outcome = run_whittle(
      {"estimate", config, "--weights", "int8", "--prompt-tokens", "8", "--threads", "1", "--json", "-"});
  INFO(outcome.err);
  REQUIRE(outcome.exit_code == 0);
  const json said = parse_report(outcome.out)["formats"][0];
  CHECK(said["decode_tokens_per_s"] > 0);
  CHECK(said["prefill_tokens_per_s"] > 0);
  CHECK(said["miniature_share"] == 1);
}

TEST_CASE("Flags that cannot be meant, and models that are none, are refused in one line") {
  const TemporaryFolder folder;
  const auto refused = [](std::vector<std::string> arguments, int code, const std::string& part) {
    arguments.insert(arguments.begin(), "estimate");
    const Outcome outcome = run_whittle(with(arguments, {"--memory-only"}));
    INFO(json(arguments).dump() << outcome.err);
    CHECK(outcome.exit_code == code);
    CHECK(outcome.out.empty());
    CHECK(lines(outcome.err) == (code == 2 ? 2 : 1));  // where help is found, too
    CHECK(has(outcome.err, part));
  };
  refused({"llama-3.1-8c"}, 1, "llama-3.1-8b");
  refused({folder.path()}, 1, "config.json");
  refused({"smollm-135m", "--group-size", "32"}, 2, "--group-size");
  refused({"smollm-135m", "--weights", "int4", "--group-size", "channel"}, 2, "--group-size");
  refused({"smollm-135m", "--weights", "f16", "--group-size", "32"}, 2, "--group-size");
  refused({"smollm-135m", "--context", "100000"}, 1, "--context");
  refused({"smollm-135m", "--context", "10", "--prompt-tokens", "11"}, 2, "--prompt-tokens");
  json config = json::parse(config_of(TinyModel{}).dump());
  const std::string path = folder.path() / "config.json", other = folder.path() / "other.json";
  const auto hostile = [&](const std::string& text, const std::string& part) {
    write_text(path, text);
    write_text(other, text);
    refused({other}, 1, part == "config.json" ? "other.json" : part);
    refused({other}, 1, "other.json");
    refused({folder.path()}, 1, part);
  };
  hostile("", "config.json");
  hostile("[1, 2", "config.json");
  hostile("[]", "config.json");
  hostile("{\"a\": \xff}", "config.json");
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, json>>{{"hidden_size", -1},
                                                 {"hidden_size", "8"},
                                                 {"hidden_size", 1e300},
                                                 {"num_hidden_layers", 0},
                                                 {"vocab_size", nullptr},
                                                 {"architectures", {"\x1b[31mX"}},
                                                 {"torch_dtype", 16},
                                                 {"torch_dtype", "int\x1b[3m"},
                                                 {"an_unknown_field", 1}}) {
    json changed = config;
    changed[field] = value;
    hostile(changed.dump(), field);
  }
}

TEST_CASE("The largest config that can be read is answered, too") {
  const TemporaryFolder folder;
  json config = json::parse(config_of(TinyModel{}).dump());
  config["hidden_size"] = 1 << 20;
  config["intermediate_size"] = 1 << 22;
  config["num_hidden_layers"] = 10'000;
  config["num_attention_heads"] = config["num_key_value_heads"] = 1 << 12;
  config["head_dim"] = 1 << 10;
  config["vocab_size"] = 1 << 24;
  config["max_position_embeddings"] = 1 << 24;
  write_text(folder.path() / "config.json", config.dump());
  const json said = estimate({folder.path(), "--context", std::to_string(1 << 24)});
  for (const json& format : said["formats"]) {
    CHECK(format["fits"] == false);
    CHECK(format["peak_rss_bytes"] > int64_t{1} << 50);
  }
  // Not even a slice of a layer fits: there is no speed, and no attempt at it.
  const Outcome outcome = run_whittle({"estimate", folder.path(), "--weights", "f16"});
  CHECK(outcome.exit_code == 0);
  CHECK_FALSE(has(outcome.out, "decode"));
}
