#include "engine/tokenizer/token_ids.h"

#include <limits>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

std::vector<int32_t> parse_token_ids(const nlohmann::json& json, const std::string& what) {
  if (!json.is_array()) fail("{}: expected a JSON array of token ids, found {}", what, json.type_name());
  std::vector<int32_t> ids;
  for (size_t i = 0; i < json.size(); ++i) {
    const nlohmann::json& id = json[i];
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max())
      fail("{}: element {}: expected a token id, found {}", what, i, json_text(id));
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void check_token_ids(std::span<const int32_t> ids, int64_t vocab_size, const std::string& what) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= vocab_size)
      fail("{}: position {}: token id {} is outside the model's vocabulary (vocab_size {})", what, i, ids[i],
           vocab_size);
}

}  // namespace whittle
