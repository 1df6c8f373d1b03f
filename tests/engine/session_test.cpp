// The baseline against an independent implementation's logits, and what a session promises.

#include "engine/session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr int64_t most = int64_t{1} << 26;

int32_t argmax(std::span<const float> row) {
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// Golden prompts: logits of the last position, argmax and log-sum-exp of each, and the greedy continuation.
void check_golden(const std::filesystem::path& folder) {
  const Team team(2);
  const Model model(folder, team);
  const nlohmann::json prompts = read_json_file(folder / "golden" / "prompts.json", most);
  REQUIRE(prompts.size() >= 3);
  for (const nlohmann::json& prompt : prompts) {
    CAPTURE(prompt["prompt"].get<std::string>());
    Session session(model, team, {0, KvFormat::f32});
    const auto ids = prompt["ids"].get<std::vector<int32_t>>();
    const auto expected = prompt["last_logits"].get<std::vector<float>>();
    const Logits logits = session.forward_all(ids);
    REQUIRE(logits.vocab_size == static_cast<int64_t>(expected.size()));
    float worst = 0;
    for (size_t i = 0; i < expected.size(); ++i)
      worst = std::max(worst, std::fabs(expected[i] - logits.row(logits.rows - 1)[i]));
    CHECK(worst <= 1e-3f);
    for (int64_t m = 0; m < logits.rows; ++m) {
      const auto row = logits.row(m);
      CHECK(argmax(row) == prompt["argmax"][static_cast<size_t>(m)].get<int32_t>());
      double sum = 0;
      for (const float value : row) sum += std::exp(static_cast<double>(value));
      CHECK(std::fabs(std::log(sum) - prompt["logsumexp"][static_cast<size_t>(m)].get<double>()) <= 1e-3);
    }
    const auto greedy = prompt["greedy_ids"].get<std::vector<int32_t>>();
    std::vector<int32_t> found = ids;
    int32_t next = argmax(logits.row(logits.rows - 1));
    while (found.size() < greedy.size()) {
      found.push_back(next);
      next = argmax(session.forward({&next, 1}).row(0));
    }
    CHECK(found == greedy);
  }
}

std::vector<float> logits_after(const Model& model, const Team& team, std::span<const int32_t> ids,
                                int64_t chunk) {
  Session session(model, team, {static_cast<int64_t>(ids.size()), KvFormat::f16, chunk});
  const auto row = session.forward(ids).row(0);
  return {row.begin(), row.end()};
}

}  // namespace

TEST_CASE("The reference model's logits and greedy tokens are those of an independent implementation") {
  check_golden(reference_model());
}

TEST_CASE("A tied model that stores only its head gives its golden logits") {
  WHITTLE_NEEDS_SHARED(shared);
  check_golden(shared / "data" / "models" / "tinystories-656k");
}

TEST_CASE(
    "Every architecture gives finite logits that depend on every earlier token, in both prefill and decode") {
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    for (const bool tied : {true, false}) {
      CAPTURE(architecture, tied);
      const TemporaryFolder folder;
      TinyModel tiny;
      tiny.architecture = architecture;
      tiny.hidden_size = 24;
      tiny.intermediate_size = 33;
      tiny.num_attention_heads = 6;
      tiny.num_key_value_heads = 2;
      tiny.head_dim = 4;
      tiny.vocab_size = 67;
      tiny.tied = tied;
      tiny.attention_bias = std::string_view(architecture) == "LlamaForCausalLM";
      write_tiny_model(folder.path(), tiny);
      const Team team(2);
      const Model model(folder.path(), team);
      std::vector<int32_t> ids = {3, 66, 0, 12, 5, 40, 7, 7, 21};
      const std::vector<float> logits = logits_after(model, team, ids, 512);
      CHECK(std::all_of(logits.begin(), logits.end(), [](float value) { return std::isfinite(value); }));
      CHECK(logits == logits_after(model, team, ids, 1));
      CHECK(logits == logits_after(model, team, ids, 4));
      for (size_t i = 0; i < ids.size(); ++i) {
        std::vector<int32_t> other = ids;
        other[i] = (other[i] + 1) % 67;
        CAPTURE(i);
        CHECK(logits != logits_after(model, team, other, 512));
      }
    }
  }
}

TEST_CASE("Rewinding forgets: the same tokens give the same bits again, other tokens others") {
  const Team team(2);
  const Model model(reference_model(), team);
  Session session(model, team, {64, KvFormat::int8});
  const std::vector<int32_t> start = {0, 535, 471, 259}, one = {423, 12}, two = {300, 301};
  const auto copy = [](const Logits& logits) {
    return std::vector<float>(logits.row(0).begin(), logits.row(0).end());
  };
  session.forward(start);
  const std::vector<float> first = copy(session.forward(one));
  session.rewind(static_cast<int64_t>(start.size()));
  CHECK(copy(session.forward(two)) != first);
  session.rewind(static_cast<int64_t>(start.size()));
  CHECK(copy(session.forward(one)) == first);
}

TEST_CASE("What does not fit is refused, and nothing is appended") {
  const Team team(1);
  const Model model(reference_model(), team);
  Session session(model, team, {16, KvFormat::f16, 8});
  const std::vector<int32_t> ten(10, 5), bad = {1, 4096}, negative = {-1};
  session.forward(ten);
  CHECK_THROWS_AS(session.forward(ten), Error);
  CHECK_THROWS_AS(session.forward(bad), Error);
  CHECK_THROWS_AS(session.forward(negative), Error);
  CHECK_THROWS_AS(session.forward_all(ten), Error);
  CHECK(session.position() == 10);
}

TEST_CASE("What a session cannot do is one error, and changes nothing") {
  const Team team(1);
  const Model model(reference_model(), team);
  const auto decoder = std::make_shared<Decoder>(model, team, 2, 32);
  for (const int64_t context : {-1, 0, 33, 1 << 30})
    CHECK_THROWS_WITH(Session(decoder, context, KvFormat::f16), Catch::Contains("1 to 32"));
  Session first(decoder, 32, KvFormat::f16), second(decoder, 16, KvFormat::f16),
      third(decoder, 16, KvFormat::f16);
  Session stranger(model, team, {16});
  const std::vector<int32_t> ids = {1, 2, 3};
  first.forward(ids);
  for (const int64_t position : {-1, 4, 1000})
    CHECK_THROWS_WITH(first.rewind(position), Catch::Contains("0 to 3"));
  using Sessions = std::vector<Session*>;
  const std::pair<Sessions, size_t> wrong[] = {{{}, 0},
                                               {{&first}, 2},
                                               {{&first, &first}, 2},
                                               {{&first, &stranger}, 2},
                                               {{&first, &second, &third}, 3}};
  for (const auto& [sessions, tokens] : wrong)
    CHECK_THROWS_AS(Session::step(sessions, std::span(ids).first(tokens)), Error);
  CHECK(first.position() == 3);
  CHECK(second.position() == 0);
  first.rewind(3);
  CHECK_NOTHROW(Session::step(Sessions{&first, &second}, std::span(ids).first(2)));
}

TEST_CASE("Weights that are no numbers are one error that names the first layer where it began") {
  const auto spoil = [](const std::string& tensor, float value) {
    TemporaryFolder folder;
    const TinyModel tiny;
    std::vector<RawTensor> tensors = tensors_of(tiny);
    for (RawTensor& raw : tensors)
      if (raw.name == tensor) std::memcpy(raw.bytes.data(), &value, sizeof value);
    write_text(folder.path() / "config.json", config_of(tiny).dump());
    write_safetensors(folder.path() / "model.safetensors", tensors);
    const Team team(2);
    const Model model(folder.path(), team);
    Session session(model, team, {16});
    const std::vector<int32_t> ids = {0, 1, 2};
    session.forward(ids);
  };
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), infinity, -infinity}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH(spoil("model.layers.0.self_attn.v_proj.weight", bad), Catch::Contains("layer 0 "));
    CHECK_THROWS_WITH(spoil("model.layers.1.mlp.down_proj.weight", bad), Catch::Contains("layer 1 "));
    CHECK_THROWS_WITH(spoil("model.embed_tokens.weight", bad), Catch::Contains("the embedding"));
  }
  CHECK_NOTHROW(spoil("model.layers.1.mlp.down_proj.weight", 1));
}
