// tokenizer.json of Hugging Face, with a model of type BPE.

#include <algorithm>
#include <utility>

#include "engine/tokenizer/bpe_encoder.h"
#include "engine/tokenizer/fields.h"
#include "engine/tokenizer/parts.h"
#include "kernels/error.h"

namespace whittle {

namespace {

using nlohmann::json;

void add_vocabulary(const JsonFields& model, Vocabulary& vocabulary) {
  const JsonFields vocab = model.object("vocab");
  vocabulary.reserve(vocab.object().size());
  for (const auto& [text, id] : vocab.object().items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX)) {
      fail("{}: token {}: expected an id, found {}", vocab.what(), quote(text), json_text(id));
    }
    vocabulary.add(text, id.get<int64_t>(), vocab.what());
  }
}

std::vector<AddedToken> add_added_tokens(const JsonFields& root, Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  if (!root.has("added_tokens")) return tokens;
  for_each_object(root, "added_tokens", [&](const JsonFields& fields) {
    AddedToken token = parse_added_token(fields, fields.integer("id", 0, Vocabulary::max_size - 1));
    vocabulary.mark_added(token.content, token.id, token.special, fields.what());
    tokens.push_back(std::move(token));
  });
  return tokens;
}

// A merge is "left right", or ["left", "right"] where tokens may hold spaces.
std::pair<std::string_view, std::string_view> parse_merge(const json& merge, const std::string& where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  fail("{}: expected two tokens with a space between or an array of two, found {}", where, json_text(merge));
}

Bpe parse_model(const JsonFields& model, std::shared_ptr<const Vocabulary> vocabulary, bool byte_level) {
  allow_fields(model, {"type", "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix",
                       "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"});
  if (model.has("dropout") && model.at("dropout") != 0.0) model.reject("dropout", "is not supported");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.string(affix, "").empty()) model.reject(affix, "is not supported");
  }
  Bpe::Options options{.byte_level = byte_level,
                       .byte_fallback = model.boolean("byte_fallback", false),
                       .fuse_unknown = model.boolean("fuse_unk", false),
                       .ignore_merges = model.boolean("ignore_merges", false),
                       .unknown = {}};
  if (model.has("unk_token")) {
    options.unknown = vocabulary->find(model.string("unk_token"));
    if (!options.unknown)
      model.reject("unk_token", quote(model.string("unk_token")) + " is not in the vocabulary");
  }
  Bpe bpe(std::move(vocabulary), options);
  const json& merges = model.at("merges");
  if (!merges.is_array()) model.reject("merges", "expected an array, found " + json_text(merges));
  const std::string where = model.what() + ": field \"merges\"";
  for (const json& merge : merges) {
    const auto [left, right] = parse_merge(merge, where);
    bpe.add_merge(left, right, where);
  }
  return bpe;
}

// What stands before and after the text in `single`, a list of special tokens and sequence A.
void parse_template(const JsonFields& fields, TokenizerParts& parts) {
  allow_fields(fields, {"type", "single", "pair", "special_tokens"});
  bool seen_text = false;
  for_each_object(fields, "single", [&](const JsonFields& item) {
    allow_fields(item, {"Sequence", "SpecialToken"});
    if (item.has("Sequence") == item.has("SpecialToken"))
      item.reject("Sequence", "expected this or \"SpecialToken\"");
    if (item.has("Sequence")) {
      const JsonFields sequence = item.object("Sequence");
      if (sequence.string("id") != "A")
        sequence.reject("id", "expected \"A\", found " + json_text(sequence.at("id")));
      if (std::exchange(seen_text, true)) item.reject("Sequence", "appears twice");
      return;
    }
    const JsonFields special =
        fields.object("special_tokens").object(item.object("SpecialToken").string("id").c_str());
    const json& ids = special.at("ids");
    if (!ids.is_array()) special.reject("ids", "expected an array, found " + json_text(ids));
    for (const json& id : ids) {
      const bool fits =
          id.is_number_integer() && (!id.is_number_unsigned() || id.get<uint64_t>() <= INT32_MAX);
      if (!fits || !parts.vocabulary->token(id.get<int64_t>())) {
        special.reject("ids", "expected ids of tokens, found " + json_text(id));
      }
      (seen_text ? parts.after : parts.before).push_back(id.get<int32_t>());
    }
  });
  if (!seen_text) fields.reject("single", "expected a \"Sequence\" with id \"A\"");
}

// Whether the ids around a text are given.
bool parse_postprocessor(const JsonFields& fields, TokenizerParts& parts) {
  const std::string type = fields.string("type");
  bool found = false;
  if (type == "TemplateProcessing") {
    parse_template(fields, parts);
    found = true;
  } else if (type == "Sequence") {
    allow_fields(fields, {"type", "processors"});
    for_each_object(fields, "processors", [&](const JsonFields& element) {
      const bool here = parse_postprocessor(element, parts);
      if (found && here) element.reject("type", "a second template is not supported");
      found = found || here;
    });
  } else if (type == "ByteLevel") {
    allow_fields(fields, {"type", "add_prefix_space", "trim_offsets", "use_regex"});  // about offsets only
  } else {
    reject_type(fields, type);
  }
  return found;
}

}  // namespace

TokenizerParts read_tokenizer_json(const std::filesystem::path& file, const TokenizerConfig& config) {
  const json content = read_json_file(file, max_tokenizer_bytes);
  const JsonFields root(content, file.string());
  // Truncation and padding are left over from training: libraries turn them off to encode a text.
  allow_fields(root, {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                      "model", "post_processor", "decoder"});
  if (root.string("version", "1.0") != "1.0")
    root.reject("version", "expected \"1.0\", found " + json_text(root.at("version")));
  const JsonFields model = root.object("model");
  // Files from before 0.20 may leave the type out.
  if (model.string("type", "BPE") != "BPE") reject_type(model, model.string("type"));

  auto vocabulary = std::make_shared<Vocabulary>();
  add_vocabulary(model, *vocabulary);
  std::vector<AddedToken> added = add_added_tokens(root, *vocabulary);

  Normalizer normalizer;
  if (root.has("normalizer")) normalizer = Normalizer(root.object("normalizer"));
  PreTokenizer pretokenizer;
  if (root.has("pre_tokenizer")) pretokenizer = PreTokenizer(root.object("pre_tokenizer"));
  Bpe bpe = parse_model(model, vocabulary, pretokenizer.byte_level());

  TokenizerParts parts{.vocabulary = vocabulary, .encoder = {}, .decoder = {}, .before = {}, .after = {}};
  parts.encoder = std::make_unique<BpeEncoder>(std::move(added), std::move(normalizer),
                                               std::move(pretokenizer), std::move(bpe));
  if (root.has("decoder")) parts.decoder = TokenDecoder(root.object("decoder"));
  if (!root.has("post_processor") || !parse_postprocessor(root.object("post_processor"), parts)) {
    config.add_bos_and_eos(false, {}, {}, parts);
  }
  return parts;
}

}  // namespace whittle
