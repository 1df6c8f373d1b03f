#pragma once
// What benchmark programs write, read for the figures in it.

#include <optional>
#include <string>

namespace whittle {

// Tokens a second.
struct PeerSpeed {
  std::optional<double> prefill;  // where one prompt alone was measured
  double decode = 0;              // of all sequences together
};

// Lines of a log may stand before and after the figures. All throw Error where there are none.
PeerSpeed read_llama_bench(const std::string& text);    // an array of JSON rows
PeerSpeed read_batched_bench(const std::string& text);  // a Markdown table of one row
PeerSpeed read_whittle_bench(const std::string& text);  // the JSON of `whittle bench` with one model
// The JSON object that the last line beginning with { begins: "decode_tokens_per_s", and unless it is null or
// absent "prefill_tokens_per_s", both finite and above 0.
PeerSpeed read_any_program(const std::string& text);

}  // namespace whittle
