#include "quant/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>

#include "engine/files/json_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/error.h"
#include "quant/self_text.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

constexpr int64_t most_json_bytes = int64_t{1} << 30;
// A token of text is hardly ever longer.
constexpr int64_t bytes_per_token = 32;

// Windows that are enough to judge by.
constexpr int64_t most_held_out = 16;

// The beginning of a file, cut between two characters.
std::string first_bytes(const fs::path& path, int64_t most) {
  std::error_code error;
  if (fs::is_directory(path, error)) fail("{}: is a folder; expected a file", path.string());
  std::ifstream file(path, std::ios::binary);
  std::istream& stream = path == "-" ? std::cin : file;
  if (!stream) fail("{}: cannot open: {}", path.string(), std::strerror(errno));
  std::string text(static_cast<size_t>(most), '\0');
  stream.read(text.data(), most);
  if (stream.bad()) fail("{}: cannot read", path.string());
  text.resize(static_cast<size_t>(stream.gcount()));
  if (std::ssize(text) < most) return text;
  // The bytes of a last character, which may not all be there, go with their first.
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0u) == 0x80u) text.pop_back();
  if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xc0u) text.pop_back();
  return text;
}

Windows windows_of_text(const fs::path& file, const FolderWeights& source, int64_t tokens, int64_t context) {
  const Tokenizer tokenizer = Tokenizer::open(source.file().folder());
  const std::string text = first_bytes(file, std::max<int64_t>(1 << 20, tokens * bytes_per_token));
  const auto found = static_cast<int64_t>(tokenizer.encode(text, false).size());
  constexpr int64_t least = 2;
  if (found < least) fail("{}: {} tokens; at least {} are needed", file.string(), found, least);
  return text_windows(tokenizer, text, std::min(context, found), "windows");
}

Windows windows_of_file(const fs::path& file, const FolderWeights& source, int64_t tokens) {
  const int64_t positions = source.spec().max_position_embeddings;
  Windows windows = file.extension() == ".json"
                        ? token_windows(read_json_file(file, most_json_bytes), file.string())
                        : windows_of_text(file, source, tokens, std::min(calibration_context, positions));
  try {
    check_windows(windows, source.spec().vocab_size);  // a tokenizer may know more ids than the model
  } catch (const Error& error) {
    fail("{}: {}", file.string(), error.what());
  }
  if (windows.context > positions)
    fail("{}: a window of {} ids: the model has {} positions", file.string(), windows.context, positions);
  return windows;
}

}  // namespace

int64_t CalibrationText::tokens() const { return tokens_of(windows); }
int64_t CalibrationText::held_out_tokens() const { return tokens_of(held_out.ids); }

CalibrationText calibration_text(const CalibrationChoice& choice, const FolderWeights& source, int64_t memory,
                                 const Team& team, const CalibrationProgress& progress) {
  const bool hold_out = choice.held_out.empty();
  const int64_t tokens =
      choice.tokens + (hold_out ? std::min((choice.tokens + 7) / 8, most_held_out * calibration_context) : 0);
  const bool self = choice.source == "self";
  Windows windows;
  std::string from = printable(fs::path(choice.source).filename().string());
  if (self) {
    SelfText text = self_text(source, memory, team, tokens, calibration_context, choice.seed, progress);
    windows = std::move(text.windows);
    from = fmt::format("self{}, seed {}", text.rounded_to, choice.seed);
  } else {
    windows = windows_of_file(choice.source, source, tokens);
  }
  CalibrationText out;
  out.held_out = {{}, windows.first_scored, windows.context, windows.protocol};
  int64_t taken = 0;
  for (std::vector<int32_t>& window : windows.ids) {
    if (taken >= tokens) break;
    taken += std::ssize(window);
    out.windows.push_back(std::move(window));
  }
  const auto held = hold_out && std::ssize(out.windows) > 1
                        ? std::clamp<int64_t>(std::ssize(out.windows) / 9, 1, most_held_out)
                        : 0;
  out.held_out.ids.assign(std::make_move_iterator(out.windows.end() - held),
                          std::make_move_iterator(out.windows.end()));
  out.windows.resize(out.windows.size() - static_cast<size_t>(held));
  out.from = from;
  return out;
}

Windows held_out_text(const CalibrationChoice& choice, const FolderWeights& source) {
  Windows windows = windows_of_file(choice.held_out, source, most_held_out * calibration_context);
  if (std::ssize(windows.ids) > most_held_out) windows.ids.resize(most_held_out);
  return windows;
}

std::string CalibrationText::source() const {
  return fmt::format("{}: {} tokens in {} windows, xxh3 {}", from, tokens(), windows.size(),
                     hash_of_windows(windows));
}

std::string CalibrationText::fingerprint() const {
  return hash_of_windows(windows) + hash_of_windows(held_out.ids);
}

void require_unseen(const CalibrationChoice& choice, const CalibrationText& text,
                    const std::vector<std::vector<int32_t>>& seen) {
  const auto is_seen = [&](const std::vector<int32_t>& window) {
    return std::ranges::find(seen, window) != seen.end();
  };
  if (!choice.held_out.empty() && std::ranges::any_of(text.held_out.ids, is_seen))
    fail("{}: text to judge by, of which {} has seen a part", choice.held_out, text.from);
}

namespace {

void save(WorkFolder& work, const CalibrationText& text) {
  std::vector<int32_t> ids, lengths;
  for (const auto* windows : {&text.windows, &text.held_out.ids})
    for (const std::vector<int32_t>& window : *windows) {
      ids.insert(ids.end(), window.begin(), window.end());
      lengths.push_back(static_cast<int32_t>(window.size()));
    }
  const WorkFolder::Part parts[] = {{"ids", DType::I32, std::as_bytes(std::span(ids))},
                                    {"lengths", DType::I32, std::as_bytes(std::span(lengths))}};
  work.save("calibration", parts,
            {{"from", text.from},
             {"windows", text.windows.size()},
             {"first_scored", text.held_out.first_scored},
             {"context", text.held_out.context},
             {"protocol", text.held_out.protocol}});
}

std::optional<CalibrationText> load_calibration(const WorkFolder& work) {
  const std::optional<SafetensorsFile> saved = work.open("calibration");
  if (!saved) return std::nullopt;
  const nlohmann::json all = WorkFolder::facts(*saved);
  const JsonFields fields(all, saved->path().string());
  std::map<std::string, std::vector<int32_t>> parts;
  for (const TensorView& tensor : saved->tensors()) {
    std::vector<int32_t>& values = parts[tensor.name];
    values.resize(tensor.bytes.size() / sizeof(int32_t));
    std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(int32_t));
  }
  CalibrationText text;
  text.from = fields.string("from");
  text.held_out.first_scored = fields.integer("first_scored", 1, most_json_bytes);
  text.held_out.context = fields.integer("context", 1, most_json_bytes);
  text.held_out.protocol = fields.string("protocol");
  const std::vector<int32_t>& ids = parts["ids"];
  const auto count = static_cast<size_t>(fields.integer("windows", 1, std::ssize(parts["lengths"])));
  size_t at = 0;
  for (const int32_t length : parts["lengths"]) {
    if (length < 1 || ids.size() - at < static_cast<size_t>(length))
      fail("{}: windows of more ids than there are", saved->path().string());
    auto& windows = text.windows.size() < count ? text.windows : text.held_out.ids;
    windows.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(at),
                         ids.begin() + static_cast<std::ptrdiff_t>(at) + length);
    at += static_cast<size_t>(length);
  }
  return text;
}

}  // namespace

CalibrationText kept_text(WorkFolder* work, CalibrationText read,
                          const std::function<CalibrationText()>& draw) {
  std::optional<CalibrationText> kept = work ? load_calibration(*work) : std::nullopt;
  if (kept) return std::move(*kept);
  if (read.windows.empty()) {
    Windows held_out = std::move(read.held_out);
    read = draw();
    if (!held_out.ids.empty()) read.held_out = std::move(held_out);
  }
  if (work) save(*work, read);
  return read;
}

}  // namespace whittle
