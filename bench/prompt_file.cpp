#include "bench/prompt_file.h"

#include <fmt/format.h>

#include "bench/tasks/text_lines.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

PromptLine parse_line(std::string_view text, PromptLine line) {
  const nlohmann::json json = parse_json(text, line.what());
  const JsonFields fields(json, line.what());
  for (const auto& [name, value] : json.items())
    if (name != "prompt" && name != "max_tokens")
      fail("{}: field {} is not known; expected \"prompt\" and \"max_tokens\"", line.what(), quote(name));
  line.text = fields.string("prompt");
  if (line.text.empty()) fields.reject("prompt", "is empty");
  if (fields.has("max_tokens")) line.max_tokens = fields.integer("max_tokens", 1, 1 << 24);
  return line;
}

}  // namespace

std::string PromptLine::what() const { return fmt::format("{}, line {}", file, line); }

std::vector<PromptLine> parse_prompts(std::string_view text, const std::string& file) {
  constexpr size_t most = 100'000;
  std::vector<PromptLine> prompts;
  for (const TextLine& line : lines_of(text)) {
    if (prompts.size() == most) fail("{}: more than {} prompts", file, most);
    prompts.push_back(parse_line(line.text, {file, line.number, {}, {}}));
  }
  if (prompts.empty()) fail("{}: no prompt in it; expected lines such as {{\"prompt\": \"Once\"}}", file);
  return prompts;
}

}  // namespace whittle
