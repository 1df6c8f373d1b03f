#include "quant/pipeline.h"

#include <algorithm>
#include <cmath>

#include "engine/files/compressed_tensors.h"
#include "engine/files/float_tensor.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "engine/weight_source.h"
#include "kernels/buffer.h"
#include "kernels/error.h"
#include "quant/rounding.h"

namespace whittle {
namespace {

// Elements of a tensor from `first` on, `step` apart.
void require_finite(const float* values, int64_t count, const TensorView& tensor, int64_t first,
                    int64_t step = 1) {
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(values[i]))
      fail("{}: tensor {}: element {} is {}; a weight must be finite", tensor.file->string(),
           quote(tensor.name), first + i * step, values[i]);
}

// Group scales are stored in 16 bits, BF16 where F16 does not reach; one a row costs nothing in 32.
DType scale_dtype(const QuantizationScheme& scheme) {
  return scheme.strategy == ScaleStrategy::group ? DType::F16 : DType::F32;
}

class Run {
 public:
  Run(const FolderWeights& source, const QuantizationPlan& plan, const Team& team, const Progress& progress)
      : source_(source), file_(source.file()), plan_(plan), team_(team), progress_(progress) {
    for (const TensorView& tensor : file_.tensors())
      if (used(tensor)) total_bytes_ += static_cast<int64_t>(tensor.bytes.size());
    for (const auto& [target, from] : plan.copies)
      total_bytes_ += static_cast<int64_t>(file_.get(from + ".weight").bytes.size());
  }

  // Every tensor of the output, in the source's order, quantized modules in the plan's order after what is
  // kept.
  std::vector<TensorInfo> outline() const {
    std::vector<TensorInfo> tensors;
    for (const TensorView& tensor : file_.tensors())
      if (kept(tensor)) tensors.push_back({tensor.name, tensor.dtype, tensor.shape});
    for (const auto& [target, source] : plan_.copies)
      if (!is_quantized(target)) {
        const TensorView& tensor = file_.get(source + ".weight");
        tensors.push_back({target + ".weight", tensor.dtype, tensor.shape});
      }
    for (const QuantizedModule& module : plan_.modules) {
      const Module& source = source_of(module.name);
      for (TensorInfo& info : quantized_tensors(module.name, module.scheme, source.rows, source.cols,
                                                scale_dtype(module.scheme)))
        tensors.push_back(std::move(info));
    }
    return tensors;
  }

  void write(SafetensorsWriter& writer, QuantizationReport& report) {
    for (const TensorView& tensor : file_.tensors())
      if (kept(tensor)) copy(tensor, tensor.name, writer);
    for (const auto& [target, source] : plan_.copies)
      if (!is_quantized(target)) copy(file_.get(source + ".weight"), target + ".weight", writer);
    for (const QuantizedModule& module : plan_.modules) quantize_module(module, writer);
    report.modules = static_cast<int64_t>(plan_.modules.size());
    report.bits_per_weight = 8.0 * static_cast<double>(stored_bytes_) / static_cast<double>(weights_);
    report.relative_error = power_ > 0 ? error_ / power_ : 0;
  }

 private:
  bool is_quantized(const std::string& module) const {
    return std::any_of(plan_.modules.begin(), plan_.modules.end(),
                       [&](const auto& m) { return m.name == module; });
  }
  // What a module of the output is made from.
  const Module& source_of(const std::string& module) const {
    const auto copy = plan_.copies.find(module);
    return *source_.inventory().find(copy == plan_.copies.end() ? module : copy->second);
  }
  static std::string module_of(const TensorView& tensor) {
    return tensor.name.substr(0, tensor.name.rfind('.'));
  }
  bool used(const TensorView& tensor) const {
    return module_of(tensor) != plan_.unused && !plan_.buffers.contains(tensor.name);
  }
  bool kept(const TensorView& tensor) const {
    return used(tensor) && (!tensor.name.ends_with(".weight") || !is_quantized(module_of(tensor)));
  }
  void advance(const TensorView& tensor, const std::string& module) {
    check_interrupted();
    done_bytes_ += static_cast<int64_t>(tensor.bytes.size());
    if (progress_) progress_(done_bytes_, total_bytes_, module);
  }

  void copy(const TensorView& tensor, const std::string& name, SafetensorsWriter& writer) {
    const std::optional<WeightFormat> format = float_format(tensor.dtype);
    constexpr int64_t piece = 1 << 22;  // elements
    const int64_t element_bytes = bits(tensor.dtype) / 8;
    const int64_t pieces = (tensor.elements() + piece - 1) / piece;
    team_.for_each(pieces, [&](int64_t i) {
      if (interrupted()) return;
      const int64_t first = i * piece, count = std::min(piece, tensor.elements() - first);
      const auto bytes = tensor.bytes.subspan(static_cast<size_t>(first * element_bytes),
                                              static_cast<size_t>(count * element_bytes));
      if (format) {
        std::vector<float> values(static_cast<size_t>(count));
        info(*format).decode_row(bytes.data(), count, values.data());
        require_finite(values.data(), count, tensor, first);
      }
      writer.write(name, first * element_bytes, bytes);
    });
    if (pieces == 0) writer.write(name, tensor.bytes);
    file_.drop_pages(tensor.bytes);
    advance(tensor, name);
  }

  // A matrix of a module, rounded.
  struct Rounded {
    Buffer<std::byte> codes;
    WeightMatrix matrix;  // borrows them
    ScaleFit fit = ScaleFit::good;
    int64_t row = 0, group = 0;  // that fits worst
    double error = 0, power = 0;
  };

  Rounded round(const WeightMatrix& source, const Module& module, const QuantizationScheme& scheme,
                DType scale_type) const {
    const int64_t rows = module.rows, cols = module.cols;
    const TensorView& tensor = file_.get(module.name + ".weight");
    Rounded out;
    WeightMatrix& matrix = out.matrix;
    matrix.format = scheme.format;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.group_size = scheme.group_size ? scheme.group_size : cols;
    const int64_t code_row = row_bytes(matrix.format, cols);
    out.codes = Buffer<std::byte>(rows * code_row);
    matrix.codes = out.codes.span();
    matrix.scales.resize(static_cast<size_t>(rows * matrix.groups()));
    if (!scheme.symmetric) matrix.zero_points.resize(matrix.scales.size());

    // Errors are summed row by row and then in order, so that the report does not depend on the threads.
    std::vector<double> errors(static_cast<size_t>(rows)), powers(errors.size());
    std::vector<RowFit> fits(errors.size());
    team_.for_each(rows, [&](int64_t row) {
      if (interrupted()) return;
      const auto at_row = static_cast<size_t>(row);
      std::vector<float> values(static_cast<size_t>(cols)), restored(values.size());
      source.decode_row(row, values.data());
      if (module.transposed)
        require_finite(values.data(), cols, tensor, row, rows);
      else
        require_finite(values.data(), cols, tensor, row * cols);
      float* scales = matrix.scales.data() + row * matrix.groups();
      int8_t* zero_points = scheme.symmetric ? nullptr : matrix.zero_points.data() + row * matrix.groups();
      fits[at_row] = round_row(values.data(), cols, scheme, scale_type,
                               {out.codes.data() + row * code_row, scales, zero_points});
      info(matrix.format).decode_row(out.codes.data() + row * code_row, cols, restored.data());
      for (int64_t k = 0; k < cols; ++k) {
        const int64_t g = k / matrix.group_size;
        const auto at = static_cast<size_t>(k);
        const double value = static_cast<double>(values[at]);
        const double kept =
            static_cast<double>((restored[at] - (zero_points ? zero_points[g] : 0)) * scales[g]);
        errors[at_row] += (value - kept) * (value - kept);
        powers[at_row] += value * value;
      }
    });
    check_interrupted();
    for (size_t row = 0; row < fits.size(); ++row) {
      out.error += errors[row];
      out.power += powers[row];
      if (fits[row].fit > out.fit) {
        out.fit = fits[row].fit;
        out.row = static_cast<int64_t>(row);
        out.group = fits[row].group;
      }
    }
    return out;
  }

  void quantize_module(const QuantizedModule& module, SafetensorsWriter& writer) {
    const Module& source = source_of(module.name);
    const WeightMatrix weights = source_.matrix(source);
    const QuantizationScheme& scheme = module.scheme;
    DType scale_type = scale_dtype(scheme);
    Rounded rounded = round(weights, source, scheme, scale_type);
    if (scale_type == DType::F16 && rounded.fit != ScaleFit::good) {
      // BF16 reaches as far as F32, with fewer bits: a few tiny groups are no reason to take it.
      Rounded other = round(weights, source, scheme, DType::BF16);
      if (rounded.fit == ScaleFit::lost || other.error < rounded.error) {
        rounded = std::move(other);
        scale_type = DType::BF16;
        writer.make_bf16(module.name + ".weight_scale");
      }
    }
    if (rounded.fit == ScaleFit::lost)
      fail("{}: tensor {}: row {}, group {}: no scale in {} stands for weights of this size",
           file_.get(source.name + ".weight").file->string(), quote(source.name + ".weight"), rounded.row,
           rounded.group, name(scale_type));
    error_ += rounded.error;
    power_ += rounded.power;
    const WeightMatrix& matrix = rounded.matrix;
    write_quantized(writer, module.name, scheme, matrix, scale_type);
    for (const TensorInfo& part :
         quantized_tensors(module.name, scheme, matrix.rows, matrix.cols, scale_type))
      stored_bytes_ += *tensor_bytes(part.dtype, part.shape);
    weights_ += matrix.rows * matrix.cols;
    source_.release(weights);
    advance(file_.get(source.name + ".weight"), module.name);
  }

  const FolderWeights& source_;
  const ModelFile& file_;
  const QuantizationPlan& plan_;
  const Team& team_;
  const Progress& progress_;
  int64_t done_bytes_ = 0, total_bytes_ = 0;
  int64_t stored_bytes_ = 0, weights_ = 0;
  double error_ = 0, power_ = 0;
};

}  // namespace

QuantizationReport quantize(const std::filesystem::path& source, const std::filesystem::path& out,
                            const Recipe& recipe, const Team& team, const std::string& version,
                            const Progress& progress) {
  const FolderWeights source_weights(source);
  const ModelFile& file = source_weights.file();
  const QuantizationPlan plan = plan_quantization(recipe, source_weights);
  OutputFolder folder(out);
  folder.copy_side_files(source);

  Run run(source_weights, plan, team, progress);
  QuantizationReport report;
  report.notes = plan.notes(source_weights.inventory());
  const std::filesystem::path weights = folder.path() / "model.safetensors";
  {
    SafetensorsWriter writer(weights, run.outline(),
                             {{"format", "pt"},
                              {"whittle.version", version},
                              {"whittle.recipe", recipe.text()},
                              {"whittle.method", "round to nearest, scales by least squared error"}});
    run.write(writer, report);
    writer.finish();
  }
  file.check_unchanged();
  report.source_bytes = file.disk_bytes();
  report.written_bytes = static_cast<int64_t>(std::filesystem::file_size(weights));

  nlohmann::json config = file.config();
  config["quantization_config"] = quantization_config_json(plan.modules, plan.kept);
  if (!plan.copies.empty()) config["tie_word_embeddings"] = false;
  folder.commit(config);
  return report;
}

}  // namespace whittle
