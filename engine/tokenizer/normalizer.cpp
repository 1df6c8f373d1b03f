#include "engine/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "engine/tokenizer/fields.h"
#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {

namespace {

struct UnicodeForm {
  const char* name;
  int options;
};

constexpr UnicodeForm unicode_forms[] = {
    {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
};

void normalize(int options, std::string& text) {
  const auto ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (std::all_of(text.begin(), text.end(), ascii)) return;
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                   static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (length < 0) fail("the text could not be normalized: {}", utf8proc_errmsg(length));
  text.assign(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

void lowercase(std::string& text) {
  std::string result;
  for (std::string_view rest = text; !rest.empty();) {
    const Utf8Front front = utf8_front(rest);
    if (front.code_point == 0x130) {
      result += "i\u0307";  // İ, the one character whose lower case is two
    } else {
      append_utf8(utf8proc_tolower(front.code_point), result);
    }
    rest.remove_prefix(static_cast<size_t>(front.length));
  }
  text = std::move(result);
}

void strip(bool left, bool right, std::string& text) {
  size_t begin = 0;
  while (left && begin < text.size() && is_space(first_code_point(std::string_view(text).substr(begin)))) {
    begin += utf8_length(text[begin]);
  }
  std::string_view rest = std::string_view(text).substr(begin);
  while (right && !rest.empty() && is_space(first_code_point(last_character(rest))))
    rest.remove_suffix(last_character(rest).size());
  text = std::string(rest);
}

}  // namespace

Normalizer::Normalizer(const JsonFields& fields) { add(fields); }

void Normalizer::add(const JsonFields& fields) {
  const std::string type = fields.string("type");
  const auto form = std::find_if(std::begin(unicode_forms), std::end(unicode_forms),
                                 [&](const UnicodeForm& f) { return f.name == type; });
  if (form != std::end(unicode_forms)) {
    allow_fields(fields, {"type"});
    steps_.push_back([options = form->options](std::string& text) { normalize(options, text); });
  } else if (type == "Sequence") {
    allow_fields(fields, {"type", "normalizers"});
    for_each_object(fields, "normalizers", [this](const JsonFields& element) { add(element); });
  } else if (type == "Prepend") {
    allow_fields(fields, {"type", "prepend"});
    steps_.push_back([prefix = fields.string("prepend")](std::string& text) {
      if (!text.empty()) text.insert(0, prefix);
    });
  } else if (type == "Replace") {
    allow_fields(fields, {"type", "pattern", "content"});
    steps_.push_back([pattern = parse_pattern(fields, "pattern"), content = fields.string("content")](
                         std::string& text) { text = pattern.replace_all(text, content); });
  } else if (type == "Lowercase") {
    allow_fields(fields, {"type"});
    steps_.push_back(lowercase);
  } else if (type == "Strip") {
    allow_fields(fields, {"type", "strip_left", "strip_right"});
    steps_.push_back([left = fields.boolean("strip_left"), right = fields.boolean("strip_right")](
                         std::string& text) { strip(left, right, text); });
  } else {
    reject_type(fields, type);
  }
}

std::string Normalizer::apply(std::string text) const {
  for (const Step& step : steps_) {
    step(text);
    if (text.size() > max_text_bytes) fail("the normalized text is longer than {} bytes", max_text_bytes);
  }
  return text;
}

}  // namespace whittle
