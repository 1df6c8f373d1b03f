#include "engine/tokenizer/pretokenizer.h"

#include <algorithm>
#include <utility>

#include "engine/tokenizer/fields.h"

namespace whittle {

namespace {

constexpr const char* gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// What happens to the matches of a pattern: `merge` says which side of a boundary between a match and what is
// no match a cut is left out.
enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

constexpr std::pair<const char*, Behavior> behaviors[] = {
    {"Isolated", Behavior::isolated},
    {"Removed", Behavior::removed},
    {"MergedWithPrevious", Behavior::merged_with_previous},
    {"MergedWithNext", Behavior::merged_with_next},
    {"Contiguous", Behavior::contiguous},
};

Behavior parse_behavior(const JsonFields& fields, const char* fallback = nullptr) {
  const std::string name = fallback ? fields.string("behavior", fallback) : fields.string("behavior");
  for (const auto& [known, behavior] : behaviors) {
    if (known == name) return behavior;
  }
  fields.reject("behavior", quote(name) + " is not supported");
}

class Split {
 public:
  Split(Regex regex, Behavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}

  void operator()(Words& words) const {
    std::vector<TextSpan> result, matches;
    std::vector<Part> parts;
    result.reserve(words.spans.size());
    for (const TextSpan& span : words.spans) {
      matches.clear();
      parts.clear();
      regex_.find_all(std::string_view(words.text).substr(span.begin, span.end - span.begin), matches);
      size_t end = span.begin;
      for (const TextSpan& match : matches) {
        const size_t match_begin = span.begin + match.begin;
        if (end < match_begin) parts.push_back({{end, match_begin}, invert_});
        end = span.begin + match.end;
        parts.push_back({{match_begin, end}, !invert_});
      }
      if (end < span.end) parts.push_back({{end, span.end}, invert_});
      append(parts, result);
    }
    words.spans = std::move(result);
  }

 private:
  struct Part {
    TextSpan span;
    bool match;
  };

  void append(const std::vector<Part>& parts, std::vector<TextSpan>& result) const {
    for (size_t i = 0; i < parts.size();) {
      size_t last = i;  // parts i to last become one word
      const auto joins_next = [&] {
        if (last + 1 == parts.size()) return false;
        const bool here = parts[last].match, next = parts[last + 1].match;
        switch (behavior_) {
          case Behavior::merged_with_previous: return !here && next;
          case Behavior::merged_with_next: return here && !next;
          case Behavior::contiguous: return here == next;
          default: return false;
        }
      };
      while (joins_next()) last++;
      const TextSpan span{parts[i].span.begin, parts[last].span.end};
      const bool removed = behavior_ == Behavior::removed && parts[i].match;
      if (!removed && span.begin < span.end) result.push_back(span);
      i = last + 1;
    }
  }

  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

// Rewrites every word: `rewrite(word, is_at_start_of_input, text)` appends the new word to the new text.
template <typename Rewrite>
void rewrite_words(Words& words, const Rewrite& rewrite) {
  Words result{.text = {}, .spans = {}, .starts_input = words.starts_input};
  result.text.reserve(words.text.size() + words.spans.size());
  for (size_t i = 0; i < words.spans.size(); i++) {
    const TextSpan span = words.spans[i];
    const bool at_start = words.starts_input && span.begin == 0;
    if (i == 0) result.starts_input = at_start;
    const size_t begin = result.text.size();
    rewrite(std::string_view(words.text).substr(span.begin, span.end - span.begin), at_start, result.text);
    result.spans.push_back({begin, result.text.size()});
  }
  words = std::move(result);
}

enum class PrependScheme { always, first, never };

PrependScheme parse_prepend_scheme(const JsonFields& fields) {
  const bool add_prefix_space = fields.boolean("add_prefix_space", true);  // the older way to say it
  const std::string name = fields.string("prepend_scheme", add_prefix_space ? "always" : "never");
  if (!add_prefix_space && name != "never")
    fields.reject("add_prefix_space", "contradicts prepend_scheme " + quote(name));
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  fields.reject("prepend_scheme", quote(name) + " is not supported");
}

// Classes of the pre-tokenizers that are a Split under another name.
constexpr const char* words_pattern = R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}]+|[^\s\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}]+)";
constexpr const char* space_pattern = R"(\s+)";
constexpr const char* digit_pattern = R"(\p{N})";
constexpr const char* punctuation_pattern = R"([\p{P}$+<=>^`|~])";

}  // namespace

PreTokenizer::PreTokenizer(const JsonFields& fields) { add(fields); }

PreTokenizer PreTokenizer::gpt2() {
  PreTokenizer result;
  result.add_byte_level(false, true);
  return result;
}

void PreTokenizer::add_byte_level(bool add_prefix_space, bool use_regex) {
  if (add_prefix_space) {
    steps_.push_back([](Words& words) {
      rewrite_words(words, [](std::string_view word, bool, std::string& text) {
        if (!word.starts_with(' ')) text += ' ';
        text += word;
      });
    });
  }
  if (use_regex) {
    steps_.push_back(
        Split(Regex(gpt2_pattern, Regex::Syntax::regex, "the pattern of GPT-2"), Behavior::isolated, false));
  }
  byte_level_ = true;
}

void PreTokenizer::add(const JsonFields& fields) {
  const std::string type = fields.string("type");
  const auto split = [&](const char* pattern, Behavior behavior, bool invert = false) {
    steps_.push_back(Split(Regex(pattern, Regex::Syntax::regex, fields.what()), behavior, invert));
  };
  // The bytes that it makes are the model's: later steps would have to see them as characters.
  if (byte_level_) fields.reject("type", quote(type) + " after ByteLevel is not supported");
  if (type == "Sequence") {
    allow_fields(fields, {"type", "pretokenizers"});
    for_each_object(fields, "pretokenizers", [this](const JsonFields& element) { add(element); });
  } else if (type == "Split") {
    allow_fields(fields, {"type", "pattern", "behavior", "invert"});
    steps_.push_back(
        Split(parse_pattern(fields, "pattern"), parse_behavior(fields), fields.boolean("invert", false)));
  } else if (type == "ByteLevel") {
    allow_fields(fields, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    add_byte_level(fields.boolean("add_prefix_space", true), fields.boolean("use_regex", true));
  } else if (type == "Digits") {
    allow_fields(fields, {"type", "individual_digits"});
    split(digit_pattern,
          fields.boolean("individual_digits", false) ? Behavior::isolated : Behavior::contiguous);
  } else if (type == "Punctuation") {
    allow_fields(fields, {"type", "behavior"});
    split(punctuation_pattern, parse_behavior(fields, "Isolated"));
  } else if (type == "Whitespace") {
    allow_fields(fields, {"type"});
    split(words_pattern, Behavior::removed, true);
  } else if (type == "WhitespaceSplit") {
    allow_fields(fields, {"type"});
    split(space_pattern, Behavior::removed);
  } else if (type == "CharDelimiterSplit") {
    allow_fields(fields, {"type", "delimiter"});
    steps_.push_back(Split(Regex(parse_character(fields, "delimiter"), Regex::Syntax::literal, fields.what()),
                           Behavior::removed, false));
  } else if (type == "Metaspace") {
    allow_fields(fields, {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
    const std::string mark = parse_character(fields, "replacement");
    steps_.push_back([mark, scheme = parse_prepend_scheme(fields)](Words& words) {
      rewrite_words(words, [&](std::string_view word, bool at_start, std::string& text) {
        const bool wanted = scheme == PrependScheme::always || (scheme == PrependScheme::first && at_start);
        if (wanted && !word.starts_with(' ') && !word.starts_with(mark)) text += mark;
        for (const char c : word) c == ' ' ? void(text += mark) : void(text += c);
      });
    });
    if (fields.boolean("split", true)) {
      steps_.push_back(
          Split(Regex(mark, Regex::Syntax::literal, fields.what()), Behavior::merged_with_next, false));
    }
  } else {
    reject_type(fields, type);
  }
}

void PreTokenizer::apply(Words& words) const {
  for (const Step& step : steps_) step(words);
}

}  // namespace whittle
