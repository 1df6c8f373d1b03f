// Answers against a scorer that runs every context and choice by itself.

#include "bench/tasks/measure.h"

#include <catch2/catch.hpp>

#include "bench/tasks/shared_prefix.h"
#include "engine/generator.h"
#include "kernels/option_error.h"
#include "tests/support/paths.h"
#include "tests/support/slow_scorer.h"
#include "tests/support/tiny_families.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr int64_t vocab = 48;

std::string words(SplitMix64& random, uint64_t longest) {
  static const std::string letters = "abtheinrdd   \n.";
  std::string text;
  for (uint64_t left = random.bits() % (longest + 1); left > 0; --left)
    text += letters[random.bits() % letters.size()];
  return text;
}

// Contexts with and without white space at the end, choices that begin alike, and some that are equal.
Task random_choices(uint64_t seed, size_t count, uint64_t longest) {
  SplitMix64 random(seed);
  Task task{.name = "random", .file = "random.jsonl", .format = "multiple choice"};
  for (size_t i = 0; i < count; ++i) {
    TaskItem item{.line = static_cast<int64_t>(i) + 1, .context = words(random, longest)};
    const std::string begin = words(random, 3);
    for (uint64_t choices = 2 + random.bits() % 3; choices > 0; --choices)
      item.choices.push_back(random.bits() % 2 ? begin + "a" : begin + "x" + words(random, 4));
    item.answer = static_cast<int64_t>(random.bits() % item.choices.size());
    task.items.push_back(item);
  }
  return task;
}

struct Loaded {
  TemporaryFolder folder;
  Team team{1};
  std::optional<Model> model;

  explicit Loaded(const TinyModel& tiny = {.vocab_size = vocab}) {
    write_tiny_model(folder.path(), tiny);
    model.emplace(folder.path(), team);
  }
};

// The results for every batch, against those of each choice alone.
void check_against_slow(const Model& model, const Team& team, const Tokenizer& tokenizer, const Task& task,
                        TaskOptions options, const std::vector<int64_t>& batches) {
  const int64_t context = options.context ? options.context : model.spec().max_position_embeddings;
  TaskResult expected{.name = task.name, .file = task.file, .format = task.format, .scoring = task.scoring};
  expected.context = context;
  for (const TaskItem& item : task.items) {
    ItemResult& result = expected.items.emplace_back(ItemResult{.line = item.line, .answer = item.answer});
    std::vector<double> normalized;
    bool cut = false, greedy = false;
    for (const std::string& choice : item.choices) {
      const SlowScore slow =
          slow_score(model, team, tokenizer, context, options.kv_cache, item.context, " " + choice);
      result.log_likelihoods.push_back(slow.log_likelihood);
      normalized.push_back(slow.log_likelihood / static_cast<double>(choice.size()));
      cut = cut || slow.cut;
      greedy = slow.greedy;
    }
    if (task.scoring == Scoring::last_word) {
      result.chosen = greedy ? 0 : -1;
    } else {
      const auto first_largest = [](const std::vector<double>& values) {
        int64_t best = 0;
        for (size_t i = 0; i < values.size(); ++i)
          if (values[i] > values[static_cast<size_t>(best)]) best = static_cast<int64_t>(i);
        return best;
      };
      result.chosen = first_largest(result.log_likelihoods);
      result.chosen_normalized = first_largest(normalized);
    }
    expected.cut_items += cut;
  }
  for (const int64_t batch : batches) {
    options.batch = batch;
    const TaskResult found = measure_task(model, tokenizer, team, task, options, {});
    REQUIRE(found.items.size() == expected.items.size());
    for (size_t i = 0; i < found.items.size(); ++i) {
      INFO("batch " << batch << ", line " << found.items[i].line << ": " << task.items[i].context);
      CHECK(found.items[i].log_likelihoods == expected.items[i].log_likelihoods);  // bit for bit
      CHECK(found.items[i] == expected.items[i]);
    }
    CHECK(found == expected);
  }
}

}  // namespace

TEST_CASE(
    "Log likelihoods are those of every choice run alone, bit for bit, for any batch and any tokenizer") {
  const Loaded loaded;
  const Task task = random_choices(1, 24, 20);
  for (const bool bos : {false, true}) {
    const Tokenizer tokenizer = open_tokenizer(letter_tokenizer(bos));
    check_against_slow(*loaded.model, loaded.team, tokenizer, task, {}, {1, 3, 100});
  }
}

TEST_CASE("So they are with learned positions, with another number of threads, and in every KV cache") {
  const Tokenizer tokenizer = open_tokenizer(letter_tokenizer(true));
  const Task task = random_choices(2, 12, 20);
  const TemporaryFolder folder;
  const Team one(1), two(2);
  const Model gpt2(write_family(folder.path() / "gpt2", {.vocab = vocab}), one);
  check_against_slow(gpt2, one, tokenizer, task, {}, {4});
  const Loaded loaded({.architecture = "Qwen3ForCausalLM", .vocab_size = vocab});
  for (const KvFormat kv_cache : {KvFormat::f32, KvFormat::f16, KvFormat::int8})
    check_against_slow(*loaded.model, one, tokenizer, task, {.kv_cache = kv_cache}, {5});
  CHECK(measure_task(gpt2, tokenizer, one, task, {}, {}) ==
        measure_task(gpt2, tokenizer, two, task, {.batch = 2}, {}));
}

TEST_CASE("What does not fit the context loses its beginning, choice by choice, and is counted") {
  const Loaded loaded;
  const Tokenizer tokenizer = open_tokenizer(letter_tokenizer(true));
  const Task random = random_choices(3, 24, 30);
  check_against_slow(*loaded.model, loaded.team, tokenizer, random, {.context = 14}, {4});
  // Contexts that look the same wherever they are cut.
  Task repeated{.name = "r", .file = "r.jsonl"};
  for (int64_t length = 8; length < 16; ++length)
    repeated.items.push_back({.line = length,
                              .context = std::string(static_cast<size_t>(length), 'q'),
                              .choices = {"q", "qqq", "qqqqq", "qq", "z"}});
  check_against_slow(*loaded.model, loaded.team, tokenizer, repeated, {.context = 10}, {3});
  CHECK(measure_task(*loaded.model, tokenizer, loaded.team, repeated, {.context = 10}, {}).cut_items > 0);
  CHECK(measure_task(*loaded.model, tokenizer, loaded.team, repeated, {.context = 40}, {}).cut_items == 0);
  CHECK_THROWS_WITH(measure_task(*loaded.model, tokenizer, loaded.team, repeated, {.context = 4}, {}),
                    Catch::Contains("r.jsonl: line 8: choice 2") && Catch::Contains("context of 4"));
}

TEST_CASE("A token that reaches over the end of the context belongs to the continuation") {
  const Loaded loaded;
  const Tokenizer tokenizer = open_tokenizer(letter_tokenizer(false));
  CHECK(tokenizer.encode("thd").size() == tokenizer.encode("thd d").size());
  const Task task{.name = "t",
                  .file = "t.jsonl",
                  .items = {{.line = 1, .context = "thd", .choices = {"d", "x", "db"}},
                            {.line = 2, .context = "d", .choices = {"a", "d"}}}};
  Task first = task;
  first.items.pop_back();
  check_against_slow(*loaded.model, loaded.team, tokenizer, first, {}, {1});
  CHECK_THROWS_WITH(measure_task(*loaded.model, tokenizer, loaded.team, task, {}, {}),
                    Catch::Contains("t.jsonl: line 2: choice 1"));  // nothing is left before it
  const Tokenizer with_bos = open_tokenizer(letter_tokenizer(true));
  check_against_slow(*loaded.model, loaded.team, with_bos, task, {}, {2});
}

TEST_CASE("Examples stand before each item, are not asked, and a limit counts what is asked") {
  const Loaded loaded;
  const Tokenizer tokenizer = open_tokenizer(letter_tokenizer(true));
  const Task task = random_choices(4, 9, 4);
  std::string examples;
  for (size_t i = 0; i < 2; ++i)
    examples += task.items[i].context + " " +
                task.items[i].choices[static_cast<size_t>(task.items[i].answer)] + "\n\n";
  Task written = task;
  written.items.assign(task.items.begin() + 2, task.items.begin() + 6);
  for (TaskItem& item : written.items) item.context = examples + item.context;
  int64_t last_done = 0, last_total = 0;
  const TaskResult shots =
      measure_task(*loaded.model, tokenizer, loaded.team, task, {.shots = 2, .limit = 4, .context = 60},
                   [&](int64_t done, int64_t total) { last_done = done, last_total = total; });
  const TaskResult plain = measure_task(*loaded.model, tokenizer, loaded.team, written, {.context = 60}, {});
  CHECK(shots.items == plain.items);
  CHECK(shots.items.front().line == 3);
  CHECK(shots.shots == 2);
  CHECK(last_done == 4);
  CHECK(last_total == 4);
  const auto asked = [&](const TaskOptions& options) {
    return measure_task(*loaded.model, tokenizer, loaded.team, task, options, {}).items.size();
  };
  CHECK(asked({.shots = 8}) == 1);
  CHECK(asked({.limit = 100}) == 9);
  CHECK_THROWS_AS(asked({.shots = 9}), OptionError);
  CHECK_THROWS_AS(asked({.shots = 1000000}), OptionError);
}

TEST_CASE("A prefix that requests of a lane share is run once") {
  const Loaded loaded;
  SharedPrefixBatch batch(*loaded.model, loaded.team, 2, 32, KvFormat::f16);
  const std::vector<int32_t> first = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, second = {1, 2, 3, 4, 5, 6, 7, 9, 9};
  std::vector<int64_t> seen;
  const auto run = [&](size_t lane, const std::vector<int32_t>& tokens, int64_t first_seen) {
    const int64_t before = batch.tokens_run();
    const std::vector<SharedPrefixBatch::Request> request = {{lane, tokens, first_seen}};
    batch.run(request, [&](size_t, int64_t position, std::span<const float>) { seen.push_back(position); });
    return batch.tokens_run() - before;
  };
  CHECK(run(0, first, 9) == 10);
  CHECK(seen == std::vector<int64_t>{9});
  CHECK(run(0, second, 8) == 2);
  CHECK(run(0, second, 8) == 1);  // its logits are asked for again
  CHECK(run(1, second, 8) == 9);  // another lane
  CHECK(run(0, first, 9) == 3);

  // The choices of an item: "x" and "y" are read off the same row.
  const Tokenizer tokenizer = open_tokenizer(letter_tokenizer(false));
  const Task task{.name = "t", .file = "t", .items = {{.context = "th", .choices = {"x", "y"}}}};
  check_against_slow(*loaded.model, loaded.team, tokenizer, task, {}, {1});
}

TEST_CASE("Ids that the model does not have, and contexts of nothing, are errors with their line") {
  const Loaded loaded({.vocab_size = 30});  // 'y' and 'z' are 30 and 31
  const Tokenizer tokenizer = open_tokenizer(letter_tokenizer(false));
  Task task{.name = "t", .file = "t.jsonl", .items = {{.line = 1, .context = "ab", .choices = {"c", "d"}}}};
  CHECK(measure_task(*loaded.model, tokenizer, loaded.team, task, {}, {}).items.size() == 1);
  task.items.push_back({.line = 5, .context = "ab", .choices = {"c", "z"}});
  CHECK_THROWS_WITH(measure_task(*loaded.model, tokenizer, loaded.team, task, {}, {}),
                    Catch::Contains("t.jsonl: line 5") && Catch::Contains("token id 31"));
  task.items.back() = {.line = 5, .context = "zab", .choices = {"c", "d"}};
  CHECK_THROWS_WITH(measure_task(*loaded.model, tokenizer, loaded.team, task, {}, {}),
                    Catch::Contains("t.jsonl: line 5") && Catch::Contains("token id 31"));
}

TEST_CASE("A last word is right where greedy decoding gives all of it") {
  const Team team(1);
  const Model model(reference_model(), team);
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  Task task{.name = "words", .file = "words.jsonl", .format = "LAMBADA", .scoring = Scoring::last_word};
  for (const auto& [context, word] : std::vector<std::pair<std::string, std::string>>{
           {"Once upon a", "time"},
           {"Once upon a time, there was a little", "girl"},
           {"Once upon a time, there was a little", "locomotive"},
           {"The sun was shining and the sky was", "blue."},
           {"She went to the park to play with her", "friends."}})
    task.items.push_back({.line = std::ssize(task.items) + 1, .context = context, .choices = {word}});
  check_against_slow(model, team, tokenizer, task, {}, {2});
  const TaskResult result = measure_task(model, tokenizer, team, task, {}, {});
  CHECK(result.items[0].correct());
  CHECK_FALSE(result.items[2].correct());
}

TEST_CASE("Likelihoods are normalized by characters, not by bytes") {
  const Team team(1);
  const Model model(reference_model(), team);
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const Task task{.name = "t",
                  .file = "t",
                  .items = {{.context = "The sky was", .choices = {"\xC3\xA9\xC3\xA9\xC3\xA9", "xq"}}}};
  const ItemResult item = measure_task(model, tokenizer, team, task, {}, {}).items[0];
  REQUIRE(item.log_likelihoods[0] / 6 > item.log_likelihoods[1] / 2);  // by bytes the first would be chosen
  REQUIRE(item.log_likelihoods[0] / 3 < item.log_likelihoods[1] / 2);
  CHECK(item.chosen_normalized == 1);
}

TEST_CASE("Text is what the generator writes up to a newline, cut to the answer's length and a margin") {
  const Team team(1);
  const Model model(reference_model(), team);
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::vector<std::string> prompts = {"Once upon a time", "She said:", "The dog", "\n",
                                            "Tom and Lily went"};
  const auto generated = [&](const std::string& prompt, const std::string& answer, int64_t context) {
    std::vector<int32_t> ids = tokenizer.encode(prompt);
    const int64_t most = std::ssize(tokenizer.encode(prompt + " " + answer, false)) -
                         std::ssize(tokenizer.encode(prompt, false)) + 8;
    while (std::ssize(ids) + most - 1 > context) ids.erase(ids.begin());
    Session session(model, team, {64});
    std::string text =
        generate(session, model, &tokenizer, ids, {.max_tokens = most, .stop = {"\n"}}, {}).text;
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text.substr(std::min(text.size(), text.find_first_not_of(' ')));
  };
  Task task{.name = "text", .file = "text.jsonl", .format = "exact match", .scoring = Scoring::exact_match};
  for (const std::string& prompt : prompts)
    task.items.push_back({.line = std::ssize(task.items) + 1, .context = prompt, .choices = {"a few words"}});
  for (const int64_t context : {64, 13})
    for (const int64_t batch : {1, 4}) {
      const TaskResult result =
          measure_task(model, tokenizer, team, task, {.context = context, .batch = batch}, {});
      for (size_t i = 0; i < prompts.size(); ++i) {
        INFO(prompts[i]);
        if (prompts[i] != "\n") CHECK(result.items[i].text == generated(prompts[i], "a few words", context));
        CHECK_FALSE(result.items[i].correct());
      }
      CHECK((result.cut_items > 0) == (context == 13));
    }
  // An answer that the model does give: one that ends where the line or the length does.
  const std::string answer = measure_task(model, tokenizer, team, task, {}, {}).items[0].text;
  REQUIRE_FALSE(answer.empty());
  task.items[0].choices = {answer};
  const ItemResult given = measure_task(model, tokenizer, team, task, {}, {}).items[0];
  CHECK(given.correct() == (given.text == answer));
  CHECK(given.text.starts_with(answer));
  CHECK_THROWS_WITH(measure_task(model, tokenizer, team, task, {.context = 8}, {}),
                    Catch::Contains("text.jsonl: line 1"));
}
