#pragma once
// Many sequences through one decoder together. Each lane keeps the keys and values of what it has read, and a
// sequence that begins like the one before it in its lane is run only from where they part.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/decoder.h"
#include "engine/kv_cache.h"
#include "engine/model.h"
#include "kernels/threads.h"

namespace whittle {

// Tokens that both begin with.
int64_t shared_prefix(std::span<const int32_t> a, std::span<const int32_t> b);

class SharedPrefixBatch {
 public:
  // Sequences of at most `context` tokens. Model and team must outlive it.
  SharedPrefixBatch(const Model& model, const Team& team, int64_t lanes, int64_t context, KvFormat kv_cache);

  struct Request {
    size_t lane = 0;  // all different
    std::span<const int32_t> tokens;
    int64_t first_seen = 0;  // below the number of tokens
  };
  // Gets the logits after tokens[position] of a request: called by any thread, once for each.
  using See = std::function<void(size_t request, int64_t position, std::span<const float> logits)>;
  // Shows the logits after every token from first_seen on. They are the same bits whatever other requests
  // there are, whatever was run before, and for any number of threads. Throws Error.
  void run(std::span<const Request> requests, const See& see);

  int64_t lanes() const { return static_cast<int64_t>(lanes_.size()); }
  // Through the layers so far: fewer than were asked for, as prefixes are shared.
  int64_t tokens_run() const { return tokens_run_; }

 private:
  struct Lane {
    KvCache cache;
    std::vector<int32_t> tokens;  // whose keys and values are in the cache
  };

  const Team& team_;
  Decoder decoder_;
  int64_t logit_rows_;
  std::vector<Lane> lanes_;
  int64_t tokens_run_ = 0;
};

}  // namespace whittle
