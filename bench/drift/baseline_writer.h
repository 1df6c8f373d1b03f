#pragma once
// Runs a baseline once and keeps what it predicts: writes what baseline_file.h reads.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "bench/drift/drift_text.h"
#include "engine/model.h"
#include "kernels/threads.h"

namespace whittle {

struct BaselineOptions {
  int64_t top = 0;                       // tokens kept at each position; 0: all
  std::string program;                   // its version
  std::optional<std::string> tokenizer;  // tokenizer_hash; none where ids are given
};

using BaselineProgress = std::function<void(int64_t done, int64_t total)>;  // in windows of all texts

// Bytes of all tensors.
int64_t baseline_bytes(std::span<const DriftText> texts, int64_t vocab_size, int64_t top);

// Throws Error when there is something of this name already.
void check_baseline_path(const std::filesystem::path& path);

// `folder` holds the original weights, which run with float32 activations and a float32 KV cache. The file
// appears complete or not at all; signals that end the program wait until nothing is left of it. Throws Error
// as check_baseline_path and check_windows, and where the disk has less room than the file takes.
void save_baseline(const std::filesystem::path& path, const std::filesystem::path& folder, const Team& team,
                   std::span<const DriftText> texts, const BaselineOptions& options,
                   const BaselineProgress& progress);

}  // namespace whittle
