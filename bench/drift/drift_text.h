#pragma once
// A text to measure drift on, and what tells it, its tokenizer and the models apart from others.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/windows.h"
#include "engine/tokenizer/tokenizer.h"

namespace whittle {

struct DriftText {
  std::string name;          // as a report shows it
  std::string hash;          // of the text as it was read, or of the ids that were given
  int64_t bytes_scored = 0;  // of text; 0: unknown
  Windows windows;
};

// Throws Error as text_windows does.
DriftText text_to_score(const std::string& name, const std::string& text, const Tokenizer& tokenizer,
                        int64_t context, const std::string& protocol, int64_t stride);
// Of windows that are given as ids.
DriftText ids_to_score(const std::string& name, Windows windows);

// What each id of a tokenizer stands for, hashed: two files that spell one tokenizer in other ways agree.
std::string tokenizer_hash(const Tokenizer& tokenizer);

// `name`, `weights` and `config` of a model folder: its own name, and hashes of what is in it.
nlohmann::json model_identity(const std::filesystem::path& folder);

}  // namespace whittle
