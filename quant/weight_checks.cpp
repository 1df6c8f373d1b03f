#include "quant/weight_checks.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// Whether a scale for these values could be out of reach. It is a small part of the largest.
bool far_out(const float* values, int64_t count) {
  constexpr float near = 0x1p-100f, far = 0x1p120f;
  float top = 0;
  for (int64_t k = 0; k < count; ++k) top = std::max(top, std::abs(values[k]));
  return top != 0 && (top < near || top > far);
}

// How a row fits; where no group is far out it does.
RowFit fit_of(const std::vector<float>& row, const QuantizationScheme& scheme, DType scale_type) {
  const auto cols = std::ssize(row);
  const int64_t group_size = scheme.group_size ? scheme.group_size : cols;
  bool doubtful = false;
  for (int64_t begin = 0; begin < cols; begin += group_size)
    doubtful |= far_out(row.data() + begin, std::min(group_size, cols - begin));
  if (!doubtful) return {};
  QuantizedMatrix out = empty_matrix(scheme, 1, cols, scale_type);
  return round_row(
      row.data(), cols, scheme, scale_type,
      {out.codes(0), out.matrix.scales.data(), scheme.symmetric ? nullptr : out.matrix.zero_points.data()});
}

}  // namespace

void require_finite(const float* values, int64_t count, const TensorView& tensor, int64_t first,
                    int64_t step) {
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

void require_finite_model(const FolderWeights& source, const Team& team) {
  for (const Module& module : source.inventory().modules())
    if (module.matrix()) {
      require_finite_weights(source, module, team);
      source.file().drop_pages(source.file().get(module.name + ".weight").bytes);
    }
}

void require_scales(const QuantizedMatrix& quantized, const TensorView& tensor) {
  if (quantized.fit == ScaleFit::lost)
    fail("{}: tensor {}: row {}, group {}: no scale in {} stands for weights of this size",
         tensor.file->string(), quote(tensor.name), quantized.row, quantized.group,
         name(quantized.scale_type));
}

void require_scales(const FolderWeights& source, const WeightSource& weights, const QuantizationPlan& plan,
                    const Team& team) {
  for (const QuantizedModule& planned : plan.quantized()) {
    const Module& module = *source.inventory().find(plan.source_of(planned.name));
    const WeightMatrix matrix = weights.matrix(module);
    QuantizedMatrix found;
    found.scale_type = widest_scale_dtype(planned.scheme);
    std::vector<RowFit> fits(static_cast<size_t>(matrix.rows));
    team.for_each(matrix.rows, [&](int64_t row) {
      if (interrupted()) return;
      std::vector<float> values(static_cast<size_t>(matrix.cols));
      matrix.decode_row(row, values.data());
      fits[static_cast<size_t>(row)] = fit_of(values, planned.scheme, found.scale_type);
    });
    check_interrupted();
    weights.release(matrix);
    const auto lost = std::ranges::find(fits, ScaleFit::lost, &RowFit::fit);
    if (lost == fits.end()) continue;
    found.fit = lost->fit;
    found.row = lost - fits.begin();
    found.group = lost->group;
    require_scales(found, source.file().get(module.name + ".weight"));
  }
}

}  // namespace whittle
