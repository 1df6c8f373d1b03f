#include "bench/windows.h"

#include <algorithm>
#include <span>

#include "engine/files/file_hash.h"
#include "engine/files/json_file.h"
#include "engine/tokenizer/token_ids.h"
#include "kernels/option_error.h"

namespace whittle {

std::string first_characters(const std::string& text, int64_t count) {
  size_t at = 0;
  for (; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xc0u) != 0x80u && count-- == 0) break;
  return text.substr(0, at);
}

std::vector<std::string> protocol_names() { return {"windows", "llama.cpp"}; }

Windows text_windows(const Tokenizer& tokenizer, std::string_view text, int64_t context,
                     std::string_view protocol) {
  const bool llama_cpp = protocol == "llama.cpp";
  if (!llama_cpp && protocol != "windows")
    fail_option("protocol", "expected windows or llama.cpp, found {}", quote(protocol));
  const int64_t least = llama_cpp ? 3 : 2;
  if (context < least) fail_option("context", "expected at least {}, found {}", least, context);
  const std::optional<int32_t> bos = tokenizer.bos_token_id();
  std::vector<int32_t> ids = tokenizer.encode(text, false);
  Windows windows;
  windows.context = context;
  windows.first_scored = llama_cpp ? context / 2 + 1 : 1;
  windows.protocol = std::string(protocol) + (bos ? "" : " without BOS");
  if (bos && llama_cpp) ids.insert(ids.begin(), *bos);
  const int64_t fresh = bos && !llama_cpp ? context - 1 : context;  // tokens of the text in a window
  for (auto at = ids.begin(); ids.end() - at >= fresh; at += fresh) {
    std::vector<int32_t>& window = windows.ids.emplace_back(at, at + fresh);
    if (!bos) continue;
    if (llama_cpp)
      window.front() = *bos;
    else
      window.insert(window.begin(), *bos);
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

void check_windows(const Windows& windows, int64_t vocab_size) {
  if (windows.ids.empty()) fail("no windows to measure drift on");
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    const std::vector<int32_t>& ids = windows.ids[w];
    if (std::ssize(ids) <= windows.first_scored)
      fail("window {}: {} tokens, of which none is scored: expected more than {}", w, ids.size(),
           windows.first_scored);
    check_token_ids(ids, vocab_size, fmt::format("window {}", w));
  }
}

}  // namespace whittle
