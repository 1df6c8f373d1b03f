#pragma once
// A tiny model and a changed copy of it, both with a tokenizer of letters and without BOS.

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

namespace whittle::test {

struct TwoModels {
  TemporaryFolder folder;
  std::filesystem::path baseline = folder.path() / "baseline", model = folder.path() / "model";

  TwoModels() {
    std::vector<std::string> tokens;
    for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
    const TinyModel tiny = {.vocab_size = 32};
    for (const auto& path : {baseline, model}) {
      std::filesystem::create_directory(path);
      write_tiny_model(path, tiny);
      write_text(path / "tokenizer.json", bpe_tokenizer(tokens).dump());
    }
    std::vector<RawTensor> tensors = tensors_of(tiny);
    for (RawTensor& tensor : tensors)
      if (tensor.name.find("down_proj") != std::string::npos) tensor.bytes.assign(tensor.bytes.size(), '\0');
    write_safetensors(model / "model.safetensors", tensors);
  }
};

// Of a to w.
inline std::string letters(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += static_cast<char>('a' + i * i % 23);
  return text;
}

}  // namespace whittle::test
