#pragma once
// On what the figures of a report hold: the program, the machine, the files. Reports whose fingerprints
// differ compare more than one thing. Hashes are those of engine/files/file_hash.h.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace whittle {

struct ModelFingerprint {
  std::string role;  // "model", "baseline", "source", "output"
  std::string name;  // the folder's own
  // Of all weight files, of config.json, and of the files that make the tokenizer. Empty: unknown, or none.
  std::string weights_hash, config_hash, tokenizer_hash;
};

struct TextFingerprint {
  std::string name;  // as the report shows it
  std::string hash;  // of as much of it as is used
};

struct Fingerprint {
  int threads = 0;  // 0: none, or several numbers of them, which stand with the figures
  std::vector<ModelFingerprint> models;
  std::vector<TextFingerprint> texts;  // scored, calibrated on, or prompts
  std::vector<TextFingerprint> tasks;
};

// Reads all weights once: a fraction of a second a gigabyte that the system has in memory. Throws Error.
ModelFingerprint fingerprint_of(const std::string& role, const std::filesystem::path& folder);
// The baseline, unless its folder is empty, and the models.
std::vector<ModelFingerprint> fingerprints_of(const std::filesystem::path& baseline,
                                              const std::vector<std::string>& models);
// A text that was read from `path`, "-" being standard input, as far as it is used.
TextFingerprint fingerprint_of_text(const std::string& path, std::string_view text);
// Of the files that make a tokenizer, those that are there; empty where there is none.
std::string hash_of_tokenizer_files(const std::filesystem::path& folder);

// And of what is the same for all reports of this process: the build, the CPU, the system.
nlohmann::json fingerprint_json(const Fingerprint& fingerprint);

}  // namespace whittle
