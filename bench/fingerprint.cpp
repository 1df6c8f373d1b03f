#include "bench/fingerprint.h"

#include "bench/machine.h"
#include "bench/speed.h"
#include "bench/version.h"
#include "engine/files/file_hash.h"
#include "engine/files/model_file.h"
#include "kernels/kernel_table.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

nlohmann::json known(const std::string& text) {
  return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
}

nlohmann::json texts_json(const std::vector<TextFingerprint>& texts) {
  nlohmann::json json = nlohmann::json::array();
  for (const TextFingerprint& text : texts) json.push_back({{"name", text.name}, {"hash", known(text.hash)}});
  return json;
}

}  // namespace

std::string hash_of_tokenizer_files(const fs::path& folder) {
  std::string all;
  for (const char* name :
       {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "merges.txt"})
    if (fs::exists(folder / name)) all += std::string(name) + " " + hash_of_file(folder / name) + "\n";
  return all.empty() ? "" : hash_of(all);
}

TextFingerprint fingerprint_of_text(const std::string& path, std::string_view text) {
  return {path == "-" ? "standard input" : fs::path(path).filename().string(), hash_of(text)};
}

ModelFingerprint fingerprint_of(const std::string& role, const fs::path& folder) {
  return {role, folder_name(folder), hash_of_weights(ModelFile(folder)), hash_of_file(folder / "config.json"),
          hash_of_tokenizer_files(folder)};
}

std::vector<ModelFingerprint> fingerprints_of(const fs::path& baseline,
                                              const std::vector<std::string>& models) {
  std::vector<ModelFingerprint> all;
  if (!baseline.empty()) all.push_back(fingerprint_of("baseline", baseline));
  for (const std::string& model : models) all.push_back(fingerprint_of("model", model));
  return all;
}

nlohmann::json fingerprint_json(const Fingerprint& fingerprint) {
  nlohmann::json models = nlohmann::json::array();
  for (const ModelFingerprint& model : fingerprint.models)
    models.push_back({{"role", model.role},
                      {"name", model.name},
                      {"weights_hash", known(model.weights_hash)},
                      {"config_hash", known(model.config_hash)},
                      {"tokenizer_hash", known(model.tokenizer_hash)}});
  const Build build = this_build();
  const Machine machine = read_machine();
  return {{"version", build.version},
          {"commit", build.commit == "unknown" ? nlohmann::json(nullptr) : nlohmann::json(build.commit)},
          {"compiler", build.compiler},
          {"build_type", build.type},
          {"cpu", known(machine.cpu)},
          {"isa", kernels().name},
          {"kernel", known(machine.kernel)},
          {"threads", fingerprint.threads ? nlohmann::json(fingerprint.threads) : nlohmann::json(nullptr)},
          {"models", models},
          {"texts", texts_json(fingerprint.texts)},
          {"tasks", texts_json(fingerprint.tasks)}};
}

}  // namespace whittle
