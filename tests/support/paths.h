#pragma once
// Where tests find files: the source tree, and a folder of larger test data that may be absent.

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace whittle::test {

inline std::filesystem::path source_dir() { return WHITTLE_SOURCE_DIR; }

// Our own model and its golden values: always there.
inline std::filesystem::path reference_model() { return source_dir() / "bench" / "reference_model"; }

// `shared/` beside the checkout, or the folder named by WHITTLE_SHARED.
inline std::optional<std::filesystem::path> shared_dir() {
  const char* named = std::getenv("WHITTLE_SHARED");
  std::filesystem::path folder = named ? std::filesystem::path(named) : source_dir().parent_path() / "shared";
  if (!std::filesystem::exists(folder / "data")) return std::nullopt;
  return folder;
}

// A fresh folder, removed with everything in it at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "whittle-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace whittle::test

// Leaves the test case, and says so, where the larger test data is absent.
#define WHITTLE_NEEDS_SHARED(name)                                                 \
  const auto name##_found = whittle::test::shared_dir();                           \
  if (!name##_found) {                                                             \
    WARN("skipped: no shared/ folder beside the checkout, and no WHITTLE_SHARED"); \
    return;                                                                        \
  }                                                                                \
  const std::filesystem::path name = *name##_found
