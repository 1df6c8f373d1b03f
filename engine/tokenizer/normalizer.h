#pragma once
// The `normalizer` of tokenizer.json: rewrites a text before it is cut into words.

#include <functional>
#include <string>
#include <vector>

#include "engine/files/json_file.h"

namespace whittle {

class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  // Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip and Sequence. Throws Error.
  explicit Normalizer(const JsonFields& fields);

  // `text` is valid UTF-8, before and after. Throws Error where it would grow beyond max_text_bytes.
  std::string apply(std::string text) const;

 private:
  using Step = std::function<void(std::string& text)>;
  void add(const JsonFields& fields);

  std::vector<Step> steps_;
};

}  // namespace whittle
