#include "engine/files/sparse_codes.h"

#include <algorithm>
#include <cstring>

#include "engine/files/mask_bits.h"
#include "engine/files/model_file.h"
#include "engine/files/tensor_checks.h"
#include "kernels/error.h"

namespace whittle {

namespace {

int64_t stream_bytes(WeightFormat format, int64_t codes) { return (codes * info(format).bits + 7) / 8; }

// Where the stream of each row begins; behind the last one: the bytes of all.
std::vector<int64_t> stream_begins(WeightFormat format, const std::vector<int64_t>& counts) {
  std::vector<int64_t> bytes(counts.size());
  std::ranges::transform(counts, bytes.begin(), [&](int64_t count) { return stream_bytes(format, count); });
  return sums_before(bytes);
}

// The code that stands for zero.
float zero_code(const WeightMatrix& matrix, int64_t row, int64_t col) {
  if (matrix.zero_points.empty()) return 0;
  return matrix.zero_points[static_cast<size_t>(row * matrix.groups() + col / matrix.group_size)];
}

}  // namespace

WeightMatrix read_sparse_codes(const ModelFile& file, const std::string& module, WeightMatrix matrix,
                               const Team* team) {
  const int64_t rows = matrix.rows, cols = matrix.cols;
  const WeightFormat format = matrix.format;
  const TensorView& shape = expect(file.get(module + ".weight_shape"), DType::I64, {3});
  const TensorView& mask = checked_mask(file.get(module + ".weight_bitmask"), rows, cols);
  const std::vector<int64_t> counts = count_marked(mask.bytes.data(), rows, cols, team);
  expect_values(shape, {rows, cols, sums_before(counts).back()});
  const std::vector<int64_t> begins = stream_begins(format, counts);
  const TensorView& kept = expect(file.get(module + ".weight_codes"), DType::U8, {begins.back()});
  std::vector<std::byte> codes(static_cast<size_t>(rows * row_bytes(format, cols)));
  for_each(team, rows, [&](int64_t row) {
    const int64_t count = counts[static_cast<size_t>(row)], begin = begins[static_cast<size_t>(row)],
                  bytes = stream_bytes(format, count), last_bits = count * info(format).bits % 8;
    std::vector<std::byte> stream(static_cast<size_t>(row_bytes(format, count)));
    std::copy_n(kept.bytes.data() + begin, bytes, stream.data());
    if (last_bits && static_cast<unsigned>(stream[static_cast<size_t>(bytes - 1)]) >> last_bits)
      fail("{}: row {}: bits behind its {} codes", label(kept), row, count);
    std::vector<float> marked(static_cast<size_t>(count)), values(static_cast<size_t>(cols));
    if (count) info(format).decode_row(stream.data(), count, marked.data());
    for (int64_t col = 0; col < cols; ++col) values[static_cast<size_t>(col)] = zero_code(matrix, row, col);
    const float* next = marked.data();
    for_each_marked(mask.bytes.data() + row * mask_row_bytes(cols), cols,
                    [&](int64_t col) { values[static_cast<size_t>(col)] = *next++; });
    info(format).encode_row(values.data(), cols, codes.data() + row * row_bytes(format, cols));
  });
  file.drop_pages(kept.bytes);
  file.drop_pages(mask.bytes);
  return with_codes(std::move(matrix), std::move(codes));
}

std::vector<TensorInfo> sparse_code_tensors(const std::string& module, WeightFormat format, int64_t rows,
                                            int64_t cols) {
  return {{module + ".weight_bitmask", DType::U8, {rows, mask_row_bytes(cols)}},
          {module + ".weight_codes", DType::U8, {rows * stream_bytes(format, cols)}},
          {module + ".weight_shape", DType::I64, {3}}};
}

int64_t write_sparse_codes(SafetensorsWriter& writer, const std::string& module, const WeightMatrix& matrix,
                           const Team* team) {
  const int64_t rows = matrix.rows, cols = matrix.cols, stride = mask_row_bytes(cols);
  const WeightFormat format = matrix.format;
  std::vector<std::byte> mask(static_cast<size_t>(rows * stride));
  const auto codes_of = [&](int64_t row) {
    std::vector<float> values(static_cast<size_t>(cols));
    info(format).decode_row(matrix.codes.data() + row * row_bytes(format, cols), cols, values.data());
    return values;
  };
  for_each(team, rows, [&](int64_t row) {
    const std::vector<float> values = codes_of(row);
    for (int64_t col = 0; col < cols; ++col)
      if (values[static_cast<size_t>(col)] != zero_code(matrix, row, col))
        mark(mask.data() + row * stride, col);
  });
  const std::vector<int64_t> counts = count_marked(mask.data(), rows, cols, team);
  const std::vector<int64_t> begins = stream_begins(format, counts);
  std::vector<std::byte> kept(static_cast<size_t>(begins.back()));
  for_each(team, rows, [&](int64_t row) {
    const std::vector<float> values = codes_of(row);
    std::vector<float> marked;
    for_each_marked(mask.data() + row * stride, cols,
                    [&](int64_t col) { marked.push_back(values[static_cast<size_t>(col)]); });
    if (marked.empty()) return;
    std::vector<std::byte> stream(static_cast<size_t>(row_bytes(format, std::ssize(marked))));
    info(format).encode_row(marked.data(), std::ssize(marked), stream.data());
    std::copy_n(stream.data(), stream_bytes(format, std::ssize(marked)),
                kept.data() + begins[static_cast<size_t>(row)]);
  });
  const int64_t shape[] = {rows, cols, sums_before(counts).back()};
  writer.shrink(module + ".weight_codes", {std::ssize(kept)});
  writer.write(module + ".weight_codes", kept);
  writer.write(module + ".weight_bitmask", mask);
  writer.write(module + ".weight_shape", std::as_bytes(std::span(shape)));
  return std::ssize(kept) + std::ssize(mask) + static_cast<int64_t>(sizeof shape);
}

}  // namespace whittle
