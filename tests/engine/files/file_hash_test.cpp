#include "engine/files/file_hash.h"

#include <set>

#include "engine/files/model_file.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

TEST_CASE("Hashes of bytes are those of XXH3's own test vectors, and of a file those of its bytes") {
  // xxhsum -H128 of these.
  const std::pair<std::string, std::string> vectors[] = {
      {"", "99aa06d3014798d86001c324468d497f"},
      {"abc", "06b05ab6733a618578af5f94892f3950"},
  };
  const TemporaryFolder folder;
  const auto file = folder.path() / "file";
  for (const auto& [text, expected] : vectors) {
    CHECK(hash_of(text) == expected);
    CHECK(hash_of(std::as_bytes(std::span(text))) == expected);
    write_text(file, text);
    CHECK(hash_of_file(file) == expected);
  }
  // Pieces of a large file are not hashed one by one.
  std::string large(size_t{33} << 20, 'x');
  for (size_t i = 0; i < large.size(); i += 1013) large[i] = static_cast<char>(i / 1013);
  write_text(file, large);
  CHECK(hash_of_file(file) == hash_of(large));
  CHECK_THROWS_WITH(hash_of_file(folder.path() / "absent"), Catch::Contains("absent"));
  CHECK_THROWS_AS(hash_of_file(folder.path()), Error);
}

TEST_CASE("A model's hash changes with every byte of its weights, not with its place") {
  const TemporaryFolder one, two;
  write_tiny_model(one.path(), {});
  write_tiny_model(two.path(), {});
  const auto hash = [](const TemporaryFolder& folder) { return hash_of_weights(ModelFile(folder.path())); };
  const std::string before = hash(one);
  CHECK(hash(two) == before);
  std::vector<RawTensor> tensors = tensors_of({});
  std::set<std::string> seen = {before};
  for (const size_t tensor : {size_t{0}, tensors.size() - 1}) {
    for (const size_t byte : {size_t{0}, tensors[tensor].bytes.size() - 1}) {
      tensors[tensor].bytes[byte] = static_cast<char>(tensors[tensor].bytes[byte] ^ 1);
      write_safetensors(two.path() / "model.safetensors", tensors);
      CHECK(seen.insert(hash(two)).second);
    }
  }
}
