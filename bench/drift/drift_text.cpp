#include "bench/drift/drift_text.h"

#include <fmt/format.h>

#include "bench/speed.h"
#include "engine/files/file_hash.h"
#include "engine/files/model_file.h"

namespace whittle {

DriftText text_to_score(const std::string& name, const std::string& text, const Tokenizer& tokenizer,
                        int64_t context, const std::string& protocol, int64_t stride) {
  Windows windows = text_windows(tokenizer, text, context, protocol, stride);
  const int64_t bytes = bytes_scored(windows, tokenizer);
  return {name, hash_of(text), bytes, std::move(windows)};
}

DriftText ids_to_score(const std::string& name, Windows windows) {
  std::string all;
  for (const std::vector<int32_t>& ids : windows.ids) all += fmt::format("{}\n", fmt::join(ids, " "));
  return {name, hash_of(all), 0, std::move(windows)};
}

std::string tokenizer_hash(const Tokenizer& tokenizer) {
  const std::optional<int32_t> bos = tokenizer.bos_token_id();
  std::string all = bos ? fmt::format("BOS {}", *bos) : "no BOS";
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string token = tokenizer.decode({&id, 1}, true);
    all += fmt::format("\n{} ", token.size());
    all += token;
  }
  return hash_of(all);
}

nlohmann::json model_identity(const std::filesystem::path& folder) {
  return {{"name", folder_name(folder)},
          {"weights", hash_of_weights(ModelFile(folder))},
          {"config", hash_of_file(folder / "config.json")}};
}

}  // namespace whittle
