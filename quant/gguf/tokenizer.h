#pragma once
// A model's tokenizer in GGUF's terms. GGUF names kinds of tokenizers that its readers know, where
// tokenizer.json describes one: what no known name describes is an Error.

#include <filesystem>

#include "engine/model_spec.h"
#include "quant/gguf/writer.h"

namespace whittle {

// The keys "tokenizer.…" for the tokenizer of `folder`, "tokenizer.ggml.model" first:
//   "gpt2"      tokenizer.json with byte-level BPE; "tokenizer.ggml.pre" says how words are cut
//   "llama"     tokenizer.json with sentencepiece-style BPE, or tokenizer.model with a BPE model
//   "no_vocab"  no tokenizer in the folder: ids only
// Ids up to spec.vocab_size that are no token are filled up with unused ones.
GgufMetadata tokenizer_metadata(const std::filesystem::path& folder, const ModelSpec& spec);

}  // namespace whittle
