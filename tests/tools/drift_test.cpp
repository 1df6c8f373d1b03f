// `whittle drift` from outside: ids, gates and tokenizers of all kinds.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/commands.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle::test;
using nlohmann::json;

namespace {

// A model and a noisier copy of it, both with a tokenizer of letters and without BOS.
struct TwoModels {
  TemporaryFolder folder;
  std::filesystem::path baseline = folder.path() / "baseline", model = folder.path() / "model";

  TwoModels() {
    std::vector<std::string> tokens;
    for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
    const TinyModel tiny = {.vocab_size = 32};
    for (const auto& path : {baseline, model}) {
      std::filesystem::create_directory(path);
      write_tiny_model(path, tiny);
      write_text(path / "tokenizer.json", bpe_tokenizer(tokens).dump());
    }
    std::vector<RawTensor> tensors = tensors_of(tiny);
    for (RawTensor& tensor : tensors)
      if (has(tensor.name, "down_proj")) tensor.bytes.assign(tensor.bytes.size(), '\0');
    write_safetensors(model / "model.safetensors", tensors);
  }

  Outcome drift(const std::string& text, const std::vector<std::string>& more) const {
    write_text(folder.path() / "text.txt", text);
    std::vector<std::string> command = {
        "drift",     model, "--baseline", baseline, "--text", folder.path() / "text.txt",
        "--context", "8",   "--threads",  "1"};
    command.insert(command.end(), more.begin(), more.end());
    return run_whittle(command);
  }
};

std::string letters(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += static_cast<char>('a' + i * i % 23);
  return text;
}

}  // namespace

TEST_CASE("Ids that the model does not have are one error, wherever they stand") {
  const TemporaryFolder folder;
  for (const char* ids : {"[[0,5,2000000000]]", "[[0,5,4096]]", "[[0,5],[0,4096,5]]"}) {
    write_text(folder.path() / "ids.json", ids);
    const Outcome outcome = run_whittle({"drift", reference_model(), "--baseline", reference_model(),
                                         "--token-ids", folder.path() / "ids.json", "--threads", "1"});
    INFO(ids << outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out.empty());
    CHECK(has(outcome.err, "position"));
    CHECK(has(outcome.err, "vocab_size 4096"));
  }
}

TEST_CASE("A tokenizer without BOS is judged on windows without BOS") {
  const TwoModels models;
  const Outcome outcome = models.drift(letters(80), {"--json", "-"});
  INFO(outcome.err);
  REQUIRE(outcome.exit_code == 0);
  const json report = json::parse(outcome.out);
  CHECK(report["protocol"] == "windows without BOS");
  CHECK(report["windows"] == 10);
  CHECK(report["tokens_scored"] == 70);
  CHECK(has(models.drift(letters(80), {}).out, "protocol windows without BOS"));
}

TEST_CASE("A gate says whether it is kept, exceeded or undecided, in the exit code, the text and JSON") {
  const TwoModels models;
  const double kl = json::parse(models.drift(letters(800), {"--json", "-"}).out)["kl"]["mean"].get<double>();
  REQUIRE(kl > 0);
  const auto judged = [&](size_t characters, double limit) {
    const std::vector<std::string> gate = {"--max-kl", std::to_string(limit)};
    Outcome text = models.drift(letters(characters), gate);
    const Outcome as_json = models.drift(letters(characters), {gate[0], gate[1], "--json", "-"});
    CHECK(text.exit_code == as_json.exit_code);
    CHECK(text.err == as_json.err);
    const std::string verdict = json::parse(as_json.out)["gates"][0]["verdict"];
    CHECK(has(text.out, "gate " + verdict));
    CHECK((verdict == "kept") == text.err.empty());
    return std::pair(verdict, text.exit_code);
  };
  CHECK(judged(800, 3 * kl) == std::pair(std::string("kept"), 0));
  CHECK(judged(800, kl / 3) == std::pair(std::string("exceeded"), 3));
  CHECK(judged(800, 1.001 * kl) == std::pair(std::string("undecided"), 0));
  CHECK(judged(800, 0.999 * kl) == std::pair(std::string("undecided"), 3));
  CHECK(judged(8, 1e6) == std::pair(std::string("undecided"), 0));  // a single window

  for (const char* bad : {"nan", "inf", "-1", "much"})
    CHECK(models.drift(letters(8), {"--max-kl", bad}).exit_code == 2);
}

TEST_CASE("Drift by layers says of every layer and linear what it lost, and JSON has it too") {
  const json plain = json::parse(run_whittle(with(drift_arguments(), {"--json", "-"})).out);
  CHECK(plain["layers"].is_null());
  const Outcome text = run_whittle(with(drift_arguments(), {"--layers"}));
  CHECK(text.exit_code == 0);
  CHECK(has(text.out, "largest, of linears: layer "));
  json report = json::parse(run_whittle(with(drift_arguments(), {"--layers", "--json", "-"})).out);
  const json layers = report["layers"]["layers"];
  const json config = json::parse(read_text(reference_model() / "config.json"));
  CHECK(layers.size() == config["num_hidden_layers"].get<size_t>());
  for (const json& layer : layers) {
    CHECK(layer["linears"].size() == 7);
    CHECK(layer["alone_error_percent"].get<double>() > 0);
    CHECK(layer["alone_error_percent"].get<double>() < 5);
  }
  report["layers"] = nullptr;
  CHECK(report == plain);
}
