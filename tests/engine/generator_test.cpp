#include "engine/generator.h"

#include <algorithm>
#include <memory>

#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Run {
  Generation out;
  std::string streamed;
};

Run run(const std::string& prompt, GenerationOptions options, int64_t context = 128) {
  static const Team team(2);
  static const Model model(reference_model(), team);
  static const Tokenizer tokenizer = Tokenizer::open(reference_model());
  Session session(model, team, {context});
  Run result;
  result.out = generate(session, model, &tokenizer, tokenizer.encode(prompt), options,
                        [&](std::string_view text) { result.streamed += text; });
  return result;
}

const std::string prompt = "Once upon a time, there was a little girl named Lucy. She";

}  // namespace

TEST_CASE("The text that streams is the text that is returned") {
  const Run all = run(prompt, {.max_tokens = 24});
  CHECK(all.out.ids.size() == 24);
  CHECK(all.out.finish_reason == FinishReason::max_tokens);
  CHECK(all.streamed == all.out.text);
  CHECK(all.out.text == Tokenizer::open(reference_model()).decode(all.out.ids));
}

TEST_CASE("A stop text ends the output before it, wherever tokens cut it, and nothing of it is streamed") {
  const std::string whole = run(prompt, {.max_tokens = 24}).out.text;
  REQUIRE(whole.size() > 20);
  for (const size_t at : {1, 5, 11}) {
    const std::string stop = whole.substr(at, 7);
    const Run cut = run(prompt, {.max_tokens = 24, .stop = {"never said", stop}});
    CAPTURE(whole, stop);
    CHECK(cut.out.text == whole.substr(0, whole.find(stop)));
    CHECK(cut.streamed == cut.out.text);
    CHECK(cut.out.finish_reason == FinishReason::stop_text);
  }
}

TEST_CASE("Generation ends where the context does") {
  const Run out = run(prompt, {.max_tokens = 100}, 20);
  CHECK(out.out.finish_reason == FinishReason::context_full);
  CHECK(out.out.ids.size() == 20 - 15 + 1);  // the last token needs no position
}

TEST_CASE("A prompt with an id that the model does not have is refused, and its position named") {
  const Team team(1);
  const Model model(reference_model(), team);
  Session session(model, team, {16});
  for (const int32_t bad : {4096, 2000000000, -1}) {
    const std::vector<int32_t> ids = {0, 5, bad};
    CHECK_THROWS_WITH(generate(session, model, nullptr, ids, {}, {}), Catch::Contains("position 2"));
    CHECK(session.position() == 0);
  }
}

TEST_CASE("An empty prompt and an empty stop text are refused") {
  const Team team(1);
  const Model model(reference_model(), team);
  Session session(model, team, {16});
  CHECK_THROWS_AS(generate(session, model, nullptr, {}, {}, {}), Error);
  const std::vector<int32_t> ids = {0};
  CHECK_THROWS_AS(generate(session, model, nullptr, ids, {.stop = {""}}, {}), Error);
}

TEST_CASE("Sequences that share steps say what each says alone") {
  const Team team(2);
  const Model model(reference_model(), team);
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::vector<std::string> prompts = {"Once upon a time", "The president said", "Lucy"};
  const std::vector<GenerationOptions> options = {{.max_tokens = 12},
                                                  {.max_tokens = 7, .stop = {"e"}},
                                                  {.max_tokens = 20, .sampler = {.temperature = 0.8f}}};
  const auto decoder = std::make_shared<Decoder>(model, team, 64, 64);
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Sequence> sequences;
  std::vector<std::string> texts(prompts.size());
  std::vector<std::optional<int32_t>> next(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::vector<int32_t> ids = tokenizer.encode(prompts[i]);
    sessions.push_back(std::make_unique<Session>(decoder, 64, KvFormat::f16));
    sequences.emplace_back(model.spec(), &tokenizer, ids, options[i]);
    const Sequence::Step step = sequences[i].push(sessions[i]->forward(ids).row(0));
    texts[i] += step.text;
    next[i] = step.next;
  }
  while (std::ranges::any_of(next, [](const auto& id) { return id.has_value(); })) {
    std::vector<Session*> running;
    std::vector<int32_t> tokens;
    std::vector<size_t> which;
    for (size_t i = 0; i < next.size(); ++i)
      if (next[i]) {
        running.push_back(sessions[i].get());
        tokens.push_back(*next[i]);
        which.push_back(i);
      }
    const Logits logits = Session::step(running, tokens);
    for (size_t row = 0; row < which.size(); ++row) {
      const Sequence::Step step = sequences[which[row]].push(logits.row(static_cast<int64_t>(row)));
      texts[which[row]] += step.text;
      next[which[row]] = step.next;
    }
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    CAPTURE(prompts[i]);
    const Run alone = run(prompts[i], options[i]);
    CHECK(sequences[i].done());
    CHECK(sequences[i].finish_reason() == alone.out.finish_reason);
    CHECK(std::ranges::equal(sequences[i].ids(), alone.out.ids));
    CHECK(texts[i] == alone.out.text);
  }
}

TEST_CASE("A sequence without a tokenizer takes no stop texts, and keeps its own options") {
  ModelSpec spec;
  spec.vocab_size = 4;
  const std::vector<int32_t> prompt = {1};
  CHECK_THROWS_WITH(Sequence(spec, nullptr, prompt, {.stop = {"x"}}), Catch::Contains("stop"));
  Sequence sequence(spec, nullptr, prompt, {.max_tokens = 2});  // the options are gone after this line
  const std::vector<float> logits = {0, 1, 3, 2};
  CHECK(sequence.push(logits).next == 2);
  CHECK_FALSE(sequence.push(logits).next);
  CHECK(sequence.finish_reason() == FinishReason::max_tokens);
  CHECK(std::ranges::equal(sequence.ids(), std::vector<int32_t>{2, 2}));
}
