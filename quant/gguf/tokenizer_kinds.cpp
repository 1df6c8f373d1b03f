#include "quant/gguf/tokenizer_kinds.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "engine/files/json_file.h"
#include "engine/tokenizer/parts.h"
#include "engine/tokenizer/protobuf_reader.h"
#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {

namespace {

using nlohmann::json;
using Type = GgufToken::Type;
using Stages = std::vector<std::string>;

constexpr std::string_view space_mark = "▁";

// How words are cut, by the stages of tokenizer.json's pre_tokenizer: a pattern that isolates, or a name.
struct WordRule {
  std::string_view pre;
  bool ignore_merges;
  Stages stages;
};

const std::vector<WordRule>& word_rules() {
  const std::string three_digits =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const std::string one_digit =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  static const std::vector<WordRule> rules = {
      {"llama-bpe", true, {three_digits, "bytes"}},  // Llama 3
      {"smaug-bpe", false, {three_digits, "bytes"}},
      {"qwen2", false, {one_digit, "bytes"}},
      {"gpt-2", false, {"gpt-2"}},
      {"smollm", false, {"digits", "gpt-2"}},
      {"bloom", false, {R"( ?[^(\s|[.,!?…。，、।۔،])]+)", "bytes"}},
  };
  return rules;
}

// A component of tokenizer.json as a stage of the rules above and below; its own text where they know none
// like it.
std::string stage_of(const JsonFields& part) {
  const std::string type = part.string("type");
  if (type == "Split" && part.string("behavior") == "Isolated" && !part.boolean("invert", false) &&
      part.object("pattern").has("Regex"))
    return part.object("pattern").string("Regex");
  if (type == "ByteLevel" && !part.boolean("add_prefix_space", true))
    return part.boolean("use_regex", true) ? "gpt-2" : "bytes";
  if (type == "Digits" && part.boolean("individual_digits", false)) return "digits";
  if (type == "NFC") return "nfc";
  if (type == "Prepend" && part.string("prepend") == space_mark) return "prefix";
  if (type == "Replace" && part.object("pattern").string("String", "") == " " &&
      part.string("content") == space_mark)
    return "marks";
  if (type == "Metaspace" && part.string("replacement") == space_mark && !part.boolean("split", true)) {
    const bool prefixed = part.boolean("add_prefix_space", true);
    return part.string("prepend_scheme", prefixed ? "always" : "never") == "never" ? "metaspace"
                                                                                   : "prefixed metaspace";
  }
  return part.object().dump();
}

// Normalizer or pre_tokenizer, sequences flattened.
Stages stages_of(const JsonFields& root, const char* field, const char* list) {
  Stages stages;
  const auto visit = [&](const auto& self, const JsonFields& part) -> void {
    if (part.string("type") != "Sequence") return stages.push_back(stage_of(part));
    for (const json& element : part.at(list)) self(self, JsonFields(element, part.what()));
  };
  if (root.has(field)) visit(visit, root.object(field));
  return stages;
}

using Merge = std::pair<std::string, std::string>;

std::vector<Merge> merges_of(const json& model) {
  std::vector<Merge> merges;
  for (const json& merge : model.at("merges")) {
    if (merge.is_array()) {
      merges.emplace_back(merge[0], merge[1]);
    } else {
      const std::string text = merge;
      const size_t space = text.find(' ');
      merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    }
  }
  return merges;
}

std::vector<GgufToken> tokens_of(const Vocabulary& vocabulary) {
  std::vector<GgufToken> tokens;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    const Token* token = vocabulary.token(id);
    if (!token) {
      tokens.push_back({fmt::format("[unused {}]", id), Type::unused, 0});
    } else {
      tokens.push_back({*token->text,
                        !token->added    ? Type::normal
                        : token->special ? Type::control
                                         : Type::user_defined,
                        0});
    }
  }
  return tokens;
}

// GGUF has no words for the rules by which an added token is found.
void check_added_tokens(const JsonFields& root) {
  if (!root.has("added_tokens")) return;
  for (const json& element : root.at("added_tokens")) {
    const JsonFields token(element, root.what() + ": field \"added_tokens\"");
    for (const char* flag : {"single_word", "lstrip", "rstrip"})
      if (token.boolean(flag, false))
        token.reject(flag, "GGUF has no place for it, at " + quote(token.string("content")));
  }
}

GgufTokenizer byte_level(const JsonFields& root, const Stages& stages, std::vector<GgufToken> tokens) {
  const JsonFields model = root.object("model");
  const bool ignore_merges = model.boolean("ignore_merges", false);
  const auto& rules = word_rules();
  const auto rule = std::ranges::find_if(rules, [&](const WordRule& known) {
    return known.stages == stages && known.ignore_merges == ignore_merges;
  });
  if (rule == rules.end())
    root.reject("pre_tokenizer", "GGUF has no name that we know for words cut like this");
  GgufTokenizer tokenizer{"gpt2", std::string(rule->pre), std::move(tokens), {}, false};
  for (const auto& [left, right] : merges_of(model.object())) tokenizer.merges.push_back(left + " " + right);
  return tokenizer;
}

// Readers merge the neighbours whose token has the highest score, whichever they are. That is what a list of
// merges says where it has every way in which two tokens make a third, each token's together.
void score_by_merges(const JsonFields& model, std::vector<GgufToken>& tokens) {
  const std::vector<Merge> merges = merges_of(model.object());
  const std::set<Merge> known(merges.begin(), merges.end());
  std::map<std::string, float, std::less<>> scores;
  std::set<std::string_view> texts;
  for (const auto& [left, right] : merges)
    scores.try_emplace(left + right, -static_cast<float>(scores.size()));
  for (const GgufToken& token : tokens)
    if (token.type == Type::normal) texts.insert(token.text);
  for (GgufToken& token : tokens) {
    if (token.type != Type::normal || token.text.empty()) continue;
    const auto score = scores.find(token.text);
    token.score = score == scores.end() ? -static_cast<float>(scores.size()) : score->second;
    const std::string_view text = token.text;
    for (size_t cut = utf8_length(text[0]); cut < text.size(); cut += utf8_length(text[cut])) {
      const std::string_view left = text.substr(0, cut), right = text.substr(cut);
      if (texts.contains(left) && texts.contains(right) &&
          !known.contains({std::string(left), std::string(right)}))
        model.reject("merges", fmt::format("{} and {} do not merge: GGUF's sentencepiece tokenizer would",
                                           quote(left), quote(right)));
    }
  }
}

GgufTokenizer sentencepiece_style(const JsonFields& root, const Stages& normalizer, const Stages& words,
                                  std::vector<GgufToken> tokens) {
  const JsonFields model = root.object("model");
  const bool marks =
      words.empty() && (normalizer == Stages{"marks"} || normalizer == Stages{"prefix", "marks"});
  const bool metaspace =
      normalizer.empty() && (words == Stages{"metaspace"} || words == Stages{"prefixed metaspace"});
  if (!marks && !metaspace)
    root.reject("normalizer", "GGUF has no name that we know for this and its pre_tokenizer");
  if (!model.boolean("byte_fallback", false))
    model.reject("byte_fallback", "expected true: GGUF's sentencepiece tokenizer has no other way");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = fmt::format("<0x{:02X}>", byte);
    const auto found = std::ranges::find(tokens, text, &GgufToken::text);
    if (found == tokens.end()) model.reject("byte_fallback", "the token " + quote(text) + " is missing");
    found->type = Type::byte;
  }
  if (model.has("unk_token"))
    std::ranges::find(tokens, model.string("unk_token"), &GgufToken::text)->type = Type::unknown;
  score_by_merges(model, tokens);
  const bool prefix = normalizer.size() == 2 || words == Stages{"prefixed metaspace"};
  return {"llama", "default", std::move(tokens), {}, prefix};
}

}  // namespace

void GgufTokenizer::add_unused() {
  tokens.push_back({fmt::format("[unused {}]", tokens.size()), Type::unused, 0});
}

GgufTokenizer gguf_tokenizer_of_json(const std::filesystem::path& file, const Vocabulary& vocabulary) {
  const json content = read_json_file(file, max_tokenizer_bytes);
  const JsonFields root(content, file.string());
  check_added_tokens(root);
  const Stages normalizer = stages_of(root, "normalizer", "normalizers"),
               words = stages_of(root, "pre_tokenizer", "pretokenizers");
  const bool bytes = !words.empty() && (words.back() == "bytes" || words.back() == "gpt-2");
  if (!bytes) return sentencepiece_style(root, normalizer, words, tokens_of(vocabulary));
  // Readers do not compose characters: of a text that is composed already, nothing changes.
  if (!normalizer.empty() && normalizer != Stages{"nfc"})
    root.reject("normalizer", "GGUF has no place for it");
  return byte_level(root, words, tokens_of(vocabulary));
}

GgufTokenizer gguf_tokenizer_of_sentencepiece(const std::filesystem::path& file) {
  enum { pieces = 1, trainer_spec = 2, normalizer_spec = 3 };
  const std::string bytes = read_tokenizer_file(file), name = file.string();
  GgufTokenizer tokenizer{"llama", "default", {}, {}, true};
  uint64_t model_type = 1;  // unigram, where the file says nothing
  ProtobufReader reader(bytes, name);
  while (const uint64_t part = reader.next()) {
    if (part != pieces && part != trainer_spec && part != normalizer_spec) continue;
    GgufToken token;
    ProtobufReader fields(reader.payload(), name);
    while (const uint64_t field = fields.next()) {
      if (part == pieces && field == 1) token.text = fields.payload();
      if (part == pieces && field == 2 && fields.payload().size() == sizeof token.score)
        std::memcpy(&token.score, fields.payload().data(), sizeof token.score);
      if (part == pieces && field == 3) token.type = static_cast<Type>(fields.number());  // the same numbers
      if (part == trainer_spec && field == 3) model_type = fields.number();
      if (part == normalizer_spec && field == 3) tokenizer.add_space_prefix = fields.number() != 0;
    }
    if (part == pieces) tokenizer.tokens.push_back(std::move(token));
  }
  if (model_type != 2) fail("{}: trainer_spec.model_type is {}, expected 2 (BPE)", name, model_type);
  if (std::ranges::count(tokenizer.tokens, Type::byte, &GgufToken::type) != 256)
    fail("{}: expected tokens for all 256 bytes: GGUF's sentencepiece tokenizer needs them", name);
  return tokenizer;
}

}  // namespace whittle
