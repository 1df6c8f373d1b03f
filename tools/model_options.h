#pragma once
// What every command that opens a model shares.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/files/json_file.h"
#include "engine/files/model_file.h"
#include "engine/files/open_options.h"
#include "engine/model_spec.h"

namespace whittle {

inline void add_allow_field(CLI::App& command) {
  command
      .add_option_function<std::vector<std::string>>(
          "--allow-field",
          [](const std::vector<std::string>& names) { std::ranges::for_each(names, allow_field); },
          "Trust that this unknown field of config.json changes nothing; may be repeated")
      ->type_name("NAME")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

inline void add_float_inputs(CLI::App& command) {
  command.add_flag_callback(
      "--float-inputs", keep_float_inputs,
      "Where a file rounds weights alone, keep inputs float32 as it asks, and its weights, "
      "decoded; else inputs are rounded to int8");
}

inline void add_sparse(CLI::App& command) {
  command
      .add_option_function<std::string>(
          "--sparse", [](const std::string& name) { use_sparse(*sparse_use_named(name)); },
          "Pack weights that are mostly zeros without these: where a probe finds that faster, or as asked "
          "(default: auto)")
      ->type_name("auto|never|always")
      ->check(CLI::IsMember({"auto", "never", "always"}).description(""));
}

// All of them: how a command that runs models opens them.
inline void add_opening_flags(CLI::App& command) {
  add_allow_field(command);
  add_float_inputs(command);
  add_sparse(command);
}

// Says on standard error what is done otherwise than the model's files ask.
inline void print_notes(const std::filesystem::path& model) {
  for (const std::string& note : ModelFile(model).notes())
    fmt::print(stderr, "whittle: {}\n", printable(note));
}

// Says so where a model is run with up to `context` tokens and was made for fewer. (Tables of positions end
// there: such a model refuses what comes after.)
inline void note_context(const std::filesystem::path& model, int64_t context) {
  const ModelSpec spec = read_model_spec(ModelFile(model));
  if (context > spec.max_position_embeddings && spec.positions != Positions::learned)
    fmt::print(stderr, "whittle: {}: up to {} tokens of context, and max_position_embeddings is {}\n",
               printable(model.string()), context, spec.max_position_embeddings);
}

}  // namespace whittle
