// tokenizer.model, through libsentencepiece.

#include <sentencepiece_processor.h>

#include <exception>

#include "engine/tokenizer/parts.h"
#include "engine/tokenizer/protobuf_reader.h"
#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {

namespace {

// The settings that change how pieces become text again. The library does not show them, so they are read
// from the file itself, a protocol buffer.
struct Settings {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

Settings read_settings(std::string_view bytes, const std::string& file) {
  enum { trainer_spec = 2, normalizer_spec = 3, denormalizer_spec = 5 };
  enum { precompiled_charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4 };
  enum { treat_whitespace_as_suffix = 24 };
  Settings settings;
  ProtobufReader model(bytes, file);
  while (const uint64_t part = model.next()) {
    if (part != trainer_spec && part != normalizer_spec && part != denormalizer_spec) continue;
    ProtobufReader spec(model.payload(), file);
    while (const uint64_t field = spec.next()) {
      if (part == trainer_spec) {
        if (field == treat_whitespace_as_suffix && spec.number()) {
          fail("{}: trainer_spec.treat_whitespace_as_suffix is not supported", file);
        }
      } else if (field == precompiled_charsmap && !spec.payload().empty()) {
        // The library follows offsets in this table without a check: it stays out of strangers' reach.
        fail("{}: {}.precompiled_charsmap is not supported", file,
             part == normalizer_spec ? "normalizer_spec" : "denormalizer_spec");
      } else if (part == normalizer_spec && field == add_dummy_prefix) {
        settings.add_dummy_prefix = spec.number() != 0;
      } else if (part == normalizer_spec && field == remove_extra_whitespaces) {
        settings.remove_extra_whitespaces = spec.number() != 0;
      }
    }
  }
  return settings;
}

class SentencePieceEncoder : public TextEncoder {
 public:
  SentencePieceEncoder(std::string_view bytes, std::string file) : file_(std::move(file)) {
    try {
      check(processor_.LoadFromSerializedProto(bytes));
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {  // of the trie that it builds from the pieces
      fail("{}: {}", file_, error.what());
    }
  }

  const sentencepiece::SentencePieceProcessor& processor() const { return processor_; }

  void encode(std::string_view text, std::vector<int32_t>& ids) const override {
    std::vector<int> found;
    check(processor_.Encode(text, &found));
    ids.insert(ids.end(), found.begin(), found.end());
  }

 private:
  void check(const sentencepiece::util::Status& status) const {
    if (!status.ok()) fail("{}: {}", file_, status.ToString());
  }

  std::string file_;
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

TokenizerParts read_sentencepiece_model(const std::filesystem::path& file, const TokenizerConfig& config) {
  const std::string bytes = read_tokenizer_file(file);
  const Settings settings = read_settings(bytes, file.string());
  auto encoder = std::make_unique<SentencePieceEncoder>(bytes, file.string());
  const auto& processor = encoder->processor();

  auto vocabulary = std::make_shared<Vocabulary>();
  for (int id = 0; id < processor.GetPieceSize(); id++) {
    const std::string& piece = processor.IdToPiece(id);
    if (!is_valid_utf8(piece)) fail("{}: piece {} is not UTF-8", file.string(), id);
    vocabulary->add(piece, id, file.string());
    if (processor.IsControl(id)) vocabulary->mark_added(piece, id, true, file.string());
  }
  const TokenDecoder::SentencePieceRules rules{
      .unknown = processor.IdToPiece(processor.unk_id()),
      .unknown_surface = processor.DecodeIds({processor.unk_id()}),
      .strips_first_space = settings.add_dummy_prefix || settings.remove_extra_whitespaces,
      .strips_all_leading_spaces = settings.remove_extra_whitespaces};
  if (!is_valid_utf8(rules.unknown_surface)) fail("{}: trainer_spec.unk_surface is not UTF-8", file.string());
  const auto valid = [](int id) { return id >= 0 ? std::optional<int32_t>(id) : std::nullopt; };
  TokenizerParts parts{.vocabulary = vocabulary,
                       .encoder = {},
                       .decoder = TokenDecoder::sentencepiece(rules),
                       .before = {},
                       .after = {}};
  config.add_bos_and_eos(true, valid(processor.bos_id()), valid(processor.eos_id()), parts);
  parts.encoder = std::move(encoder);
  return parts;
}

}  // namespace whittle
