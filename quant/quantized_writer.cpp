#include "quant/quantized_writer.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/files/bitmask.h"
#include "engine/files/compressed_tensors.h"
#include "engine/files/float_tensor.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/weight_checks.h"

namespace whittle {
namespace {

std::string module_of(const TensorView& tensor) { return tensor.name.substr(0, tensor.name.rfind('.')); }

bool used(const QuantizationPlan& plan, const TensorView& tensor) {
  return module_of(tensor) != plan.unused && !plan.buffers.contains(tensor.name);
}

bool kept(const QuantizationPlan& plan, const TensorView& tensor) {
  return used(plan, tensor) && (!tensor.name.ends_with(".weight") || !plan.find(module_of(tensor)));
}

}  // namespace

std::vector<TensorInfo> outline(const FolderWeights& source, const QuantizationPlan& plan) {
  const ModelFile& file = source.file();
  std::vector<TensorInfo> tensors;
  for (const TensorView& tensor : file.tensors())
    if (kept(plan, tensor)) tensors.push_back({tensor.name, tensor.dtype, tensor.shape});
  for (const auto& [target, from] : plan.copies)
    if (!plan.find(target)) {
      const TensorView& tensor = file.get(from + ".weight");
      tensors.push_back({target + ".weight", tensor.dtype, tensor.shape});
    }
  for (const PlannedModule& module : plan.modules) {
    const SparseStorage storage = plan.storage_of(module);
    std::vector<TensorInfo> parts;
    if (module.quantized()) {
      const Module& from = *source.inventory().find(plan.source_of(module.name));
      parts = quantized_tensors(module.name, module.scheme, from.rows, from.cols, scale_dtype(module.scheme),
                                storage);
    } else {
      const TensorView& tensor = file.get(module.name + ".weight");
      if (storage == SparseStorage::none)
        parts = {{tensor.name, tensor.dtype, tensor.shape}};
      else
        parts = bitmask_tensors(module.name, storage, tensor.dtype, tensor.shape[0], tensor.shape[1]);
    }
    std::ranges::move(parts, std::back_inserter(tensors));
  }
  return tensors;
}

QuantizedWriter::QuantizedWriter(const FolderWeights& source, const QuantizationPlan& plan, Method& method,
                                 const Team& team, const StageProgress& progress)
    : source_(source), file_(source.file()), plan_(plan), method_(method), team_(team), progress_(progress) {
  for (const TensorView& tensor : file_.tensors())
    if (used(plan, tensor)) total_bytes_ += static_cast<int64_t>(tensor.bytes.size());
  for (const auto& [target, from] : plan.copies)
    total_bytes_ += static_cast<int64_t>(file_.get(from + ".weight").bytes.size());
}

QuantizedWeights QuantizedWriter::write(SafetensorsWriter& writer) {
  for (const TensorView& tensor : file_.tensors())
    if (kept(plan_, tensor)) copy(tensor, tensor.name, writer);
  for (const auto& [target, source] : plan_.copies)
    if (!plan_.find(target)) copy(file_.get(source + ".weight"), target + ".weight", writer);
  for (const PlannedModule& module : plan_.modules) write_module(module, writer);
  written_.modules = static_cast<int64_t>(plan_.modules.size());
  written_.bits_per_weight = 8.0 * static_cast<double>(stored_bytes_) / static_cast<double>(weights_);
  written_.relative_error = power_ > 0 ? error_ / power_ : 0;
  written_.zeros = pruned_ ? static_cast<double>(zeros_) / static_cast<double>(pruned_) : 0;
  std::ranges::stable_sort(written_.output_errors, std::ranges::greater(),
                           &QuantizedWeights::ModuleError::relative);
  return std::move(written_);
}

void QuantizedWriter::advance(const TensorView& tensor, const std::string& module) {
  check_interrupted();
  done_bytes_ += static_cast<int64_t>(tensor.bytes.size());
  progress_(done_bytes_, total_bytes_, module);
}

bool QuantizedWriter::write_changed(const TensorView& tensor, const std::string& name,
                                    SafetensorsWriter& writer) {
  const Module* module = source_.inventory().find(module_of(tensor));
  const WeightSource* changed = module ? method_.changed(*module) : nullptr;
  if (!changed) return false;
  std::vector<float> values;
  if (tensor.name.ends_with(".bias")) {
    values = changed->bias(*module);
  } else if (!module->matrix()) {
    values = changed->weight_vector(*module);
  } else {
    WeightMatrix matrix = changed->matrix(*module);
    if (module->transposed) matrix = transpose(matrix);
    values.resize(static_cast<size_t>(matrix.rows * matrix.cols));
    team_.for_each(matrix.rows,
                   [&](int64_t row) { matrix.decode_row(row, values.data() + row * matrix.cols); });
    changed->release(matrix);
  }
  if (std::ssize(values) != tensor.elements())
    fail("{}: {} values have become {}", quote(tensor.name), tensor.elements(), values.size());
  const std::vector<std::byte> bytes = float_bytes(values, tensor.dtype);
  const std::vector<float> stored = decode_floats(bytes, tensor.dtype);
  require_finite(stored.data(), tensor.elements(), tensor, 0);
  writer.write(name, bytes);
  advance(tensor, name);
  return true;
}

void QuantizedWriter::copy(const TensorView& tensor, const std::string& name, SafetensorsWriter& writer) {
  if (write_changed(tensor, name, writer)) return;
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

void QuantizedWriter::count_zeros(const WeightMatrix& matrix) {
  std::vector<int64_t> zeros(static_cast<size_t>(matrix.rows));
  team_.for_each(matrix.rows, [&](int64_t row) {
    std::vector<float> values(static_cast<size_t>(matrix.cols));
    matrix.decode_row(row, values.data());
    zeros[static_cast<size_t>(row)] = std::ranges::count(values, 0.0f);
  });
  zeros_ += std::accumulate(zeros.begin(), zeros.end(), int64_t{0});
  pruned_ += matrix.rows * matrix.cols;
}

int64_t QuantizedWriter::write_floats(const PlannedModule& module, const WeightMatrix& matrix,
                                      SafetensorsWriter& writer) {
  const TensorView& before = file_.get(module.name + ".weight");
  if (const SparseStorage storage = plan_.storage_of(module); storage != SparseStorage::none)
    return write_bitmask(writer, module.name, storage, before.dtype, matrix.rows, matrix.cols, matrix.codes,
                         &team_);
  writer.write(before.name, matrix.codes);
  return std::ssize(matrix.codes);
}

void QuantizedWriter::write_module(const PlannedModule& module, SafetensorsWriter& writer) {
  const Module& source = *source_.inventory().find(plan_.source_of(module.name));
  const QuantizationScheme& scheme = module.scheme;
  require_finite_weights(source_, source, team_);
  const QuantizedMatrix quantized = method_.quantize(source, scheme);
  require_scales(quantized, file_.get(source.name + ".weight"));
  if (quantized.scale_type == DType::BF16) writer.make_bf16(module.name + ".weight_scale");
  error_ += quantized.error;
  power_ += quantized.power;
  const WeightMatrix& matrix = quantized.matrix;
  if (module.quantized())
    stored_bytes_ += write_quantized(writer, module.name, scheme, matrix, quantized.scale_type,
                                     plan_.storage_of(module), &team_);
  else
    stored_bytes_ += write_floats(module, source.transposed ? transpose(matrix) : matrix, writer);
  if (module.sparsity) count_zeros(matrix);
  weights_ += matrix.rows * matrix.cols;
  if (quantized.output_error > 0 || quantized.input_error > 0)
    written_.output_errors.push_back({module.name, quantized.output_error, quantized.input_error});
  advance(file_.get(source.name + ".weight"), module.name);
}

}  // namespace whittle
