// GPTQ, AWQ and llm-compressor folders through every command, without a tokenizer.

#include "tests/support/quantized_folders.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/commands.h"

using namespace whittle::test;
using nlohmann::json;

namespace {

struct Kind {
  std::string name;
  int64_t bits;
  Order order;
  json config;
  std::vector<RawTensor> (*tensors)(const std::string& module, const QuantizedLinear& linear);
};

std::vector<Kind> kinds() {
  const auto gptq = [](const std::string& module, const QuantizedLinear& linear) {
    return gptq_tensors(module, linear, GptqZeros::wrapped);
  };
  const json ordered = gptq_config(4, 32, false, true, GptqZeros::wrapped);
  return {
      {"gptq", 4, Order::plain, ordered, gptq},
      {"gptq act-order", 4, Order::scattered, ordered, gptq},
      {"awq", 4, Order::plain, awq_config(32),
       [](const std::string& module, const QuantizedLinear& linear) { return awq_tensors(module, linear); }},
      {"llm-compressor", 8, Order::plain, packed_config(8, 32, false),
       [](const std::string& module, const QuantizedLinear& linear) {
         return packed_tensors(module, linear, false, false);
       }}};
}

}  // namespace

TEST_CASE("GPTQ, AWQ and llm-compressor folders are run, judged, timed, inspected and exported") {
  TinyModel tiny;
  tiny.hidden_size = 64;
  tiny.intermediate_size = 96;
  tiny.head_dim = 16;
  tiny.num_attention_heads = 4;
  tiny.num_key_value_heads = 2;
  for (const Kind& kind : kinds()) {
    INFO(kind.name);
    const TemporaryFolder folder;
    SplitMix64 random(21);
    const std::string quantized = folder.path() / "quantized", floats = folder.path() / "floats";
    write_quantized_pair(
        quantized, floats, tiny, kind.config,
        [&](int64_t rows, int64_t cols) {
          return random_linear(random, rows, cols, kind.bits, 32, false, kind.order);
        },
        kind.tensors);
    const std::string ids = folder.path() / "ids.json", windows = folder.path() / "windows.json";
    write_text(ids, "[3, 7, 0, 12, 5]");
    write_text(windows, "[[3, 7, 0, 12, 5, 9, 9, 1], [7, 1, 4]]");

    const bool scattered = kind.order == Order::scattered;
    const Outcome generated = succeed({"generate", quantized, "--token-ids", ids, "--max-tokens", "4"});
    CHECK(has(generated.err, "act-order") == scattered);
    const auto kl = [&](const std::vector<std::string>& more) {
      return json::parse(succeed(with({"drift", quantized, "--baseline", floats, "--token-ids", windows,
                                       "--json", "-"},
                                      more))
                             .out)["kl"]["mean"]
          .get<double>();
    };
    // The very values: with float inputs, the very computation.
    CHECK(kl({"--float-inputs", "--kv-cache", "f32"}) == 0);
    CHECK((kl({"--kv-cache", "f32"}) == 0) == scattered);
    const json inspected = json::parse(succeed({"inspect", quantized, "--json", "-"}).out);
    CHECK(inspected["notes"].size() == (scattered ? 2 : 1));
    int64_t bytes = 0;
    for (const json& tensor : inspected["tensors"]) {
      bytes += tensor["bytes"].get<int64_t>();
      if (!has(tensor["name"], "_proj.weight")) continue;
      CHECK(tensor["format"] == (scattered ? "f32" : kind.bits == 4 ? "int4" : "int8"));
      CHECK(tensor["bits_per_weight"] > static_cast<double>(kind.bits));
      CHECK(tensor["bits_per_weight"] < static_cast<double>(kind.bits) + 2);
    }
    CHECK(bytes < inspected["disk_bytes"].get<int64_t>());  // a header is all that is missing
    CHECK(bytes + 8192 > inspected["disk_bytes"].get<int64_t>());
    succeed({"export", quantized, quantized + ".gguf"});
    CHECK(has(succeed({"bench", quantized, "--baseline", floats, "--prompt-tokens", "16", "--gen-tokens", "4",
                       "--repeat", "2"})
                  .out,
              "decode"));
    const Outcome again = run_whittle({"quantize", quantized, folder.path() / "again"});
    CHECK(again.exit_code == 1);
    CHECK(has(again.err, "quantized already"));
  }
}
