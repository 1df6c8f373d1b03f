#include "engine/files/bitmask.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "engine/files/json_file.h"
#include "engine/files/mask_bits.h"
#include "engine/files/model_file.h"
#include "engine/files/tensor_checks.h"
#include "kernels/error.h"

namespace whittle {

namespace {

// Of sparse-24-bitmask: so many stay of so many.
constexpr int64_t kept_of_group = 2, group = 4;

std::vector<int64_t> stored_shape_of_shape(SparseStorage storage) {
  return storage == SparseStorage::bitmask_24 ? std::vector<int64_t>{2, 1} : std::vector<int64_t>{2};
}

void check_shape(const TensorView& shape, int64_t rows, int64_t cols) {
  // Both forms were written with either.
  if (shape.shape == std::vector<int64_t>{2, 1})
    expect(shape, DType::I64, {2, 1});
  else
    expect(shape, DType::I64, {2});
  expect_values(shape, {rows, cols});
}

void check_groups(const TensorView& mask, int64_t rows, int64_t cols) {
  if (cols % group != 0) fail("{}: {} columns are no groups of {}", label(mask), cols, group);
  const int64_t stride = mask_row_bytes(cols);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t col = 0; col < cols; col += group) {
      const auto byte = static_cast<unsigned>(mask.bytes[static_cast<size_t>(row * stride + col / 8)]);
      const int found = std::popcount((byte >> (col % 8)) & 0xfu);
      if (found != kept_of_group)
        fail("{}: row {}, columns {} to {}: expected {} of {} marked, found {}", label(mask), row, col,
             col + group - 1, kept_of_group, group, found);
    }
}

void check_offsets(const TensorView& offsets, const std::vector<int64_t>& before) {
  const auto rows = std::ssize(before) - 1;
  expect(offsets, DType::I64, {rows});
  for (int64_t row = 0; row < rows; ++row) {
    int64_t stored = 0;
    std::memcpy(&stored, offsets.bytes.data() + row * 8, sizeof stored);
    if (stored != before[static_cast<size_t>(row)])
      fail("{}: row {}: expected {}, as the mask has it, found {}", label(offsets), row,
           before[static_cast<size_t>(row)], stored);
  }
}

// Elements of any type by their bits.
template <class Bits>
struct Elements {
  static Bits at(const std::byte* elements, int64_t index) {
    Bits bits;
    std::memcpy(&bits, elements + index * static_cast<int64_t>(sizeof bits), sizeof bits);
    return bits;
  }

  static void spread(const std::byte* mask, const std::byte* kept, int64_t cols, std::byte* row) {
    constexpr auto size = static_cast<int64_t>(sizeof(Bits));
    for_each_marked(mask, cols, [&](int64_t col) {
      std::memcpy(row + col * size, kept, sizeof(Bits));
      kept += size;
    });
  }

  static void gather(const std::byte* mask, const std::byte* row, int64_t cols, std::byte* kept) {
    constexpr auto size = static_cast<int64_t>(sizeof(Bits));
    for_each_marked(mask, cols, [&](int64_t col) {
      std::memcpy(kept, row + col * size, sizeof(Bits));
      kept += size;
    });
  }

  static void mark_set(const std::byte* row, int64_t cols, std::byte* mask) {
    for (int64_t col = 0; col < cols; ++col)
      if (at(row, col)) mark(mask, col);
  }
};

struct ElementFunctions {
  void (*spread)(const std::byte* mask, const std::byte* kept, int64_t cols, std::byte* row);
  void (*gather)(const std::byte* mask, const std::byte* row, int64_t cols, std::byte* kept);
  void (*mark_set)(const std::byte* row, int64_t cols, std::byte* mask);
};
template <class Bits>
constexpr ElementFunctions functions = {Elements<Bits>::spread, Elements<Bits>::gather,
                                        Elements<Bits>::mark_set};

const ElementFunctions& functions_of(DType dtype) {
  assert(bits(dtype) == 8 || bits(dtype) == 16 || bits(dtype) == 32);
  return bits(dtype) == 8    ? functions<uint8_t>
         : bits(dtype) == 16 ? functions<uint16_t>
                             : functions<uint32_t>;
}

// Zeros are marked, too, until each group has its two. Whether one has more.
bool fill_groups(std::byte* mask, int64_t cols) {
  for (int64_t col = 0; col < cols; col += group) {
    const auto found = [&] { return (static_cast<unsigned>(mask[col / 8]) >> (col % 8)) & 0xfu; };
    for (int64_t i = 0; std::popcount(found()) < kept_of_group; ++i) mark(mask, col + i);
    if (std::popcount(found()) > kept_of_group) return false;
  }
  return true;
}

}  // namespace

std::vector<std::byte> read_bitmask(const ModelFile& file, const std::string& module, SparseStorage storage,
                                    DType dtype, int64_t rows, int64_t cols, const Team* team) {
  check_shape(file.get(module + ".shape"), rows, cols);
  const TensorView& mask = checked_mask(file.get(module + ".bitmask"), rows, cols);
  const TensorView& kept = file.get(module + ".compressed");
  const std::vector<int64_t> before = sums_before(count_marked(mask.bytes.data(), rows, cols, team));
  if (storage == SparseStorage::bitmask_24) {
    check_groups(mask, rows, cols);
    if (const TensorView* offsets = file.find(module + ".row_offsets"))
      fail("{}: sparse-24-bitmask has none", label(*offsets));
    expect(kept, dtype, {rows, cols / group * kept_of_group});
  } else {
    expect(kept, dtype, {before.back()});
    check_offsets(file.get(module + ".row_offsets"), before);
  }
  const int64_t size = bits(dtype) / 8, stride = mask_row_bytes(cols);
  std::vector<std::byte> elements(static_cast<size_t>(rows * cols * size));
  for_each(team, rows, [&](int64_t row) {
    functions_of(dtype).spread(mask.bytes.data() + row * stride,
                               kept.bytes.data() + before[static_cast<size_t>(row)] * size, cols,
                               elements.data() + row * cols * size);
  });
  file.drop_pages(kept.bytes);
  file.drop_pages(mask.bytes);
  return elements;
}

std::vector<TensorInfo> bitmask_tensors(const std::string& module, SparseStorage storage, DType dtype,
                                        int64_t rows, int64_t cols) {
  const bool groups = storage == SparseStorage::bitmask_24;
  const std::vector<int64_t> kept =
      groups ? std::vector{rows, cols / group * kept_of_group} : std::vector{rows * cols};
  std::vector<TensorInfo> tensors = {{module + ".compressed", dtype, kept},
                                     {module + ".bitmask", DType::U8, {rows, mask_row_bytes(cols)}},
                                     {module + ".shape", DType::I64, stored_shape_of_shape(storage)}};
  if (!groups) tensors.push_back({module + ".row_offsets", DType::I64, {rows}});
  return tensors;
}

int64_t write_bitmask(SafetensorsWriter& writer, const std::string& module, SparseStorage storage,
                      DType dtype, int64_t rows, int64_t cols, std::span<const std::byte> elements,
                      const Team* team) {
  const bool groups = storage == SparseStorage::bitmask_24;
  const int64_t size = bits(dtype) / 8, stride = mask_row_bytes(cols);
  std::vector<std::byte> mask(static_cast<size_t>(rows * stride));
  for_each(team, rows, [&](int64_t row) {
    functions_of(dtype).mark_set(elements.data() + row * cols * size, cols, mask.data() + row * stride);
    if (groups && !fill_groups(mask.data() + row * stride, cols))
      fail("{}: row {} has more than {} of {} weights", quote(module), row, kept_of_group, group);
  });
  const std::vector<int64_t> before = sums_before(count_marked(mask.data(), rows, cols, team));
  std::vector<std::byte> kept(static_cast<size_t>(before.back() * size));
  for_each(team, rows, [&](int64_t row) {
    functions_of(dtype).gather(mask.data() + row * stride, elements.data() + row * cols * size, cols,
                               kept.data() + before[static_cast<size_t>(row)] * size);
  });
  const int64_t shape[] = {rows, cols};
  if (!groups) {
    writer.shrink(module + ".compressed", {before.back()});
    writer.write(module + ".row_offsets", std::as_bytes(std::span(before).first(static_cast<size_t>(rows))));
  }
  writer.write(module + ".compressed", kept);
  writer.write(module + ".bitmask", mask);
  writer.write(module + ".shape", std::as_bytes(std::span(shape)));
  return std::ssize(kept) + std::ssize(mask) + 16 + (groups ? 0 : 8 * rows);
}

}  // namespace whittle
