#include "bench/regression/gate_inputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>

#include "engine/files/json_record.h"
#include "engine/kv_cache.h"

namespace whittle {
namespace {

struct TextField {
  const char* key;
  std::string GateInputs::*value;
  const char* must_be_the_same;  // what it is of, in words; nullptr: may differ
};
constexpr std::array<TextField, 9> texts = {{
    {"text_hash", &GateInputs::text_hash, "the text is another one than"},
    {"baseline_hash", &GateInputs::baseline_hash, "the baseline's weights are not those of"},
    {"protocol", &GateInputs::protocol, "the protocol of windows is another one than"},
    {"windows_hash", &GateInputs::windows_hash, nullptr},
    {"model_hash", &GateInputs::model_hash, nullptr},
    {"tokenizer_hash", &GateInputs::tokenizer_hash, nullptr},
    {"program", &GateInputs::program, nullptr},
    {"cpu", &GateInputs::cpu, nullptr},
    {"isa", &GateInputs::isa, nullptr},
}};

struct CountField {
  const char* key;
  int64_t GateInputs::*value;
  int64_t least;
  const char* must_be_the_same;
};
constexpr std::array<CountField, 3> counts = {{
    {"context", &GateInputs::context, 2, "the context is another one than"},
    {"characters", &GateInputs::characters, 0, "another length of the text was used than"},
    {"vocab_size", &GateInputs::vocab_size, 1, "the vocabulary has another size than"},
}};

constexpr RecordField<GateInputs, std::filesystem::path> paths[] = {
    {"model", &GateInputs::model}, {"baseline", &GateInputs::baseline}, {"text", &GateInputs::text}};

Check incomparable(const char* words, const std::string& before, const std::string& now) {
  Check check{.name = "inputs", .outcome = Outcome::incomparable};
  check.reason = fmt::format("{} the stored one ({} before, {} now)", words, before, now);
  return check;
}

// The first special token that is another one now, in words; empty where all are the same.
std::string changed_token(const GateInputs& before, const GateInputs& now) {
  for (const auto& [token, id] : before.special_tokens) {
    const auto found = now.special_tokens.find(token);
    if (found == now.special_tokens.end()) return fmt::format("special token {} is gone", quote(token));
    if (found->second != id)
      return fmt::format("special token {} was {} and is {}", quote(token), id, found->second);
  }
  for (const auto& [token, id] : now.special_tokens)
    if (!before.special_tokens.contains(token))
      return fmt::format("special token {} ({}) is new", quote(token), id);
  if (before.eos_token_ids && now.eos_token_ids && *before.eos_token_ids != *now.eos_token_ids)
    return fmt::format("an answer ended at token {}, and ends at {}", fmt::join(*before.eos_token_ids, ", "),
                       fmt::join(*now.eos_token_ids, ", "));
  return "";
}

}  // namespace

nlohmann::json gate_inputs_json(const GateInputs& inputs) {
  nlohmann::json json = {{"kv_cache", name(inputs.kv_cache)},
                         {"threads", inputs.threads},
                         {"special_tokens", inputs.special_tokens}};
  if (inputs.eos_token_ids) json["eos_token_ids"] = *inputs.eos_token_ids;
  for (const TextField& field : texts) json[field.key] = inputs.*field.value;
  for (const CountField& field : counts) json[field.key] = inputs.*field.value;
  for (const auto& [key, path] : paths) json[key] = (inputs.*path).string();
  return json;
}

GateInputs read_inputs(const JsonFields& fields) {
  GateInputs inputs;
  for (const TextField& field : texts) inputs.*field.value = fields.string(field.key);
  for (const CountField& field : counts)
    inputs.*field.value = fields.integer(field.key, field.least, int64_t{1} << 40);
  for (const auto& [key, path] : paths) inputs.*path = fields.string(key);
  inputs.threads = static_cast<int>(fields.integer("threads", 1, 1024));  // as a team has them at most
  const std::string kv_cache = fields.string("kv_cache");
  const std::optional<KvFormat> format = kv_format_named(kv_cache);
  if (!format) fields.reject("kv_cache", "no such format: " + quote(kv_cache));
  inputs.kv_cache = *format;
  const JsonFields tokens = fields.object("special_tokens");
  for (const auto& [token, id] : tokens.object().items())
    inputs.special_tokens[token] =
        static_cast<int32_t>(tokens.integer(token.c_str(), 0, std::numeric_limits<int32_t>::max()));
  if (fields.has("eos_token_ids")) {
    const nlohmann::json& ids = fields.at("eos_token_ids");
    const auto is_id = [](const nlohmann::json& id) {
      return id.is_number_unsigned() && id.get<uint64_t>() <= std::numeric_limits<int32_t>::max();
    };
    if (!ids.is_array() || !std::ranges::all_of(ids, is_id))
      fields.reject("eos_token_ids", "expected an array of token ids");
    inputs.eos_token_ids = ids.get<std::vector<int32_t>>();
  }
  return inputs;
}

std::vector<Check> check_inputs(const GateInputs& before, const GateInputs& now) {
  std::vector<Check> checks;
  for (const TextField& field : texts)
    if (field.must_be_the_same && before.*field.value != now.*field.value)
      checks.push_back(
          incomparable(field.must_be_the_same, quote(before.*field.value), quote(now.*field.value)));
  for (const CountField& field : counts)
    if (before.*field.value != now.*field.value)
      checks.push_back(incomparable(field.must_be_the_same, std::to_string(before.*field.value),
                                    std::to_string(now.*field.value)));
  if (!checks.empty()) return checks;
  Check tokenizer{.name = "tokenizer", .outcome = Outcome::regression};
  tokenizer.reason = changed_token(before, now);
  if (tokenizer.reason.empty() && before.windows_hash != now.windows_hash)
    tokenizer.reason = "the text gives other token ids than before";
  if (!tokenizer.reason.empty()) return {tokenizer};
  if (before.tokenizer_hash != now.tokenizer_hash) {
    tokenizer.outcome = Outcome::pass;
    tokenizer.reason = "its files changed, the token ids of the text did not";
    checks.push_back(tokenizer);
  }
  return checks;
}

}  // namespace whittle
