#pragma once
// The prompt of a speed measurement: always the same, and exactly as long as asked.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model_spec.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle {

struct Prompt {
  std::string text;          // empty without a tokenizer
  std::vector<int32_t> ids;  // the first ids of encode(text); without a tokenizer, drawn from the vocabulary
};

// The text is plain English words in a fixed random order, the fewest that give `tokens` ids: what a dense
// model computes does not depend on what is said. Throws Error where the tokenizer gives an id that the model
// does not have.
Prompt make_prompt(const ModelSpec& spec, const Tokenizer* tokenizer, int64_t tokens);

}  // namespace whittle
