#pragma once
// What a gate's figures are of: everything that must be the same before and now for them to be compared, and
// what may have changed and is said.

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/regression/check.h"
#include "bench/windows.h"
#include "engine/files/json_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/kv_format.h"

namespace whittle {

struct GateInputs {
  // Must be the same.
  std::string text_hash, baseline_hash;  // of the text as far as it is used; of the baseline's weights
  int64_t context = 0, characters = 0;   // characters 0: the whole text
  std::string protocol;
  int64_t vocab_size = 0;
  std::string windows_hash;  // of all ids: the tokenizer at work
  std::map<std::string, int32_t> special_tokens;
  std::optional<std::vector<int32_t>> eos_token_ids;  // which end an answer; not in files of earlier builds

  // May differ, and is said.
  std::string model_hash, tokenizer_hash;
  KvFormat kv_cache = KvFormat::f16;
  std::string program, cpu, isa;
  int threads = 0;

  // Where they were: relative to the file that this is stored in.
  std::filesystem::path model, baseline, text;
};

nlohmann::json gate_inputs_json(const GateInputs& inputs);
// Throws Error that names the field.
GateInputs read_inputs(const JsonFields& fields);

// One check each for the inputs that matter and differ, not comparable; a tokenizer that gives other ids is a
// regression. None where all is well.
std::vector<Check> check_inputs(const GateInputs& before, const GateInputs& now);

}  // namespace whittle
