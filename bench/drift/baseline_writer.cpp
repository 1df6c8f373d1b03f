#include "bench/drift/baseline_writer.h"

#include <algorithm>

#include "bench/drift/baseline_file.h"
#include "bench/drift/drift.h"
#include "bench/drift/stored_prediction.h"
#include "bench/reports/table.h"
#include "engine/files/hidden_sibling.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_dump.h"
#include "engine/files/output_folder.h"
#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

void check_room(const fs::path& folder, int64_t bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (!error && space.available < static_cast<uintmax_t>(bytes))
    fail("{}: {} are needed there, and {} are free", folder.string(),
         format_bytes(static_cast<double>(bytes)), format_bytes(static_cast<double>(space.available)));
}

nlohmann::json fields_of(const fs::path& folder, int64_t vocab_size, int64_t top,
                         std::span<const DriftText> texts, const BaselineOptions& options) {
  nlohmann::json list = nlohmann::json::array();
  for (const DriftText& text : texts)
    list.push_back({{"name", text.name},
                    {"hash", text.hash},
                    {"bytes_scored", text.bytes_scored},
                    {"context", text.windows.context},
                    {"protocol", text.windows.protocol}});
  return {{"version", baseline_version},
          {"program", options.program},
          {"vocab_size", vocab_size},
          {"top", top},
          {"tokenizer", options.tokenizer ? nlohmann::json(*options.tokenizer) : nlohmann::json(nullptr)},
          {"baseline", model_identity(folder)},
          {"texts", list}};
}

// The tensors of one text.
class TextWriter {
 public:
  TextWriter(SafetensorsWriter& writer, size_t number, const DriftText& text, int64_t top, const Team& team)
      : writer_(writer), number_(number), windows_(text.windows), top_(top), team_(team) {
    std::vector<int32_t> ids, lengths, first;
    for (size_t w = 0; w < windows_.ids.size(); ++w) {
      ids.insert(ids.end(), windows_.ids[w].begin(), windows_.ids[w].end());
      lengths.push_back(static_cast<int32_t>(windows_.ids[w].size()));
      first.push_back(static_cast<int32_t>(windows_.first_scored_of(w)));
    }
    write("ids", 0, ids);
    write("lengths", 0, lengths);
    write("first_scored", 0, first);
  }

  // The logits after positions [first, first + rows) of a window; in order.
  void add(size_t window, int64_t first, const Logits& logits) {
    const int64_t skipped = std::clamp<int64_t>(windows_.first_scored_of(window) - first - 1, 0, logits.rows);
    std::vector<StoredPrediction> rows(static_cast<size_t>(logits.rows - skipped));
    team_.for_each(std::ssize(rows), [&](int64_t i) {
      const int64_t row = skipped + i;
      const auto token = static_cast<size_t>(first + row + 1);
      rows[static_cast<size_t>(i)] = store_prediction(logits.row(row), windows_.ids[window][token], top_);
    });
    std::vector<uint16_t> codes;
    std::vector<int32_t> indices, top;
    std::vector<float> scale;
    std::vector<double> rest, target;
    for (const StoredPrediction& row : rows) {
      codes.insert(codes.end(), row.codes.begin(), row.codes.end());
      indices.insert(indices.end(), row.indices.begin(), row.indices.end());
      scale.push_back(row.scale);
      rest.push_back(row.rest);
      target.push_back(row.target);
      top.push_back(row.top);
    }
    write("codes", position_ * top_, codes);
    if (!indices.empty()) write("indices", position_ * top_, indices);
    write("scale", position_, scale);
    write("rest", position_, rest);
    write("target", position_, target);
    write("top", position_, top);
    position_ += std::ssize(rows);
  }

 private:
  template <class T>
  void write(const char* part, int64_t first, const std::vector<T>& values) {
    writer_.write(fmt::format("{}.{}", number_, part), first * static_cast<int64_t>(sizeof(T)),
                  std::as_bytes(std::span(values)));
  }

  SafetensorsWriter& writer_;
  const size_t number_;
  const Windows& windows_;
  const int64_t top_;
  const Team& team_;
  int64_t position_ = 0;  // of the next scored token
};

std::vector<TensorInfo> all_tensors(std::span<const DriftText> texts, int64_t vocab_size, int64_t top) {
  std::vector<TensorInfo> tensors;
  for (size_t i = 0; i < texts.size(); ++i)
    for (TensorInfo& tensor : baseline_tensors(i, texts[i].windows, top, top == vocab_size))
      tensors.push_back(std::move(tensor));
  return tensors;
}

int64_t kept(int64_t vocab_size, int64_t top) { return top < 1 ? vocab_size : std::min(top, vocab_size); }

}  // namespace

int64_t baseline_bytes(std::span<const DriftText> texts, int64_t vocab_size, int64_t top) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : all_tensors(texts, vocab_size, kept(vocab_size, top)))
    bytes += tensor_bytes(tensor.dtype, tensor.shape).value_or(0);
  return bytes;
}

void check_baseline_path(const fs::path& path) {
  if (fs::exists(fs::symlink_status(path))) fail("{}: exists already", path.string());
}

void save_baseline(const fs::path& path, const fs::path& folder, const Team& team,
                   std::span<const DriftText> texts, const BaselineOptions& options,
                   const BaselineProgress& progress) {
  const HeldInterrupts held;
  check_baseline_path(path);
  const int64_t vocab_size = read_model_spec(ModelFile(folder)).vocab_size;
  const int64_t top = kept(vocab_size, options.top);
  int64_t total = 0, context = 0;
  for (const DriftText& text : texts) {
    check_windows(text.windows, vocab_size);
    total += std::ssize(text.windows.ids);
    context = std::max(context, text.windows.context);
  }
  const fs::path final_path = final_path_of(path);
  HiddenSibling sibling(final_path, HiddenSibling::Kind::folder);
  check_room(final_path.parent_path(), baseline_bytes(texts, vocab_size, top));
  const fs::path file = sibling.path() / "baseline.safetensors";
  SafetensorsWriter writer(file, all_tensors(texts, vocab_size, top),
                           {{baseline_field, dump_json(fields_of(folder, vocab_size, top, texts, options))}});
  const Model baseline(folder, team);
  const int64_t chunk = logit_rows(vocab_size);
  Session session(baseline, team, {context, KvFormat::f32, chunk});
  int64_t done = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    TextWriter text(writer, i, texts[i], top, team);
    for (size_t w = 0; w < texts[i].windows.ids.size(); ++w) {
      run_window(session, texts[i].windows.ids[w], chunk, [&](int64_t first, const Logits& logits) {
        check_interrupted();
        text.add(w, first, logits);
      });
      if (progress) progress(++done, total);
    }
  }
  writer.finish();
  check_baseline_path(path);
  fs::rename(file, final_path);
  sync_to_disk(final_path.parent_path());
}

}  // namespace whittle
