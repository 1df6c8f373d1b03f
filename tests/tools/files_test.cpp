// The program and files that others made, cut short, or left behind.

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/support/commands.h"
#include "tests/support/independent_reader.h"
#include "tests/support/program.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

namespace fs = std::filesystem;
using namespace whittle::test;
using nlohmann::json;

namespace {

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TinyModel large_model() {
  TinyModel model;
  model.hidden_size = 256;
  model.intermediate_size = 1024;
  model.num_hidden_layers = 8;
  model.num_attention_heads = model.num_key_value_heads = 8;
  model.head_dim = 32;
  model.tied = false;
  model.max_position_embeddings = 1 << 20;
  return model;
}

std::vector<std::string> generate(const fs::path& model, const fs::path& folder, const std::string& tokens) {
  write_text(folder / "ids.json", "[2, 3]");
  return {"generate", model, "--token-ids", folder / "ids.json", "--max-tokens", tokens, "--threads", "2"};
}

}  // namespace

TEST_CASE("A model that is cut short while a command reads it is one line that names its file") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "source", parent = folder.path() / "parent";
  fs::create_directory(source);
  fs::create_directory(parent);
  for (const std::string command : {"quantize", "generate"}) {
    write_tiny_model(source, large_model());
    json config = config_of(large_model());
    config.erase("eos_token_id");  // generates until it is stopped
    write_text(source / "config.json", config.dump());
    Child child(whittle_command(command == "quantize"
                                    ? std::vector<std::string>{"quantize", source, parent / "out", "--effort",
                                                               "fast", "--threads", "2"}
                                    : generate(source, folder.path(), "1000000")));
    // quantize has begun to write, generate is at work on its tokens.
    for (int i = 0; i < 5000 && command == "quantize" && fs::is_empty(parent) && !child.ended(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (command == "generate") std::this_thread::sleep_for(std::chrono::milliseconds(700));
    fs::resize_file(source / "model.safetensors", 4096);
    const Outcome outcome = child.wait();
    INFO(command << ": " << outcome.err);
    CHECK(outcome.exit_code == 1);
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, source / "model.safetensors"));
    CHECK(fs::is_empty(parent));
  }
}

TEST_CASE("What a killed run left is removed by the next") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "source", parent = folder.path() / "parent";
  fs::create_directory(source);
  fs::create_directory(parent);
  write_tiny_model(source, large_model());
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"quantize", source, parent / "out", "--effort", "fast", "--threads", "1"},
        {"export", source, parent / "out", "--threads", "1"}}) {
    Child child(whittle_command(command));
    while (fs::is_empty(parent) && !child.ended()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    child.send(SIGKILL);
    child.wait();
    fs::remove_all(parent / "out");
    const Outcome next = run_whittle(command);
    INFO(next.err);
    CHECK(next.exit_code == 0);
    CHECK(entries(parent) == 1);
    CHECK(fs::exists(parent / "out"));
    fs::remove_all(parent / "out");
  }
}

TEST_CASE("A field that the user vouches for is let pass by every command that opens a model") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  fs::create_directory(model);
  write_tiny_model(model);
  json config = config_of(TinyModel{});
  config["some_new_field"] = config["another"] = 1;
  write_text(model / "config.json", config.dump());
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"quantize", model, folder.path() / "a", "--effort", "fast"},
        {"inspect", model},
        generate(model, folder.path(), "2"),
        {"bench", model, "--prompt-tokens", "8", "--gen-tokens", "4", "--repeat", "1", "--threads", "1"}}) {
    INFO(command.front());
    const Outcome refused = run_whittle(command);
    CHECK(refused.exit_code == 1);
    CHECK(has(refused.err, "another"));
    std::vector<std::string> allowed = command;
    allowed.insert(allowed.end(), {"--allow-field", "another", "--allow-field", "some_new_field"});
    const Outcome outcome = run_whittle(allowed);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
  }
}

TEST_CASE("What other readers of the format will not take is said when it is written") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  fs::create_directory(model);
  TinyModel tiny;
  tiny.hidden_size = 40;
  write_tiny_model(model, tiny);
  const auto quantize = [&](std::vector<std::string> flags) {
    fs::remove_all(folder.path() / "out");
    flags.insert(flags.begin(),
                 {"quantize", model, folder.path() / "out", "--effort", "fast", "--threads", "1"});
    return run_whittle(flags);
  };
  CHECK(quantize({}).err.empty());
  const Outcome both =
      quantize({"--weights", "int4", "--group-size", "32", "--embedding", "int8", "--lm-head", "int8"});
  INFO(both.err);
  CHECK(both.exit_code == 0);
  CHECK(lines(both.err) == 2);
  CHECK(has(both.err, "embed_tokens"));
  CHECK(has(both.err, "40 inputs"));
}

TEST_CASE("Weights made for float inputs are announced by the commands that run them, and recorded") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "source", model = folder.path() / "model";
  fs::create_directory(source);
  write_tiny_model(source);
  REQUIRE(run_whittle({"quantize", source, model, "--effort", "fast", "--threads", "1"}).exit_code == 0);
  const auto commands = [&] {
    return std::vector<std::vector<std::string>>{
        generate(model, folder.path(), "2"),
        {"bench", model, "--prompt-tokens", "8", "--gen-tokens", "4", "--repeat", "1", "--threads", "1"}};
  };
  for (const auto& command : commands()) CHECK(run_whittle(command).err.empty());
  json config = json::parse(read_text(model / "config.json"));
  for (json& group : config["quantization_config"]["config_groups"]) group["input_activations"] = nullptr;
  write_text(model / "config.json", config.dump());
  for (const auto& command : commands()) {
    const Outcome outcome = run_whittle(command);
    INFO(outcome.err);
    CHECK(outcome.exit_code == 0);
    CHECK(lines(outcome.err) == 1);
    CHECK(has(outcome.err, "input_activations"));
    std::vector<std::string> as_asked = command;
    as_asked.push_back("--float-inputs");
    CHECK(run_whittle(as_asked).err.empty());
  }
  CHECK(json::parse(run_whittle({"inspect", model, "--json", "-"}).out)["notes"].size() == 1);
}

TEST_CASE("With --float-inputs such a model computes with the values of its codes and nothing else") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "source", model = folder.path() / "model",
                 floats = folder.path() / "floats";
  fs::create_directory(source);
  fs::create_directory(floats);
  const TinyModel tiny = {.hidden_size = 32, .intermediate_size = 64};
  write_tiny_model(source, tiny);
  REQUIRE(
      run_whittle({"quantize", source, model, "--effort", "fast", "--weights", "int4", "--group-size", "32"})
          .exit_code == 0);
  json config = json::parse(read_text(model / "config.json"));
  for (json& group : config["quantization_config"]["config_groups"]) group["input_activations"] = nullptr;
  write_text(model / "config.json", config.dump());
  const IndependentReader reader(model);
  std::vector<RawTensor> tensors = tensors_of(tiny);
  for (RawTensor& tensor : tensors) {
    if (tensor.name.find("proj") == std::string::npos) continue;
    const std::vector<double> values = reader.matrix(tensor.name.substr(0, tensor.name.rfind('.')));
    tensor.bytes = encode({values.begin(), values.end()}, "F32");
  }
  write_safetensors(floats / "model.safetensors", tensors);
  write_text(floats / "config.json", config_of(tiny).dump());
  const fs::path ids = folder.path() / "ids.json";
  write_text(ids, "[[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]");
  const auto drift = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {"drift",       model, "--baseline", floats,
                                        "--token-ids", ids,   "--json",     "-"};
    command.insert(command.end(), more.begin(), more.end());
    return json::parse(run_whittle(command).out);
  };
  // What is left is the f16 KV cache, which only the baseline does without.
  const double kept = drift({"--float-inputs"})["kl"]["mean"], rounded = drift({})["kl"]["mean"];
  CAPTURE(rounded);
  CHECK(kept < 2e-6);
  CHECK(rounded > 20 * kept);
}

TEST_CASE("Calibration that cannot be is refused before or after the plan, and leaves nothing") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "source", out = folder.path() / "out",
                 text = folder.path() / "short.txt", ids = folder.path() / "ids.json";
  fs::create_directory(source);
  write_tiny_model(source, {.hidden_size = 32, .intermediate_size = 64});
  write_text(text, "Once");
  const auto quantize = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"quantize", source, out, "--weights", "int4", "--group-size", "32"};
    command.insert(command.end(), more.begin(), more.end());
    const Outcome outcome = run_whittle(command);
    INFO(outcome.err);
    CHECK(lines(outcome.err) >= 1);
    CHECK_FALSE(fs::exists(out));
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) <= 3);
    return outcome;
  };
  for (const char* flag : {"--calibration", "--calibration-tokens", "--held-out", "--memory"})
    CHECK(quantize({"--effort", "fast", flag, "5000000"}).exit_code == 2);  // rounding looks at no tokens
  CHECK(quantize({"--effort", "fast", "--resume"}).exit_code == 2);
  CHECK(quantize({"--effort", "best", "--method", "gptq"}).exit_code == 2);
  CHECK(quantize({"--method", "awesome"}).exit_code == 2);
  CHECK(quantize({"--calibration", "-", "--held-out", "-"}).exit_code == 2);
  CHECK(quantize({"--method", "gptq", "--calibration-tokens", "0"}).exit_code == 2);
  const Outcome missing = quantize({"--method", "gptq", "--calibration", folder.path() / "none.txt"});
  CHECK(missing.exit_code == 1);
  const Outcome no_tokenizer = quantize({"--method", "gptq", "--calibration", text});
  CHECK(no_tokenizer.exit_code == 1);
  for (const char* wrong : {"[[1, 2, 99]]", "[]", "[[1]]", "{", "[[-1, 2]]", ""}) {
    write_text(ids, wrong);
    CHECK(quantize({"--method", "gptq", "--calibration", ids}).exit_code == 1);
    CHECK(quantize({"--held-out", ids}).exit_code == 1);
  }
  write_text(ids, "[[1, 2, 3], [4, 5, 6]]");
  const Outcome made = run_whittle({"quantize", source, out, "--weights", "int4", "--group-size", "32",
                                    "--method", "gptq", "--calibration", ids, "--json", "-"});
  CHECK(made.exit_code == 0);
  CHECK_FALSE(has(made.err, "calibration"));  // no progress where nobody watches
  CHECK(has(parse_report(made.out)["recipe"], "gptq"));
  CHECK(json::parse(made.out)["held_out"]["windows"] == 1);
  const fs::path judge = folder.path() / "judge.json";
  const auto refused = [&](const char* flag, const fs::path& file, const char* why) {
    const Outcome outcome = run_whittle({"quantize", source, folder.path() / "judged", flag, file});
    CHECK(outcome.exit_code == 1);
    CHECK(has(outcome.err, why));
    CHECK(has(outcome.err, file.filename()));
  };
  // A tokenizer may know ids that the model does not.
  std::vector<std::string> letters;
  for (char c = 'a'; c <= 'z'; ++c) letters.emplace_back(1, c);
  write_text(source / "tokenizer.json", bpe_tokenizer(letters).dump());
  write_text(text, "abcxyz");
  refused("--calibration", text, "23");
  refused("--held-out", text, "23");
  write_text(judge, "[[7, 8, 9, 1], [1, 2, 3]]");
  const Outcome seen =
      run_whittle({"quantize", source, folder.path() / "judged", "--calibration", ids, "--held-out", judge});
  CHECK(seen.exit_code == 1);
  CHECK(has(seen.err, "judge.json"));
  write_text(judge, "[[2, 1, 3], [5, 4, 6], [7, 8, 9, 1]]");
  const Outcome judged = run_whittle({"quantize", source, folder.path() / "judged", "--calibration", ids,
                                      "--held-out", judge, "--json", "-"});
  CHECK(judged.exit_code == 0);
  CHECK(json::parse(judged.out)["held_out"]["windows"] == 3);
  CHECK(has(read_text(folder.path() / "judged" / "model.safetensors"),
            "6 tokens in 2 windows"));  // all calibrate
}

TEST_CASE("A budget that cannot be, or has no effect, is wrong usage; a recipe does again what was done") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "source", out = folder.path() / "out",
                 ids = folder.path() / "ids.json";
  fs::create_directory(source);
  write_tiny_model(source, {.hidden_size = 64, .intermediate_size = 96});
  write_text(ids, "[[1, 2, 3, 4, 5, 6], [4, 5, 6, 7], [3, 1, 2, 5]]");
  const auto quantize = [&](const fs::path& to, std::vector<std::string> more) {
    std::vector<std::string> command = {"quantize", source, to, "--calibration", ids, "--threads", "1"};
    command.insert(command.end(), more.begin(), more.end());
    return run_whittle(command);
  };
  const auto refused = [&](const std::vector<std::string>& flags, int exit_code) {
    const Outcome outcome = quantize(out, flags);
    INFO(flags[0] << ' ' << flags[1] << ": " << outcome.err);
    CHECK(outcome.exit_code == exit_code);
    CHECK(has(outcome.err, flags[0]));
    CHECK_FALSE(fs::exists(out));
  };
  refused({"--target-bits", "nan"}, 2);
  refused({"--target-bits", "5", "--max-kl", "1"}, 2);
  refused({"--weights", "int8", "--target-bits", "5"}, 2);
  refused({"--effort", "fast", "--target-bits", "5"}, 2);
  refused({"--price", "time"}, 2);
  refused({"--price", "time", "--target-bits", "5"}, 2);
  refused({"--rotate", "auto", "--target-bits", "5"}, 1);
  refused({"--target-bits", "4.01"}, 1);  // what is least depends on the model
  refused({"--target-size", "100"}, 1);
  refused({"--max-kl", "0"}, 1);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 2);

  const Outcome made = quantize(out, {"--target-bits", "6", "--json", "-"});
  REQUIRE(made.exit_code == 0);
  const json report = parse_report(made.out);
  CHECK(report["bits_per_weight"].get<double>() <= 6);
  CHECK(report["predicted_kl"].is_number());
  const fs::path again = folder.path() / "again";
  REQUIRE(run_whittle({"quantize", source, again, "--recipe", out / "recipe.json"}).exit_code == 0);
  CHECK(read_text(again / "model.safetensors") == read_text(out / "model.safetensors"));

  const fs::path recipes = folder.path() / "recipes";
  const Outcome frontier = quantize(recipes, {"--target-bits", "5,6", "--json", "-"});
  REQUIRE(frontier.exit_code == 0);
  CHECK(parse_report(frontier.out)["frontier"].size() == 2);
  CHECK(json::parse(read_text(recipes / "6.json")) == json::parse(read_text(out / "recipe.json")));
  CHECK(quantize(recipes, {"--target-bits", "5,6"}).exit_code == 1);  // it exists already
}
