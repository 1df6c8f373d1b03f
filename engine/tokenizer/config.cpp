#include <fstream>

#include "engine/files/lfs_pointer.h"
#include "engine/tokenizer/parts.h"
#include "kernels/error.h"

namespace whittle {

TokenizerConfig TokenizerConfig::read(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer_config.json";
  TokenizerConfig config{.file = file.string()};
  if (std::filesystem::exists(file)) config.content = read_json_file(file, max_tokenizer_bytes);
  JsonFields(config.content, config.file);  // throws unless it is an object
  return config;
}

std::optional<std::string> TokenizerConfig::special_token(const char* field) const {
  const JsonFields fields(content, file);
  if (!fields.has(field)) return std::nullopt;
  if (fields.at(field).is_object()) return fields.object(field).string("content");
  return fields.string(field);
}

void TokenizerConfig::add_bos_and_eos(bool add_bos_by_default, std::optional<int32_t> bos,
                                      std::optional<int32_t> eos, TokenizerParts& parts) const {
  const JsonFields fields(content, file);
  const auto add = [&](const char* flag, bool by_default, const char* name, std::optional<int32_t> id,
                       std::vector<int32_t>& ids) {
    if (!fields.boolean(flag, by_default)) return;
    if (const auto text = special_token(name)) {
      id = parts.vocabulary->find(*text);
      if (!id) fields.reject(name, quote(*text) + " is not in the vocabulary");
    }
    if (id) {
      ids.push_back(*id);
    } else if (fields.has(flag)) {
      fields.reject(flag, fmt::format("true, but there is no {}", name));
    }
  };
  add("add_bos_token", add_bos_by_default, "bos_token", bos, parts.before);
  add("add_eos_token", false, "eos_token", eos, parts.after);
}

std::string read_tokenizer_file(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error) fail("{}: {}", file.string(), error.message());
  if (size > max_tokenizer_bytes)
    fail("{}: {} bytes, expected at most {}", file.string(), size, max_tokenizer_bytes);
  std::string bytes(size, '\0');
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(bytes.data(), static_cast<std::streamsize>(size))) fail("{}: cannot read", file.string());
  refuse_lfs_pointer(bytes, file);
  return bytes;
}

}  // namespace whittle
