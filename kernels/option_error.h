#pragma once
// What is wrong with an option of a library's function, in the library's own terms. A program that sets the
// option by a flag finds the flag by its name.

#include <string>
#include <utility>

#include "kernels/error.h"

namespace whittle {

// what() is "NAME: what was expected, and what was found".
class OptionError : public Error {
 public:
  OptionError(std::string option, const std::string& message)
      : Error(option + ": " + message), option_(std::move(option)) {}

  // The option's field, such as "top_p".
  const std::string& option() const { return option_; }

 private:
  std::string option_;
};

template <typename... Args>
[[noreturn]] void fail_option(const char* option, fmt::format_string<Args...> format, Args&&... args) {
  throw OptionError(option, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace whittle
