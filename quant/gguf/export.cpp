#include "quant/gguf/export.h"

#include <algorithm>
#include <cmath>

#include "engine/files/json_file.h"
#include "engine/files/output_folder.h"
#include "kernels/error.h"
#include "quant/gguf/model.h"
#include "quant/gguf/tokenizer.h"

namespace whittle {

namespace {

class Run {
 public:
  Run(const FolderWeights& source, const std::vector<ExportedTensor>& tensors, const Team& team,
      const GgufProgress& progress)
      : source_(source), tensors_(tensors), team_(team), progress_(progress) {
    for (const ExportedTensor& tensor : tensors_) total_ += tensor.target.bytes();
  }

  void write(GgufWriter& writer) {
    for (const ExportedTensor& tensor : tensors_)
      tensor.target.rows ? write_matrix(tensor, writer) : write_vector(tensor, writer);
  }

 private:
  void write_vector(const ExportedTensor& tensor, GgufWriter& writer) {
    const std::vector<float> read = !tensor.module ? tensor.values
                                    : tensor.bias  ? source_.bias(*tensor.module)
                                                   : source_.weight_vector(*tensor.module);
    std::vector<float> values(read.size());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = read[static_cast<size_t>(tensor.source_row(static_cast<int64_t>(i)))];
    writer.write(std::as_bytes(std::span(values)));
    advance(tensor, tensor.target.bytes());
  }

  // A piece at a time: rows in parallel, then to the disk.
  void write_matrix(const ExportedTensor& tensor, GgufWriter& writer) {
    const auto& [name, type, rows, cols] = tensor.target;
    const WeightMatrix weight = source_.matrix(*tensor.module);
    const GgufTypeInfo& target = info(type);
    const int64_t row_size = tensor.target.row_bytes();
    const int64_t piece = std::clamp(piece_bytes / row_size, int64_t{1}, rows);
    std::vector<std::byte> bytes(static_cast<size_t>(piece * row_size));
    for (int64_t first = 0; first < rows; first += piece) {
      const int64_t count = std::min(piece, rows - first);
      team_.run([&](const Worker& worker) {
        std::vector<float> values(static_cast<size_t>(cols));
        const Range share = worker.share(count);
        for (int64_t i = share.begin; i < share.end; ++i) {
          const int64_t row = tensor.source_row(first + i);
          weight.decode_row(row, values.data());
          check_values(values, tensor, row, target);
          target.encode_row(values.data(), cols, bytes.data() + i * row_size);
        }
      });
      writer.write(std::span(bytes).first(static_cast<size_t>(count * row_size)));
      advance(tensor, count * row_size);
    }
    source_.release(weight);
  }

  void check_values(std::span<const float> values, const ExportedTensor& tensor, int64_t row,
                    const GgufTypeInfo& target) const {
    const auto bad =
        std::ranges::find_if_not(values, [&](float value) { return std::abs(value) < target.limit; });
    if (bad == values.end()) return;
    fail("{}: tensor {}: row {}, column {}: {} has no {}", source_.file().folder().string(),
         quote(tensor.source_name()), row, bad - values.begin(), *bad, target.name);
  }

  void advance(const ExportedTensor& tensor, int64_t bytes) {
    check_interrupted();
    done_ += bytes;
    if (progress_) progress_(done_, total_, tensor.target.name);
  }

  static constexpr int64_t piece_bytes = 16 << 20;

  const FolderWeights& source_;
  const std::vector<ExportedTensor>& tensors_;
  const Team& team_;
  const GgufProgress& progress_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

GgufReport export_gguf(const std::filesystem::path& source, const std::filesystem::path& out, GgufType type,
                       const Team& team, const std::string& version, const GgufProgress& progress) {
  const FolderWeights weights(source, &team);
  GgufMetadata metadata = model_metadata(weights);
  metadata.push_back({"general.file_type", info(type).file_type});
  metadata.push_back({"general.quantization_version", uint32_t{2}});
  metadata.push_back({"whittle.version", version});
  const GgufMetadata tokenizer = tokenizer_metadata(source, weights.spec());
  metadata.insert(metadata.end(), tokenizer.begin(), tokenizer.end());

  const std::vector<ExportedTensor> tensors = exported_tensors(weights, type);
  std::vector<GgufTensor> targets;
  for (const ExportedTensor& tensor : tensors) targets.push_back(tensor.target);
  GgufWriter writer(out, metadata, targets);
  Run(weights, tensors, team, progress).write(writer);
  writer.finish();
  return {static_cast<int64_t>(tensors.size()), static_cast<int64_t>(std::filesystem::file_size(out)),
          std::get<std::string>(tokenizer.front().value)};
}

}  // namespace whittle
