#include "engine/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/files/json_file.h"
#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {

namespace {

constexpr uint32_t max_steps = 10'000'000;
constexpr size_t max_jit_stack_bytes = 8 << 20;
constexpr uint32_t max_heap_kib = 64 << 10;
constexpr size_t max_pattern_bytes = 1 << 14;

// What a match needs, kept by each thread.
class Matcher {
 public:
  Matcher() {
    pcre2_set_match_limit(context_.get(), max_steps);
    pcre2_set_heap_limit(context_.get(), max_heap_kib);
    pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }
  pcre2_match_context* context() { return context_.get(); }
  pcre2_match_data* data() { return data_.get(); }

 private:
  template <auto free>
  struct Free {
    template <typename T>
    void operator()(T* p) const {
      free(p);
    }
  };
  std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>> context_{
      pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>> data_{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>> stack_{
      pcre2_jit_stack_create(32 << 10, max_jit_stack_bytes, nullptr)};
};

std::string error_text(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// Walks over a pattern and names the first construct that is not the same in both libraries. A set within a
// set, which PCRE2 does not know, is written out.
class DialectCheck {
 public:
  DialectCheck(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      if (front("\\")) {
        escape();
      } else if (in_class_) {
        inside_class();
      } else if (front("[")) {
        at_ += front("[^") ? 2 : 1;
        if (front("]")) refuse("]");
        in_class_ = true;
      } else if (front("(")) {
        group();
      } else if (front("{")) {
        quantifier();
      } else {
        at_++;
      }
    }
    return rewritten_ + std::string(pattern_.substr(copied_));
  }

 private:
  bool front(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  [[noreturn]] void refuse(std::string_view construct) const {
    fail("{}: {} in the regular expression {} is not supported", where_, quote(construct), quote(pattern_));
  }

  void escape() {
    if (at_ + 1 >= pattern_.size()) return void(at_++);  // the compiler's error
    const char c = pattern_[at_ + 1];
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (alphanumeric && std::string_view("rntfdDsSpPxAzZ").find(c) == std::string_view::npos) {
      refuse(pattern_.substr(at_, 2));
    }
    at_ += 2;
    if ((c == 'p' || c == 'P' || c == 'x') && front("{")) {
      const size_t close = pattern_.find('}', at_);
      if (close == std::string_view::npos) return void(at_ = pattern_.size());
      std::string_view name = pattern_.substr(at_ + 1, close - at_ - 1);
      if (name.starts_with('^')) name.remove_prefix(1);
      // Scripts and longer property names: sets differ between the libraries' versions.
      if (c != 'x' && name.size() > 2) refuse(name);
      at_ = close + 1;
    }
  }

  void inside_class() {
    if (front("[")) return inner_set();
    if (front("&&")) refuse("&&");  // an intersection
    if (front("]")) in_class_ = false;
    at_++;
  }

  // Their union, as in BLOOM's [^(\s|[.,!?])]: where nothing in the inner one means something else without
  // its brackets, they are left out.
  void inner_set() {
    const size_t close = pattern_.find(']', at_);
    const std::string_view body =
        close == std::string_view::npos ? "" : pattern_.substr(at_ + 1, close - at_ - 1);
    if (body.empty() || body.front() == ':' || body.find_first_of("^-[&\\") != std::string_view::npos ||
        pattern_[at_ - 1] == '-' || pattern_.substr(close + 1).starts_with('-'))
      refuse(pattern_.substr(at_, 2));
    rewritten_ += pattern_.substr(copied_, at_ - copied_);
    rewritten_ += body;
    copied_ = at_ = close + 1;
  }

  void group() {
    at_++;
    if (front("*")) refuse("(*");
    if (!front("?")) return;
    for (const char* known : {"?:", "?i:", "?=", "?!", "?<=", "?<!", "?>"}) {
      if (front(known)) return void(at_ += std::string_view(known).size());
    }
    refuse(pattern_.substr(at_ - 1, 4));
  }

  void quantifier() {
    const size_t close = pattern_.find('}', at_);
    if (close == std::string_view::npos) refuse("{");
    const std::string_view body = pattern_.substr(at_ + 1, close - at_ - 1);
    if (body.empty() || body.front() == ',' ||
        body.find_first_not_of("0123456789,") != std::string_view::npos) {
      refuse(pattern_.substr(at_, close + 1 - at_));
    }
    at_ = close + 1;
    if (front("+")) refuse("}+");  // possessive in one, repeated in the other
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string rewritten_;
  size_t copied_ = 0;  // of the pattern, into `rewritten_`
};

}  // namespace

Regex::Regex(std::string_view pattern, Syntax syntax, std::string where) : where_(std::move(where)) {
  if (pattern.empty()) fail("{}: an empty pattern", where_);
  if (pattern.size() > max_pattern_bytes) {
    fail("{}: a pattern of {} bytes, expected at most {}", where_, pattern.size(), max_pattern_bytes);
  }
  uint32_t options = PCRE2_UTF;
  std::string compiled(pattern);
  if (syntax == Syntax::literal) {
    options |= PCRE2_LITERAL;
  } else {
    compiled = DialectCheck(pattern, where_).run();
    options |= PCRE2_UCP | PCRE2_MULTILINE;  // ^ and $ know lines in Oniguruma
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(compiled.data()), compiled.size(), options, &error,
                             &offset, nullptr);
  if (!code)
    fail("{}: {} at byte {} of the regular expression {}", where_, error_text(error), offset,
         quote(compiled));
  code_.reset(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where there is no JIT, pcre2_match interprets
}

void Regex::find_all(std::string_view text, std::vector<TextSpan>& matches) const {
  thread_local Matcher matcher;
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  for (size_t start = 0; start <= text.size();) {
    // An empty view may have no address at all, which PCRE2 takes for a mistake.
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data());
    const int found =
        pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK, matcher.data(), matcher.context());
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found < 0) fail("{}: the regular expression was given up: {}", where_, error_text(found));
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(matcher.data());
    matches.push_back({bounds[0], bounds[1]});
    start = bounds[1];
    if (bounds[0] == bounds[1]) start += start < text.size() ? utf8_length(text[start]) : 1;
  }
}

std::string Regex::replace_all(std::string_view text, std::string_view content) const {
  std::vector<TextSpan> matches;
  find_all(text, matches);
  std::string result;
  size_t end = 0;
  for (const TextSpan& match : matches) {
    result += text.substr(end, match.begin - end);
    result += content;
    end = match.end;
    if (result.size() > max_text_bytes) fail("{}: the text grows beyond {} bytes", where_, max_text_bytes);
  }
  return result += text.substr(end);
}

}  // namespace whittle
