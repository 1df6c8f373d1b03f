#pragma once
// What a speed measurement runs: prompts, and how many tokens follow each.

#include <filesystem>
#include <vector>

#include "bench/prompt.h"
#include "bench/speed.h"

namespace whittle {

struct Request {
  Prompt prompt;
  int64_t gen_tokens = 0;
  int64_t line = 0;  // of the file of prompts; 0: the prompt that is always the same
};

// Throws Error where one does not fit into the model's max_position_embeddings, or options.prompts are texts
// and there is no tokenizer. `folder` is the model's, for errors.
std::vector<Request> make_requests(const ModelSpec& spec, const Tokenizer* tokenizer,
                                   const std::filesystem::path& folder, const SpeedOptions& options);

// Positions that the longest takes, its generated tokens included.
int64_t longest(const std::vector<Request>& requests);

}  // namespace whittle
