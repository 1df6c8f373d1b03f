#pragma once
// A prompt with places for an item's fields: "{sentence}\nSentiment:". "{{" and "}}" are braces.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace whittle {

class PromptTemplate {
 public:
  // Throws Error that begins with `what` where a brace has no partner, or there is no field at all.
  PromptTemplate(std::string_view text, const std::string& what);

  // `field` gives the text of a field by its name, or throws.
  std::string fill(const std::function<std::string(const std::string&)>& field) const;

 private:
  struct Part {
    bool is_field = false;
    std::string text;
  };
  std::vector<Part> parts_;
};

}  // namespace whittle
