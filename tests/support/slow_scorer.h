#pragma once
// What a model says of one context and continuation, run alone, token by token: nothing is shared, batched or
// reused. Written without the code that it checks.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/session.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle::test {

struct SlowScore {
  double log_likelihood = 0;
  bool greedy = true;
  bool cut = false;
};

// Spaces and newlines are the white space that these tests use.
inline SlowScore slow_score(const Model& model, const Team& team, const Tokenizer& tokenizer,
                            int64_t context_size, KvFormat kv_cache, std::string context,
                            std::string continuation) {
  while (!context.empty() && (context.back() == ' ' || context.back() == '\n')) {
    continuation.insert(continuation.begin(), context.back());
    context.pop_back();
  }
  std::vector<int32_t> ids = tokenizer.encode(context, false);
  const std::vector<int32_t> whole = tokenizer.encode(context + continuation, false);
  if (whole.size() <= ids.size()) {  // a token of both
    size_t same = 0;
    while (same < whole.size() && whole[same] == ids[same]) ++same;
    ids.resize(same);
  }
  std::vector<int32_t> scored(whole.begin() + static_cast<std::ptrdiff_t>(ids.size()), whole.end());
  if (tokenizer.bos_token_id())
    ids.insert(ids.begin(), *tokenizer.bos_token_id());
  else if (ids.empty())
    ids.push_back(model.spec().bos_token_id);
  ids.insert(ids.end(), scored.begin(), scored.end());
  SlowScore score;
  while (static_cast<int64_t>(ids.size()) > context_size + 1) {
    ids.erase(ids.begin());
    score.cut = true;
  }
  Session session(model, team, {context_size, kv_cache, 1});
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const Logits logits = session.forward({&ids[i], 1});
    if (i + 1 < ids.size() - scored.size()) continue;
    const std::span<const float> row = logits.row(0);
    double top = -INFINITY, sum = 0;
    for (const float logit : row) top = std::max(top, static_cast<double>(logit));
    for (const float logit : row) sum += std::exp(static_cast<double>(logit) - top);
    const auto target = static_cast<size_t>(ids[i + 1]);
    score.log_likelihood += static_cast<double>(row[target]) - (top + std::log(sum));
    for (size_t other = 0; other < row.size(); ++other)
      if (row[other] > row[target] || (row[other] == row[target] && other < target)) score.greedy = false;
  }
  return score;
}

}  // namespace whittle::test
