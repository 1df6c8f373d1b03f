#pragma once
// Module names as compressed-tensors' targets and ignore lists mean them.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace whittle {

class NamePattern {
 public:
  enum class Kind : uint8_t { name, regex, module_class };

  // "model.layers.0.mlp.up_proj" is that module; "re:REGEX" every module whose name REGEX matches from its
  // beginning, not necessarily to its end; "Linear" and "Embedding" every module of that class. Throws Error,
  // beginning with `what`, for an invalid regular expression.
  NamePattern(const std::string& text, const std::string& what);

  const std::string& text() const { return text_; }
  Kind kind() const { return kind_; }
  // Throws Error when the regular expression takes unreasonably long.
  bool matches(std::string_view module) const;

 private:
  std::string text_, what_;
  Kind kind_;
  std::shared_ptr<pcre2_real_code_8> regex_;
};

// "Embedding" for what a family calls so, "Linear" for every other module that holds a matrix.
std::string_view module_class(std::string_view module);

}  // namespace whittle
