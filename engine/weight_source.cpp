#include "engine/weight_source.h"

#include "engine/files/open_options.h"

namespace whittle {
FolderWeights::FolderWeights(const std::filesystem::path& folder, const Team* team)
    : file_(folder), spec_(read_model_spec(file_)), inventory_(inventory_of(file_, spec_)), team_(team) {}

// A tied embedding is the head, too.
bool FolderWeights::is_head_or_linear(const Module& module) const {
  return module.kind() == ModuleKind::linear || &module == &inventory_.head();
}

WeightMatrix FolderWeights::matrix(const Module& module) const {
  if (float_inputs_kept() && is_head_or_linear(module) && file_.wants_float_inputs(module.name)) {
    WeightMatrix codes = file_.weight(module.name, module.rows, module.cols, team_);
    if (!info(codes.format).quantized) return codes;
    WeightMatrix values = decode(codes, {}, team_);
    file_.drop_pages(codes.codes);
    return values;
  }
  // Codes always lie as [outputs, inputs].
  if (!module.transposed || file_.is_quantized(module.name))
    return file_.weight(module.name, module.rows, module.cols, team_);
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
