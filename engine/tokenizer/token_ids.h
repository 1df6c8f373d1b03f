#pragma once
// Token ids that come from outside.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace whittle {

// A JSON array of ids, of any vocabulary. Throws Error that begins with `what` and names the element.
std::vector<int32_t> parse_token_ids(const nlohmann::json& json, const std::string& what);

// Throws Error that begins with `what` and names position and id, unless all are in [0, vocab_size).
void check_token_ids(std::span<const int32_t> ids, int64_t vocab_size, const std::string& what);

}  // namespace whittle
