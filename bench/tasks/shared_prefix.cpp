#include "bench/tasks/shared_prefix.h"

#include <algorithm>

#include "bench/drift/drift.h"

namespace whittle {
namespace {

constexpr int64_t most_rows = 512;  // of a step that shows no logits

}  // namespace

int64_t shared_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

SharedPrefixBatch::SharedPrefixBatch(const Model& model, const Team& team, int64_t lanes, int64_t context,
                                     KvFormat kv_cache)
    : team_(team),
      decoder_(model, team, most_rows, context),
      logit_rows_(logit_rows(model.spec().vocab_size)) {
  for (int64_t i = 0; i < lanes; ++i) lanes_.push_back({KvCache(model.spec(), kv_cache, context), {}});
}

void SharedPrefixBatch::run(std::span<const Request> requests, const See& see) {
  struct Shown {
    size_t request = 0;
    int64_t position = 0;
  };
  std::vector<DecoderRow> silent, seen;
  std::vector<Shown> shown;  // what the rows of `seen` are
  for (size_t s = 0; s < requests.size(); ++s) {
    const auto& [index, tokens, first_seen] = requests[s];
    Lane& lane = lanes_[index];
    const int64_t begin = std::min(shared_prefix(lane.tokens, tokens), first_seen);
    // What a step that fails leaves behind is not taken for the lane's.
    lane.tokens.resize(static_cast<size_t>(begin));
    for (int64_t position = begin; position < std::ssize(tokens); ++position) {
      const DecoderRow row = {tokens[static_cast<size_t>(position)], &lane.cache, position};
      (position < first_seen ? silent : seen).push_back(row);
      if (position >= first_seen) shown.push_back({s, position});
    }
  }
  // Rows of one cache stand in order of position, within a step and from step to step.
  for (size_t at = 0; at < silent.size(); at += most_rows)
    decoder_.step(std::span(silent).subspan(at, std::min<size_t>(most_rows, silent.size() - at)), 0);
  for (size_t at = 0, count = 0; at < seen.size(); at += count) {
    count = std::min(static_cast<size_t>(logit_rows_), seen.size() - at);
    const Logits logits = decoder_.step(std::span(seen).subspan(at, count), static_cast<int64_t>(count));
    team_.for_each(logits.rows, [&](int64_t row) {
      const Shown& one = shown[at + static_cast<size_t>(row)];
      see(one.request, one.position, logits.row(row));
    });
  }
  tokens_run_ += std::ssize(silent) + std::ssize(seen);
  for (const Request& request : requests)
    lanes_[request.lane].tokens.assign(request.tokens.begin(), request.tokens.end());
}

}  // namespace whittle
