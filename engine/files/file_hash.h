#pragma once
// XXH3 of 128 bits (xxhash.com) as 32 hexadecimal digits, high half first, as `xxhsum -H128` prints it: tells
// apart files and texts that differ by accident. Whoever wants to can make two that have the same.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace whittle {

class ModelFile;

std::string hash_of(std::span<const std::byte> bytes);
std::string hash_of(std::string_view text);

// Of a file's bytes. Throws Error that names it, also where it is written to meanwhile.
std::string hash_of_file(const std::filesystem::path& path);

// Of all weight files of a model, in the order of their names: the name, the size and the bytes of each. Not
// of config.json or the tokenizer. Throws Error where one is written to meanwhile.
std::string hash_of_weights(const ModelFile& model);

}  // namespace whittle
