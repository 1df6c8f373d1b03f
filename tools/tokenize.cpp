#include <iostream>

#include "engine/files/json_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/error.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct TokenizeOptions {
  std::string model, text, file;
  bool no_special = false, decode = false;
};

std::vector<int32_t> ids_of(const nlohmann::json& json, const Tokenizer& tokenizer) {
  if (!json.is_array()) fail("--decode: expected a JSON array of token ids");
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : json) {
    if (!id.is_number_integer() || id < 0 || id >= tokenizer.vocab_size())
      fail("--decode: expected token ids below {}, found {}", tokenizer.vocab_size(), id.dump());
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// Ids that stand on the command line itself are a flag's value: wrong ones are wrong usage.
std::string decode(const TokenizeOptions& options, const Tokenizer& tokenizer, const std::string& input) {
  try {
    return tokenizer.decode(ids_of(parse_json(input, "--decode"), tokenizer), !options.no_special);
  } catch (const Error& error) {
    if (!options.file.empty()) throw;
    throw CLI::ValidationError(error.what());
  }
}

void run(const TokenizeOptions& options) {
  const Tokenizer tokenizer = Tokenizer::open(options.model);
  const std::string input = options.file.empty() ? options.text : read_text(options.file);
  if (options.decode)
    std::cout << decode(options, tokenizer, input) << '\n';
  else
    std::cout << nlohmann::json(tokenizer.encode(input, !options.no_special)).dump() << '\n';
}

}  // namespace

void add_tokenize(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("tokenize", "Text to token ids, as one JSON array; --decode: the other way");
  static TokenizeOptions options;
  command->add_option("MODEL", options.model, "Folder that holds the tokenizer")
      ->required()
      ->check(not_empty());
  CLI::Option_group* input = command->add_option_group("Input", "One of");
  input->add_option("--text", options.text, "Text, or with --decode a JSON array of ids");
  input->add_option("--file", options.file, "A file that holds it; -: standard input")
      ->type_name("FILE")
      ->check(not_empty());
  input->require_option(1);
  command->add_flag("--no-special", options.no_special,
                    "Without BOS and EOS; with --decode: leave special tokens out");
  command->add_flag("--decode", options.decode, "Ids to text");
  command->footer(
      "Examples:\n"
      "  whittle tokenize llama --text 'Once upon a time'\n"
      "  whittle tokenize llama --decode --text '[1, 9038, 2501]'");
  command->callback([] { run(options); });
}

}  // namespace whittle
