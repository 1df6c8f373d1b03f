#pragma once
// Flags that several subcommands share, and what is wrong with a flag.

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "kernels/kernel_table.h"
#include "kernels/option_error.h"

namespace whittle {

// zero: what that stands for.
void add_threads(CLI::App& command, int& threads, const std::string& zero = "one per physical core");
void add_json(CLI::App& command, std::string& path);
void add_characters(CLI::App& command, int64_t& count);
void add_kv_cache(CLI::App& command, KvFormat& format);
// Unset where the flag is not given.
void add_optional_kv_cache(CLI::App& command, std::optional<KvFormat>& format);

// Checks of values, for CLI::Option::check. A wrong value is wrong usage, exit code 2.
CLI::Validator not_empty();  // "" is what a shell makes of a variable that is not set
// Bytes such as 700M or 1.5G, of 1024 K each, and at least `low`; for CLI::Option::transform.
CLI::Validator size_in_bytes(int64_t low);
CLI::Validator number(double low, double high, const std::string& expected);  // finite, low to high

// Throws where one of `flags` was given although `why`: it would have no effect.
void refuse_void(const CLI::App& command, std::initializer_list<const char*> flags, const std::string& why);

// Throws unless each report that was asked for can be written, and to a file of its own; "": not asked for.
void check_outputs(std::initializer_list<std::pair<const char*, std::string>> flags_and_paths);

// Throws Error when the baseline's weights are not the original ones.
void check_baseline(const std::string& folder);

// Whether both name one file, existing or not.
bool same_path(const std::string& a, const std::string& b);

// A JSON file, or standard input where `path` is "-".
nlohmann::json read_json(const std::string& path, int64_t max_bytes);

// The word nearest to a mistyped one, or "" where none is near: a few letters differ, or it is cut short.
std::string nearest(const std::string& word, const std::vector<std::string>& words);
// What is wrong with a command line, in the program's words; names what is not known and what is nearest.
std::string usage_error(const CLI::App& app, const CLI::Error& error);
// A library's message about one of its options, which names the flag where the command has one for it.
std::string flag_error(const CLI::App& app, const OptionError& error);

}  // namespace whittle
