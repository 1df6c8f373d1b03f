#pragma once
// Prompts of real use: JSON lines, each an object of "prompt" and, where it has a length of its own,
// "max_tokens".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace whittle {

struct PromptLine {
  std::string file;  // for errors, and the line in it, from 1
  int64_t line = 0;
  std::string text;
  std::optional<int64_t> max_tokens;  // to be generated; unset: as many as of every other

  std::string what() const;  // "prompts.jsonl, line 3"
};

// Blank lines are passed over. Throws Error, which names file, line and field, for a line that is no such
// object, an empty prompt, a field of another name, and a file without any prompt or with more than 100,000.
std::vector<PromptLine> parse_prompts(std::string_view text, const std::string& file);

}  // namespace whittle
