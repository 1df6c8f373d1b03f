#include "bench/drift/baseline_file.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "bench/drift/stored_prediction.h"
#include "engine/files/file_hash.h"
#include "engine/files/json_file.h"
#include "engine/files/tensor_checks.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr int64_t most = std::numeric_limits<int32_t>::max();

// Tensors promise no alignment.
template <class T>
std::vector<T> values_of(const TensorView& tensor, int64_t first, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  const auto bytes = tensor.bytes.subspan(static_cast<size_t>(first) * sizeof(T), values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <class T>
std::vector<T> values_of(const TensorView& tensor) {
  return values_of<T>(tensor, 0, tensor.elements());
}

std::string tensor_name(size_t number, const char* name) { return fmt::format("{}.{}", number, name); }

// One text's tensors.
struct Stored {
  const TensorView *codes = nullptr, *indices = nullptr;
  std::vector<float> scale;
  std::vector<double> rest, target;
  std::vector<int32_t> top;
  std::vector<int64_t> starts;  // of each window, the position of its first scored token
};

template <class T, class Good>
void check_values(const TensorView& tensor, const std::vector<T>& values, const char* expected,
                  const Good& good) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!good(values[i])) fail("{}: index {}: expected {}, found {}", label(tensor), i, expected, values[i]);
}

}  // namespace

std::vector<TensorInfo> baseline_tensors(size_t number, const Windows& windows, int64_t top, bool all) {
  int64_t scored = 0;
  for (size_t w = 0; w < windows.ids.size(); ++w) scored += windows.scored(w);
  const int64_t count = std::ssize(windows.ids);
  std::vector<TensorInfo> tensors = {{"ids", DType::I32, {tokens_of(windows.ids)}},
                                     {"lengths", DType::I32, {count}},
                                     {"first_scored", DType::I32, {count}},
                                     {"codes", DType::U16, {scored, top}},
                                     {"scale", DType::F32, {scored}},
                                     {"rest", DType::F64, {scored}},
                                     {"target", DType::F64, {scored}},
                                     {"top", DType::I32, {scored}}};
  if (!all) tensors.push_back({"indices", DType::I32, {scored, top}});
  for (TensorInfo& tensor : tensors) tensor.name = tensor_name(number, tensor.name.c_str());
  return tensors;
}

struct BaselineFile::Impl {
  SafetensorsFile file;
  nlohmann::json fields;
  int64_t vocab_size = 0, top = 0;
  std::optional<std::string> tokenizer;
  std::vector<DriftText> texts;
  std::vector<Stored> stored;

  explicit Impl(const std::filesystem::path& path) : file(path) {
    const std::string name = path.string();
    const auto found = file.metadata().find(baseline_field);
    if (found == file.metadata().end())
      fail("{}: field {} of \"__metadata__\": missing: not a stored baseline", name, quote(baseline_field));
    fields = parse_json(found->second, fmt::format("{}: field {}", name, quote(baseline_field)));
    const JsonFields all(fields, fmt::format("{}: field {}", name, quote(baseline_field)));
    all.integer("version", baseline_version, baseline_version);
    vocab_size = all.integer("vocab_size", 1, most);
    top = all.integer("top", 1, vocab_size);
    if (all.has("tokenizer")) tokenizer = all.string("tokenizer");
    const JsonFields model = all.object("baseline");
    for (const char* field : {"name", "weights", "config"}) model.string(field);
    const nlohmann::json& list = all.at("texts");
    if (!list.is_array() || list.empty()) all.reject("texts", "expected an array, not empty");
    for (size_t i = 0; i < list.size(); ++i)
      read_text(i, JsonFields(list[i], fmt::format("{}: text {}", name, i)));
    const size_t each = top < vocab_size ? 9 : 8;
    if (file.tensors().size() != each * list.size())
      fail("{}: {} tensors, expected {} of each of {} texts", name, file.tensors().size(), each, list.size());
  }

  const TensorView& tensor(size_t number, const char* part) const {
    const std::string name = tensor_name(number, part);
    const auto found = std::ranges::lower_bound(file.tensors(), name, {}, &TensorView::name);
    if (found == file.tensors().end() || found->name != name)
      fail("{}: tensor {}: missing", file.path().string(), quote(name));
    return *found;
  }
  // One dimension, of `size` elements; −1: any.
  const TensorView& list(size_t number, const char* part, DType dtype, int64_t size = -1) const {
    const TensorView& view = tensor(number, part);
    return expect(view, dtype, {size < 0 ? view.elements() : size});
  }

  void read_text(size_t number, const JsonFields& text) {
    DriftText& out = texts.emplace_back();
    out.name = text.string("name");
    out.hash = text.string("hash");
    out.bytes_scored = text.integer("bytes_scored", 0, int64_t{1} << 62);
    out.windows.context = text.integer("context", 2, most);
    out.windows.protocol = text.string("protocol");
    read_windows(number, out.windows);
    Stored& part = stored.emplace_back();
    int64_t scored = 0;
    for (size_t w = 0; w < out.windows.ids.size(); ++w) {
      part.starts.push_back(scored);
      scored += out.windows.scored(w);
    }
    part.codes = &expect(tensor(number, "codes"), DType::U16, {scored, top});
    if (top < vocab_size) part.indices = &expect(tensor(number, "indices"), DType::I32, {scored, top});
    const TensorView &scale = list(number, "scale", DType::F32, scored),
                     &rest = list(number, "rest", DType::F64, scored),
                     &target = list(number, "target", DType::F64, scored),
                     &first = list(number, "top", DType::I32, scored);
    part.scale = values_of<float>(scale);
    part.rest = values_of<double>(rest);
    part.target = values_of<double>(target);
    part.top = values_of<int32_t>(first);
    check_values(scale, part.scale, "a finite number of 0 or more",
                 [](float value) { return value >= 0 && std::isfinite(value); });
    const bool all = !part.indices;
    check_values(rest, part.rest, all ? "0, as all tokens are kept" : "a probability",
                 [&](double value) { return value >= 0 && value <= (all ? 0 : 1); });
    check_values(target, part.target, "a finite number of 0 or less",
                 [](double value) { return value <= 0 && std::isfinite(value); });
    check_values(first, part.top, "a token of the vocabulary",
                 [&](int32_t value) { return value >= 0 && value < vocab_size; });
  }

  void read_windows(size_t number, Windows& windows) const {
    const TensorView &ids = list(number, "ids", DType::I32), &lengths = list(number, "lengths", DType::I32);
    const std::vector<int32_t> all = values_of<int32_t>(ids), sizes = values_of<int32_t>(lengths);
    const TensorView& scored = list(number, "first_scored", DType::I32, std::ssize(sizes));
    const std::vector<int32_t> first = values_of<int32_t>(scored);
    check_values(ids, all, "a token of the vocabulary",
                 [&](int32_t id) { return id >= 0 && id < vocab_size; });
    check_values(lengths, sizes, fmt::format("2 to {}", windows.context).c_str(),
                 [&](int32_t size) { return size >= 2 && size <= windows.context; });
    auto at = all.begin();
    for (size_t w = 0; w < sizes.size(); ++w) {
      if (first[w] < 1 || first[w] >= sizes[w])
        fail("{}: index {}: expected 1 to {}, found {}", label(scored), w, sizes[w] - 1, first[w]);
      if (all.end() - at < sizes[w]) fail("{}: more ids than the {} there are", label(lengths), all.size());
      windows.ids.emplace_back(at, at + sizes[w]);
      windows.seen.push_back(first[w]);
      at += sizes[w];
    }
    if (windows.ids.empty()) fail("{}: empty", label(lengths));
    if (at != all.end())
      fail("{}: {} ids, of which no window has the last {}", label(ids), all.size(), all.end() - at);
  }
};

BaselineFile::BaselineFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
BaselineFile::~BaselineFile() = default;

const std::filesystem::path& BaselineFile::path() const { return impl_->file.path(); }
int64_t BaselineFile::vocab_size() const { return impl_->vocab_size; }
int64_t BaselineFile::top() const { return impl_->top; }
std::span<const DriftText> BaselineFile::texts() const { return impl_->texts; }
const nlohmann::json& BaselineFile::baseline() const { return impl_->fields["baseline"]; }

void BaselineFile::check_model(const std::filesystem::path& folder, const ModelSpec& spec) const {
  const std::string model = folder.string(), file = path().string();
  if (spec.vocab_size != vocab_size())
    fail("{}: field \"vocab_size\": {} tokens, the baseline in {} has {}", model, spec.vocab_size, file,
         vocab_size());
  const std::optional<Tokenizer> tokenizer = Tokenizer::open_if_any(folder);
  if (tokenizer && impl_->tokenizer && tokenizer_hash(*tokenizer) != *impl_->tokenizer)
    fail("{}: field \"tokenizer\": its tokens stand for other text than those of the baseline in {}", model,
         file);
}

void BaselineFile::check_text(size_t number, const std::string& name, const std::string& text) const {
  if (hash_of(text) != texts()[number].hash)
    fail("{}: field \"hash\" of text {}: {} is another text than {}, which was stored", path().string(),
         number, quote(name), quote(texts()[number].name));
}

DriftPosition BaselineFile::compare(size_t text, size_t window, int64_t token,
                                    std::span<const float> model) const {
  const Windows& windows = texts()[text].windows;
  const Stored& stored = impl_->stored[text];
  const int64_t position = stored.starts[window] + token - windows.first_scored_of(window);
  const auto at = static_cast<size_t>(position);
  StoredPrediction prediction{values_of<uint16_t>(*stored.codes, position * top(), top()),
                              {},
                              stored.scale[at],
                              stored.rest[at],
                              stored.target[at],
                              stored.top[at]};
  if (stored.indices) prediction.indices = values_of<int32_t>(*stored.indices, position * top(), top());
  try {
    return compare_predictions(prediction, model, windows.ids[window][static_cast<size_t>(token)]);
  } catch (const Error& error) {
    fail("{}: tensors \"{}.…\": position {}: {}", path().string(), text, position, error.what());
  }
}

}  // namespace whittle
