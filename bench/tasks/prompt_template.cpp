#include "bench/tasks/prompt_template.h"

#include <algorithm>

#include "kernels/error.h"

namespace whittle {

PromptTemplate::PromptTemplate(std::string_view text, const std::string& what) {
  std::string literal;
  while (!text.empty()) {
    const char first = text.front();
    const bool brace = first == '{' || first == '}';
    if (brace && text.size() > 1 && text[1] == first) {
      literal += first;
      text.remove_prefix(2);
    } else if (first == '{') {
      const size_t end = text.find_first_of("{}", 1);
      if (end == std::string_view::npos || text[end] == '{' || end == 1)
        fail("{}: expected {{NAME}}, a field's name in braces; {{{{ is a brace", what);
      parts_.push_back({false, std::exchange(literal, {})});
      parts_.push_back({true, std::string(text.substr(1, end - 1))});
      text.remove_prefix(end + 1);
    } else if (first == '}') {
      fail("{}: a closing brace without its opening one; }}}} is a brace", what);
    } else {
      literal += first;
      text.remove_prefix(1);
    }
  }
  parts_.push_back({false, literal});
  if (std::ranges::none_of(parts_, &Part::is_field))
    fail("{}: expected a field in braces, as in {{sentence}}", what);
}

std::string PromptTemplate::fill(const std::function<std::string(const std::string&)>& field) const {
  std::string text;
  for (const Part& part : parts_) text += part.is_field ? field(part.text) : part.text;
  return text;
}

}  // namespace whittle
