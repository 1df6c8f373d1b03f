#include "engine/tokenizer/token_decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/tokenizer/fields.h"
#include "engine/tokenizer/unicode.h"

namespace whittle {

namespace {

using Tokens = std::vector<DecodedToken>;

constexpr std::string_view space_mark = "\u2581";  // sentencepiece's

// Takes the text at the front of `bytes`, U+FFFD for what is no character. A character without its end stays,
// unless these are the last bytes. `each_byte`: one U+FFFD a byte, and not one for what may have been one
// character.
std::string take_text(std::string& bytes, bool last, bool each_byte) {
  if (is_valid_utf8(bytes)) return std::exchange(bytes, {});
  std::string text;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const Utf8Front front = utf8_front(rest);
    const auto length = static_cast<size_t>(front.length);
    if (front.unfinished && !last) break;
    if (front.code_point >= 0) {
      text += rest.substr(0, length);
    } else {
      for (size_t i = 0; i < (each_byte ? length : 1); i++) text += replacement_character;
    }
    rest.remove_prefix(length);
  }
  bytes = std::string(rest);
  return text;
}

// "<0x41>" is a byte.
std::optional<char> byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const bool digit = c >= '0' && c <= '9', upper = c >= 'A' && c <= 'F', lower = c >= 'a' && c <= 'f';
    if (!digit && !upper && !lower) return std::nullopt;
    value = value * 16 + (digit ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return static_cast<char>(value);
}

struct JoinWithSpaces {
  bool first = true;

  void operator()(Tokens& tokens, bool) {
    for (DecodedToken& token : tokens) {
      if (!std::exchange(first, false)) token.text.insert(0, 1, ' ');
    }
  }
};

struct Fuse {
  void operator()(Tokens& tokens, bool) const {
    DecodedToken whole;
    for (const DecodedToken& token : tokens) whole.text += token.text;
    tokens.assign(1, std::move(whole));
  }
};

struct ByteLevel {
  std::string bytes;  // of an unfinished character

  void operator()(Tokens& tokens, bool last) {
    for (const DecodedToken& token : tokens) bytes += token.added ? token.text : byte_level_bytes(token.text);
    tokens.assign(1, {take_text(bytes, last, false), false});
  }
};

// Runs of byte tokens to text. Hugging Face's rule gives up a whole run when it is not UTF-8, so that a run
// is certain at its end only; sentencepiece's goes character by character.
struct ByteFallback {
  bool whole_runs;
  std::string run = {};

  void operator()(Tokens& tokens, bool last) {
    Tokens result;
    for (DecodedToken& token : tokens) {
      if (const auto byte = byte_token(token.text)) {
        run += *byte;
      } else {
        end_run(result);
        result.push_back(std::move(token));
      }
    }
    if (!whole_runs) result.push_back({take_text(run, last, true), false});
    if (last) end_run(result);
    tokens = std::move(result);
  }

  void end_run(Tokens& result) {
    if (run.empty()) return;
    DecodedToken text;
    if (!whole_runs || is_valid_utf8(run)) {
      text.text = take_text(run, true, true);
      result.push_back(std::move(text));
    } else {
      for (size_t i = 0; i < run.size(); i++) result.push_back({std::string(replacement_character), false});
    }
    run.clear();
  }
};

struct Replace {
  Regex pattern;
  std::string content;

  void operator()(Tokens& tokens, bool) const {
    for (DecodedToken& token : tokens) token.text = pattern.replace_all(token.text, content);
  }
};

// Up to `start` characters `content` from the front and up to `stop` from the end of each token.
struct Strip {
  std::string content;
  size_t start, stop;

  void operator()(Tokens& tokens, bool) const {
    for (DecodedToken& token : tokens) {
      std::string_view rest = token.text;
      for (size_t i = 0; i < start && rest.starts_with(content); i++) rest.remove_prefix(content.size());
      for (size_t i = 0; i < stop && rest.ends_with(content); i++) rest.remove_suffix(content.size());
      token.text = std::string(rest);
    }
  }
};

// The same where all tokens are one.
struct StripFused {
  std::string content;
  size_t start, stop;    // `start`: how many may still go
  size_t held_back = 0;  // characters `content` that are stripped if nothing follows

  void operator()(Tokens& tokens, bool) {
    std::string text;
    for (const DecodedToken& token : tokens) {
      std::string_view rest = token.text;
      for (; start > 0 && rest.starts_with(content); start--) rest.remove_prefix(content.size());
      if (!rest.empty()) start = 0;
      size_t trailing = 0;
      for (; rest.ends_with(content); trailing++) rest.remove_suffix(content.size());
      if (!rest.empty()) {
        release(held_back, text);
        text += rest;
      }
      held_back += trailing;
      if (held_back > stop) release(held_back - stop, text);
    }
    tokens.assign(1, {std::move(text), false});
  }

  void release(size_t count, std::string& text) {
    for (size_t i = 0; i < count; i++) text += content;
    held_back -= count;
  }
};

// Marks become spaces, and nothing in the first token where the tokenizer puts one in front.
struct Metaspace {
  Regex mark;
  bool drops_first;
  bool first = true;

  void operator()(Tokens& tokens, bool) {
    for (DecodedToken& token : tokens) {
      token.text = mark.replace_all(token.text, std::exchange(first, false) && drops_first ? "" : " ");
    }
  }
};

struct SentencePiece {
  TokenDecoder::SentencePieceRules rules;
  Regex mark;
  bool at_start = true;

  void operator()(Tokens& tokens, bool) {
    for (DecodedToken& token : tokens) {
      if (byte_token(token.text)) {
        at_start = false;
        continue;
      }
      if (token.text == rules.unknown) {
        token.text = rules.unknown_surface;
      } else if (!token.added) {
        const bool strip = at_start && rules.strips_first_space && token.text.starts_with(space_mark);
        if (strip) token.text.erase(0, space_mark.size());
        token.text = mark.replace_all(token.text, " ");
        if (strip && !rules.strips_all_leading_spaces) at_start = false;
      }
      if (!token.text.empty()) at_start = false;
    }
  }
};

}  // namespace

TokenDecoder::TokenDecoder() : steps_{JoinWithSpaces{}} {}

TokenDecoder::TokenDecoder(const JsonFields& fields) { add(fields); }

TokenDecoder TokenDecoder::byte_level() {
  TokenDecoder result{Empty{}};
  result.steps_.push_back(ByteLevel{});
  return result;
}

TokenDecoder TokenDecoder::sentencepiece(const SentencePieceRules& rules) {
  TokenDecoder result{Empty{}};
  result.steps_.push_back(SentencePiece{rules, Regex(space_mark, Regex::Syntax::literal, "sentencepiece")});
  result.steps_.push_back(ByteFallback{.whole_runs = false});
  return result;
}

void TokenDecoder::add(const JsonFields& fields) {
  const std::string type = fields.string("type");
  if (fused_ && type != "Strip" && type != "Fuse") {
    fields.reject("type", quote(type) + " after ByteLevel or Fuse is not supported");
  }
  if (type == "Sequence") {
    allow_fields(fields, {"type", "decoders"});
    for_each_object(fields, "decoders", [this](const JsonFields& element) { add(element); });
  } else if (type == "ByteLevel") {
    allow_fields(fields, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    steps_.push_back(ByteLevel{});
    fused_ = true;
  } else if (type == "Fuse") {
    allow_fields(fields, {"type"});
    steps_.push_back(Fuse{});
    fused_ = true;
  } else if (type == "ByteFallback") {
    allow_fields(fields, {"type"});
    steps_.push_back(ByteFallback{.whole_runs = true});
  } else if (type == "Replace") {
    allow_fields(fields, {"type", "pattern", "content"});
    steps_.push_back(Replace{parse_pattern(fields, "pattern"), fields.string("content")});
  } else if (type == "Strip") {
    allow_fields(fields, {"type", "content", "start", "stop"});
    const std::string content = parse_character(fields, "content");
    const auto start = static_cast<size_t>(fields.integer("start", 0, INT32_MAX));
    const auto stop = static_cast<size_t>(fields.integer("stop", 0, INT32_MAX));
    if (fused_) {
      steps_.push_back(StripFused{content, start, stop});
    } else {
      steps_.push_back(Strip{content, start, stop});
    }
  } else if (type == "Metaspace") {
    allow_fields(fields, {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
    const std::string scheme =
        fields.string("prepend_scheme", fields.boolean("add_prefix_space", true) ? "always" : "never");
    const Regex mark(parse_character(fields, "replacement"), Regex::Syntax::literal, fields.what());
    steps_.push_back(Metaspace{mark, scheme != "never"});
  } else {
    reject_type(fields, type);
  }
}

std::string TokenDecoder::apply(Tokens tokens, bool last) {
  for (Step& step : steps_) step(tokens, last);
  std::string text;
  for (const DecodedToken& token : tokens) text += token.text;
  return text;
}

}  // namespace whittle
