#include "bench/windows.h"

#include <algorithm>
#include <span>

#include "engine/files/file_hash.h"
#include "engine/files/json_file.h"
#include "engine/tokenizer/token_ids.h"
#include "kernels/option_error.h"

namespace whittle {

namespace {

using Start = Protocol::Start;

constexpr Protocol table[] = {
    {"windows", "BOS before each piece of the text, every token scored", Start::every_window, false, false,
     512},
    {"llama.cpp", "as llama.cpp's perplexity tool: the second half of each", Start::replaced, true, false,
     512},
    {"gptq", "as the papers on GPTQ, SparseGPT and AWQ", Start::text, false, false, 2048},
    {"strided", "overlapping, as Hugging Face's page on perplexity", Start::text, false, true, 1024},
};

Windows overlapping_windows(const std::vector<int32_t>& ids, int64_t context, int64_t stride) {
  Windows windows;
  const int64_t size = std::ssize(ids);
  for (int64_t begin = 0, scored = 0; scored < size; begin += stride) {
    const int64_t end = std::min(begin + context, size);
    windows.ids.emplace_back(ids.begin() + begin, ids.begin() + end);
    windows.seen.push_back(scored - begin);
    scored = end;
  }
  return windows;
}

}  // namespace

int64_t Windows::first_scored_of(size_t window) const {
  return seen.empty() ? first_scored : std::max(first_scored, seen[window]);
}

std::span<const Protocol> protocols() { return table; }

const Protocol& protocol_named(std::string_view name) {
  const auto found = std::ranges::find(table, name, &Protocol::name);
  if (found != std::end(table)) return *found;
  std::vector<std::string_view> names;
  for (const Protocol& protocol : table) names.push_back(protocol.name);
  fail_option("protocol", "expected one of {}, found {}", fmt::join(names, ", "), quote(name));
}

int64_t default_stride(int64_t context) { return context > 512 ? 512 : std::max<int64_t>(context / 2, 1); }

std::string first_characters(const std::string& text, int64_t count) {
  size_t at = 0;
  for (; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xc0u) != 0x80u && count-- == 0) break;
  return text.substr(0, at);
}

Windows text_windows(const Tokenizer& tokenizer, std::string_view text, int64_t context,
                     std::string_view protocol_name, int64_t stride) {
  const Protocol& protocol = protocol_named(protocol_name);
  const int64_t least = protocol.second_half ? 3 : 2;
  if (context < least) fail_option("context", "expected at least {}, found {}", least, context);
  if (stride == 0) stride = default_stride(context);
  if (protocol.overlaps && (stride < 1 || stride >= context))
    fail_option("stride", "expected 1 to {}, less than a window of {}, found {}", context - 1, context,
                stride);
  std::vector<int32_t> ids = tokenizer.encode(text, protocol.start == Start::text);
  if (protocol.overlaps) {
    if (ids.size() < 2) fail_option("text", "{} tokens; at least 2 are needed", ids.size());
    Windows windows = overlapping_windows(ids, context, stride);
    windows.context = context;
    windows.protocol = fmt::format("{} by {}", protocol.name, stride);
    return windows;
  }
  const std::optional<int32_t> bos = tokenizer.bos_token_id();
  const bool before = bos && protocol.start == Start::every_window,
             instead = bos && protocol.start == Start::replaced;
  const bool missing = !bos && protocol.start != Start::text;
  Windows windows;
  windows.context = context;
  windows.first_scored = protocol.second_half ? context / 2 + 1 : 1;
  windows.protocol = std::string(protocol.name) + (missing ? " without BOS" : "");
  if (instead) ids.insert(ids.begin(), *bos);
  const int64_t fresh = before ? context - 1 : context;  // tokens of the text in a window
  for (auto at = ids.begin(); ids.end() - at >= fresh; at += fresh) {
    std::vector<int32_t>& window = windows.ids.emplace_back(at, at + fresh);
    if (before) window.insert(window.begin(), *bos);
    if (instead) window.front() = *bos;
  }
  if (windows.ids.empty())
    fail_option("text", "{} tokens are fewer than one window of {}; choose a shorter context", ids.size(),
                fresh);
  return windows;
}

Windows token_windows(const nlohmann::json& json, const std::string& what) {
  Windows windows;
  windows.protocol = "token ids";
  if (!json.is_array() || json.empty()) fail("{}: expected a JSON array of windows", what);
  for (size_t w = 0; w < json.size(); ++w) {
    windows.ids.push_back(parse_token_ids(json[w], fmt::format("{}: window {}", what, w)));
    if (windows.ids.back().size() < 2)
      fail("{}: window {}: expected at least two ids, found {}", what, w, windows.ids.back().size());
    windows.context = std::max(windows.context, std::ssize(windows.ids.back()));
  }
  return windows;
}

std::string hash_of_windows(const std::vector<std::vector<int32_t>>& windows) {
  ContentHash hash;
  for (const std::vector<int32_t>& window : windows) {
    const int64_t length = std::ssize(window);
    hash.add(std::as_bytes(std::span(&length, 1)));
    hash.add(std::as_bytes(std::span(window)));
  }
  return hash.hex();
}

int64_t tokens_of(const std::vector<std::vector<int32_t>>& windows) {
  int64_t count = 0;
  for (const std::vector<int32_t>& window : windows) count += std::ssize(window);
  return count;
}

int64_t bytes_scored(const Windows& windows, const Tokenizer& tokenizer) {
  int64_t bytes = 0;
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    const auto first = static_cast<size_t>(windows.first_scored_of(w));
    bytes += std::ssize(tokenizer.decode(std::span(windows.ids[w]).subspan(first), true));
  }
  return bytes;
}

void check_windows(const Windows& windows, int64_t vocab_size) {
  if (windows.ids.empty()) fail("no windows to measure drift on");
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    const std::vector<int32_t>& ids = windows.ids[w];
    if (windows.scored(w) < 1)
      fail("window {}: {} tokens, of which none is scored: expected more than {}", w, ids.size(),
           windows.first_scored_of(w));
    check_token_ids(ids, vocab_size, fmt::format("window {}", w));
  }
}

}  // namespace whittle
