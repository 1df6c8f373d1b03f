#include "engine/files/name_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "engine/architectures.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

namespace {

constexpr std::string_view regex_prefix = "re:";
constexpr size_t max_pattern_bytes = 4096;
constexpr uint32_t match_limit = 100'000;  // steps; names are short

std::string pcre2_message(int code) {
  char text[256] = {};
  pcre2_get_error_message(code, reinterpret_cast<unsigned char*>(text), sizeof text);
  return text;
}

NamePattern::Kind kind_of(std::string_view text) {
  if (text.starts_with(regex_prefix)) return NamePattern::Kind::regex;
  return text == "Linear" || text == "Embedding" ? NamePattern::Kind::module_class : NamePattern::Kind::name;
}

}  // namespace

std::string_view module_class(std::string_view module) {
  static const std::vector<std::string> embeddings = embedding_names();
  return std::ranges::find(embeddings, module) == embeddings.end() ? "Linear" : "Embedding";
}

NamePattern::NamePattern(const std::string& text, const std::string& what)
    : text_(text), what_(what), kind_(kind_of(text)) {
  if (kind_ != Kind::regex) return;
  const std::string_view pattern = std::string_view(text_).substr(regex_prefix.size());
  if (pattern.size() > max_pattern_bytes) fail("{}: pattern {} is too long", what, quote(text));
  int code = 0;
  size_t offset = 0;
  regex_.reset(pcre2_compile(reinterpret_cast<const unsigned char*>(pattern.data()), pattern.size(),
                             PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &offset, nullptr),
               pcre2_code_free);
  if (!regex_) fail("{}: pattern {}: {} at byte {}", what, quote(text), pcre2_message(code), offset);
}

bool NamePattern::matches(std::string_view module) const {
  if (kind_ == Kind::name) return module == text_;
  if (kind_ == Kind::module_class) return module_class(module) == text_;
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), match_limit);
  const int found = pcre2_match(regex_.get(), reinterpret_cast<const unsigned char*>(module.data()),
                                module.size(), 0, PCRE2_ANCHORED, data.get(), context.get());
  if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
    fail("{}: pattern {} on module {}: {}", what_, quote(text_), quote(module), pcre2_message(found));
  }
  return found >= 0;
}

}  // namespace whittle
