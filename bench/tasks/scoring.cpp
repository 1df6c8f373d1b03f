#include "bench/tasks/scoring.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "bench/likelihood.h"
#include "engine/sequence.h"

namespace whittle {
namespace {

// The choices of one item, of which some tokens are known already: where two choices have the same tokens
// before them, one row of logits serves both.
class ItemScorer {
 public:
  explicit ItemScorer(std::vector<TokenQuery> queries) : queries_(std::move(queries)) {
    for (const TokenQuery& query : queries_) {
      inputs_.push_back(query.input());
      tokens_.emplace_back(query.tokens.size() - static_cast<size_t>(query.first_scored));
      known_.push_back(0);
    }
  }

  // The next choice of which something is unknown, and the position of its first row.
  bool next(SharedPrefixBatch::Request& request) {
    while (current_ < queries_.size() && known_[current_] == std::ssize(tokens_[current_])) ++current_;
    if (current_ == queries_.size()) return false;
    request.tokens = inputs_[current_];
    request.first_seen = queries_[current_].first_scored - 1 + known_[current_];
    reach_.clear();
    for (size_t choice = 0; choice < queries_.size(); ++choice) {
      // Contexts that were cut at different places may look alike, but then other rows are scored.
      const bool aligned = queries_[choice].first_scored == queries_[current_].first_scored;
      reach_.push_back(aligned ? shared_prefix(inputs_[choice], inputs_[current_]) : 0);
    }
    return true;
  }
  // The logits after a position of the choice that `next` gave.
  void see(int64_t position, std::span<const float> logits) {
    const double norm = log_sum_exp(logits);
    const int64_t best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    for (size_t choice = current_; choice < queries_.size(); ++choice) {
      const TokenQuery& query = queries_[choice];
      const int64_t target = position + 1;
      if (reach_[choice] <= position || target < query.first_scored || target >= std::ssize(query.tokens))
        continue;
      const int32_t id = query.tokens[static_cast<size_t>(target)];
      tokens_[choice][static_cast<size_t>(target - query.first_scored)] = {
          static_cast<double>(logits[static_cast<size_t>(id)]) - norm, id == best};
    }
  }
  void seen() {
    for (size_t choice = current_; choice < queries_.size(); ++choice)
      known_[choice] = std::max(known_[choice], std::min(reach_[choice] - (queries_[choice].first_scored - 1),
                                                         std::ssize(tokens_[choice])));
  }

  std::vector<ContinuationScore> scores() const {
    std::vector<ContinuationScore> scores;
    for (const auto& tokens : tokens_) {
      ContinuationScore& score = scores.emplace_back();
      for (const ContinuationScore& token : tokens) {
        score.log_likelihood += token.log_likelihood;
        score.greedy = score.greedy && token.greedy;
      }
    }
    return scores;
  }

 private:
  std::vector<TokenQuery> queries_;
  std::vector<std::vector<int32_t>> inputs_;
  std::vector<std::vector<ContinuationScore>> tokens_;  // of each choice, each of its tokens
  std::vector<int64_t> known_;                          // of each choice, its first tokens that are scored
  size_t current_ = 0;
  std::vector<int64_t> reach_;  // input tokens that each choice shares with the current one
};

// Keeps every lane of a batch busy until all items are done. `Item` has next(request), which is false when it
// is done, see(position, logits) by any thread, and seen() after all of them. make(i) gives item i,
// finish(i, item) takes it back.
template <class Item>
void run_items(SharedPrefixBatch& batch, size_t count,
               const std::function<std::unique_ptr<Item>(size_t)>& make,
               const std::function<void(size_t, Item&)>& finish) {
  struct Busy {
    size_t index = 0;
    std::unique_ptr<Item> item;
  };
  std::vector<Busy> lanes(static_cast<size_t>(batch.lanes()));
  size_t next = 0;
  for (;;) {
    std::vector<SharedPrefixBatch::Request> requests;
    for (size_t lane = 0; lane < lanes.size(); ++lane) {
      auto& [index, item] = lanes[lane];
      SharedPrefixBatch::Request request{.lane = lane};
      while (item || next < count) {
        if (!item) item = make(index = next++);
        if (item->next(request)) break;
        finish(index, *item);
        item.reset();
      }
      if (item) requests.push_back(request);
    }
    if (requests.empty()) return;
    batch.run(requests, [&](size_t request, int64_t position, std::span<const float> logits) {
      lanes[requests[request].lane].item->see(position, logits);
    });
    for (const SharedPrefixBatch::Request& request : requests) lanes[request.lane].item->seen();
  }
}

class LineWriter {
 public:
  LineWriter(const ModelSpec& spec, const Tokenizer& tokenizer, const TextQuery& query)
      : tokens_(query.prompt),
        sequence_(spec, &tokenizer, query.prompt, {.max_tokens = query.max_tokens, .stop = {"\n"}}) {}

  bool next(SharedPrefixBatch::Request& request) {
    if (sequence_.done()) return false;
    request.tokens = tokens_;
    request.first_seen = std::ssize(tokens_) - 1;
    return true;
  }
  void see(int64_t, std::span<const float> logits) {
    const Sequence::Step step = sequence_.push(logits);
    text_ += step.text;
    next_ = step.next;
  }
  void seen() {
    if (next_) tokens_.push_back(*next_);
  }
  const std::string& text() const { return text_; }

 private:
  std::vector<int32_t> tokens_;
  Sequence sequence_;
  std::string text_;
  std::optional<int32_t> next_;
};

}  // namespace

std::vector<std::vector<ContinuationScore>> score_choices(
    SharedPrefixBatch& batch, size_t count, const std::function<std::vector<TokenQuery>(size_t)>& queries,
    const ItemDone& done) {
  std::vector<std::vector<ContinuationScore>> scores(count);
  run_items<ItemScorer>(
      batch, count, [&](size_t i) { return std::make_unique<ItemScorer>(queries(i)); },
      [&](size_t i, ItemScorer& item) {
        scores[i] = item.scores();
        if (done) done();
      });
  return scores;
}

std::vector<std::string> greedy_lines(SharedPrefixBatch& batch, const ModelSpec& spec,
                                      const Tokenizer& tokenizer, std::span<const TextQuery> queries,
                                      const ItemDone& done) {
  std::vector<std::string> lines(queries.size());
  run_items<LineWriter>(
      batch, queries.size(),
      [&](size_t i) { return std::make_unique<LineWriter>(spec, tokenizer, queries[i]); },
      [&](size_t i, LineWriter& item) {
        lines[i] = item.text();
        if (done) done();
      });
  return lines;
}

}  // namespace whittle
