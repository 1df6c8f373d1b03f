#include "bench/tasks/measure.h"

#include <algorithm>
#include <span>

#include "bench/tasks/scoring.h"
#include "bench/tasks/text_lines.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

constexpr int64_t text_margin = 8;  // tokens that a text may have more than the answer's

// A task's items as a model of some context is asked them.
struct Questions {
  std::span<const TaskItem> items;
  std::vector<EncodedItem> encoded;  // of each
  int64_t context = 0;

  std::string what(const Task& task, size_t i) const {
    return fmt::format("{}: line {}", task.file, items[i].line);
  }
};

double characters(const std::string& text) {
  int64_t count = 0;
  for (const char c : text) count += (c & 0xc0) != 0x80;
  return static_cast<double>(count);
}

Questions encode(const Model& model, const Tokenizer& tokenizer, const Team& team, const Task& task,
                 const TaskOptions& options) {
  check_shots(task, options.shots);
  std::string examples;
  for (const TaskItem& item : std::span(task.items).first(static_cast<size_t>(options.shots)))
    examples += fmt::format("{} {}\n\n", item.context, item.choices[static_cast<size_t>(item.answer)]);
  Questions questions;
  questions.context = options.context ? options.context : model.spec().max_position_embeddings;
  questions.items = std::span(task.items).subspan(static_cast<size_t>(options.shots));
  if (options.limit)
    questions.items =
        questions.items.first(std::min(static_cast<size_t>(options.limit), questions.items.size()));
  questions.encoded.resize(questions.items.size());
  team.for_each(std::ssize(questions.items), [&](int64_t index) {
    const auto i = static_cast<size_t>(index);
    const TaskItem& item = questions.items[i];
    std::vector<std::string> continuations;
    for (const std::string& choice : item.choices) continuations.push_back(" " + choice);
    questions.encoded[i] =
        encode_item(tokenizer, model.spec(), examples + item.context, continuations, questions.what(task, i));
  });
  return questions;
}

// Room for the longest of them, no more: keys and values take memory.
SharedPrefixBatch make_batch(const Model& model, const Team& team, const Questions& questions, int64_t extra,
                             const TaskOptions& options) {
  int64_t longest = 1;
  for (const EncodedItem& item : questions.encoded)
    for (const EncodedContinuation& continuation : item.continuations)
      longest = std::max(longest, std::ssize(item.context) + std::ssize(continuation.ids) + extra);
  const int64_t lanes = std::clamp<int64_t>(options.batch, 1, std::ssize(questions.items));
  return {model, team, lanes, std::min(longest, questions.context), options.kv_cache};
}

void answer_choices(const Model& model, const Team& team, const Task& task, const Questions& questions,
                    const TaskOptions& options, const ItemDone& done, TaskResult& result) {
  const auto queries = [&](size_t i) {
    std::vector<TokenQuery> found;
    for (size_t choice = 0; choice < questions.encoded[i].continuations.size(); ++choice)
      found.push_back(make_query(questions.encoded[i], choice, questions.context, questions.what(task, i)));
    return found;
  };
  for (size_t i = 0; i < questions.items.size(); ++i)  // what cannot be asked is found before the work
    result.cut_items +=
        std::ranges::any_of(queries(i), [](const TokenQuery& query) { return query.cut > 0; });
  SharedPrefixBatch batch = make_batch(model, team, questions, 0, options);
  const auto scores = score_choices(batch, questions.items.size(), queries, done);
  for (size_t i = 0; i < scores.size(); ++i) {
    ItemResult& item = result.items[i];
    std::vector<double> normalized;
    for (size_t choice = 0; choice < scores[i].size(); ++choice) {
      item.log_likelihoods.push_back(scores[i][choice].log_likelihood);
      normalized.push_back(item.log_likelihoods.back() / characters(questions.items[i].choices[choice]));
    }
    if (task.scoring == Scoring::last_word) {
      item.chosen = scores[i][0].greedy ? 0 : -1;
      continue;
    }
    item.chosen = std::ranges::max_element(item.log_likelihoods) - item.log_likelihoods.begin();
    item.chosen_normalized = std::ranges::max_element(normalized) - normalized.begin();
  }
}

void answer_text(const Model& model, const Tokenizer& tokenizer, const Team& team, const Task& task,
                 const Questions& questions, const TaskOptions& options, const ItemDone& done,
                 TaskResult& result) {
  std::vector<TextQuery> queries;
  for (size_t i = 0; i < questions.items.size(); ++i) {
    const EncodedItem& item = questions.encoded[i];
    TextQuery& query = queries.emplace_back();
    query.prompt = item.context;
    query.max_tokens = std::ssize(item.continuations[0].ids) + text_margin;
    if (query.max_tokens > questions.context)
      fail("{}: an answer of {} tokens and {} more do not fit into a context of {}", questions.what(task, i),
           item.continuations[0].ids.size(), text_margin, questions.context);
    const int64_t cut =
        std::max<int64_t>(std::ssize(query.prompt) + query.max_tokens - 1 - questions.context, 0);
    query.prompt.erase(query.prompt.begin(), query.prompt.begin() + cut);
    result.cut_items += cut > 0;
  }
  SharedPrefixBatch batch = make_batch(model, team, questions, text_margin, options);
  const std::vector<std::string> lines = greedy_lines(batch, model.spec(), tokenizer, queries, done);
  for (size_t i = 0; i < lines.size(); ++i) {
    result.items[i].text = trimmed(lines[i]);
    result.items[i].chosen = result.items[i].text == questions.items[i].choices[0] ? 0 : -1;
  }
}

}  // namespace

void check_shots(const Task& task, int64_t shots) {
  if (shots >= std::ssize(task.items))
    fail_option("shots", "{} has {} items, of which at least one must be left to ask", task.file,
                task.items.size());
}

TaskResult measure_task(const Model& model, const Tokenizer& tokenizer, const Team& team, const Task& task,
                        const TaskOptions& options, const TaskProgress& progress) {
  const Questions questions = encode(model, tokenizer, team, task, options);
  TaskResult result = {.name = task.name,
                       .file = task.file,
                       .format = task.format,
                       .scoring = task.scoring,
                       .metric = task.metric,
                       .shots = options.shots,
                       .context = questions.context};
  for (const TaskItem& item : questions.items)
    result.items.push_back({.line = item.line, .answer = item.answer});
  int64_t count = 0;
  const ItemDone done = [&] {
    if (progress) progress(++count, std::ssize(questions.items));
  };
  if (task.scoring == Scoring::exact_match)
    answer_text(model, tokenizer, team, task, questions, options, done, result);
  else
    answer_choices(model, team, task, questions, options, done, result);
  return result;
}

}  // namespace whittle
