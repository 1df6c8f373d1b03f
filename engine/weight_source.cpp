#include "engine/weight_source.h"

#include <cstring>

#include "engine/files/open_options.h"

namespace whittle {
namespace {

// The values that codes stand for, as a matrix of its own.
WeightMatrix as_floats(const WeightMatrix& codes) {
  std::vector<std::byte> values(static_cast<size_t>(codes.rows * codes.cols) * sizeof(float));
  std::vector<float> row(static_cast<size_t>(codes.cols));
  for (int64_t i = 0; i < codes.rows; ++i) {
    codes.decode_row(i, row.data());
    std::memcpy(values.data() + static_cast<size_t>(i) * row.size() * sizeof(float), row.data(),
                row.size() * sizeof(float));
  }
  WeightMatrix matrix;
  matrix.format = WeightFormat::f32;
  matrix.rows = codes.rows;
  matrix.cols = codes.cols;
  matrix.owned = std::make_shared<const std::vector<std::byte>>(std::move(values));
  matrix.codes = *matrix.owned;
  return matrix;
}

}  // namespace

FolderWeights::FolderWeights(const std::filesystem::path& folder)
    : file_(folder), spec_(read_model_spec(file_)), inventory_(inventory_of(file_, spec_)) {}

// A tied embedding is the head, too.
bool FolderWeights::is_head_or_linear(const Module& module) const {
  return module.kind() == ModuleKind::linear || &module == &inventory_.head();
}

WeightMatrix FolderWeights::matrix(const Module& module) const {
  if (float_inputs_kept() && is_head_or_linear(module) && file_.wants_float_inputs(module.name)) {
    const WeightMatrix codes = file_.weight(module.name, module.rows, module.cols);
    WeightMatrix values = as_floats(codes);
    file_.drop_pages(codes.codes);
    return values;
  }
  // Codes always lie as [outputs, inputs].
  if (!module.transposed || file_.is_quantized(module.name))
    return file_.weight(module.name, module.rows, module.cols);
  const WeightMatrix stored = file_.weight(module.name, module.cols, module.rows);
  WeightMatrix turned = transpose(stored);
  file_.drop_pages(stored.codes);  // release() sees only the copy
  return turned;
}

std::vector<float> FolderWeights::weight_vector(const Module& norm) const {
  return file_.vector(norm.name + ".weight", norm.cols);
}

std::vector<float> FolderWeights::bias(const Module& module) const {
  return file_.vector(module.name + ".bias", module.matrix() ? module.rows : module.cols);
}

int64_t FolderWeights::activation_group_size(const Module& linear) const {
  return file_.activation_group_size(linear.name);
}

void FolderWeights::release(const WeightMatrix& matrix) const {
  if (!matrix.owned) file_.drop_pages(matrix.codes);
}

}  // namespace whittle
