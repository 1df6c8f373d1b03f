#include "quant/pipeline.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/files/compressed_tensors.h"
#include "engine/files/float_tensor.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "engine/weight_source.h"
#include "kernels/error.h"
#include "quant/calibrated.h"
#include "quant/quantized_matrix.h"

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

void require_finite_weights(const FolderWeights& source, const Module& module, const Team& team) {
  const TensorView& tensor = source.file().get(module.name + ".weight");
  const WeightMatrix weights = source.matrix(module);
  team.for_each(module.rows, [&](int64_t row) {
    if (interrupted()) return;
    std::vector<float> values(static_cast<size_t>(module.cols));
    weights.decode_row(row, values.data());
    if (module.transposed)
      require_finite(values.data(), module.cols, tensor, row, module.rows);
    else
      require_finite(values.data(), module.cols, tensor, row * module.cols);
  });
  check_interrupted();
}

// Vectors are checked as they are read.
void require_finite_model(const FolderWeights& source, const Team& team) {
  for (const Module& module : source.inventory().modules())
    if (module.matrix()) {
      require_finite_weights(source, module, team);
      source.file().drop_pages(source.file().get(module.name + ".weight").bytes);
    }
}

class RoundToNearest final : public Method {
 public:
  RoundToNearest(const WeightSource& source, const Team& team) : source_(source), team_(team) {}
  std::string text() const override { return "round to nearest, scales by least squared error"; }
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override {
    return round_to_nearest(source_, module, scheme, team_);
  }

 private:
  const WeightSource& source_;
  const Team& team_;
};

std::unique_ptr<Method> make_method(const Recipe& recipe, const FolderWeights& source,
                                    const QuantizationPlan& plan, const Calibrate& calibrate,
                                    const Team& team) {
  if (recipe.method == MethodName::rtn) return std::make_unique<RoundToNearest>(source, team);
  return std::make_unique<CalibratedMethod>(source, plan, calibrate(), GptqOptions{}, team);
}

class Run {
 public:
  Run(const FolderWeights& source, const QuantizationPlan& plan, Method& method, const Team& team,
      const Progress& progress)
      : source_(source),
        file_(source.file()),
        plan_(plan),
        method_(method),
        team_(team),
        progress_(progress) {
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

  void quantize_module(const QuantizedModule& module, SafetensorsWriter& writer) {
    const Module& source = source_of(module.name);
    const QuantizationScheme& scheme = module.scheme;
    require_finite_weights(source_, source, team_);
    const QuantizedMatrix quantized = method_.quantize(source, scheme);
    if (quantized.fit == ScaleFit::lost)
      fail("{}: tensor {}: row {}, group {}: no scale in {} stands for weights of this size",
           file_.get(source.name + ".weight").file->string(), quote(source.name + ".weight"), quantized.row,
           quantized.group, name(quantized.scale_type));
    if (quantized.scale_type == DType::BF16) writer.make_bf16(module.name + ".weight_scale");
    error_ += quantized.error;
    power_ += quantized.power;
    const WeightMatrix& matrix = quantized.matrix;
    write_quantized(writer, module.name, scheme, matrix, quantized.scale_type);
    for (const TensorInfo& part :
         quantized_tensors(module.name, scheme, matrix.rows, matrix.cols, quantized.scale_type))
      stored_bytes_ += *tensor_bytes(part.dtype, part.shape);
    weights_ += matrix.rows * matrix.cols;
    advance(file_.get(source.name + ".weight"), module.name);
  }

  const FolderWeights& source_;
  const ModelFile& file_;
  const QuantizationPlan& plan_;
  Method& method_;
  const Team& team_;
  const Progress& progress_;
  int64_t done_bytes_ = 0, total_bytes_ = 0;
  int64_t stored_bytes_ = 0, weights_ = 0;
  double error_ = 0, power_ = 0;
};

}  // namespace

QuantizationReport quantize(const std::filesystem::path& source, const std::filesystem::path& out,
                            const Recipe& recipe, const Calibrate& calibrate, const Team& team,
                            const std::string& version, const Progress& progress) {
  const FolderWeights source_weights(source);
  const ModelFile& file = source_weights.file();
  const QuantizationPlan plan = plan_quantization(recipe, source_weights);
  OutputFolder folder(out);
  folder.copy_side_files(source);

  // A method that looks at inputs runs weights before their turn comes to be written.
  if (recipe.method != MethodName::rtn) require_finite_model(source_weights, team);
  const std::unique_ptr<Method> method = make_method(recipe, source_weights, plan, calibrate, team);
  Run run(source_weights, plan, *method, team, progress);
  QuantizationReport report;
  report.notes = plan.notes(source_weights.inventory());
  const std::filesystem::path weights = folder.path() / "model.safetensors";
  {
    SafetensorsWriter writer(weights, run.outline(),
                             {{"format", "pt"},
                              {"whittle.version", version},
                              {"whittle.recipe", recipe.text()},
                              {"whittle.method", method->text()}});
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
