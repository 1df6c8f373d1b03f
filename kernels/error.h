#pragma once
// The one exception type: anything that a file, a flag or a CPU can cause. Our own bugs are `assert`s.

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace whittle {

// The message names the file and the tensor or field, what was expected and what was found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace whittle
