#pragma once
// Random weights of which many codes are zero.

#include <algorithm>

#include "kernels/sparse_weight.h"
#include "tests/support/reference_kernels.h"

namespace whittle::test {

struct SparseForm {
  WeightFormat format;
  Packing packing;
  int64_t kept = 0, of = 0;  // N of M; 0: anywhere
  std::string name() const { return fmt::format("{} {}", info(format).name, whittle::name(packing)); }
};
inline constexpr SparseForm sparse_forms[] = {{WeightFormat::int8, Packing::two_of_four, 2, 4},
                                              {WeightFormat::int8, Packing::four_of_eight, 4, 8},
                                              {WeightFormat::int8, Packing::masked},
                                              {WeightFormat::int4, Packing::two_of_four, 2, 4},
                                              {WeightFormat::int4, Packing::four_of_eight, 4, 8}};

// The same weight with other codes: change(row, codes of the row).
template <class Change>
void change_codes(OwnedWeight& weight, Change change) {
  const WeightFormatInfo& format = info(weight.matrix.format);
  for (int64_t n = 0; n < weight.matrix.rows; ++n) {
    std::vector<float> codes = weight.codes(n);
    change(n, codes);
    format.encode_row(codes.data(), weight.matrix.cols,
                      weight.bytes.data() + n * row_bytes(weight.matrix.format, weight.matrix.cols));
  }
}

// Zeros of so many percent of the codes, of all codes of every fifth row unless not wanted, and as many more
// as the form's pattern asks for, at random places.
inline OwnedWeight make_sparse(const SparseForm& form, WeightSpec spec, int percent, Random& random,
                               bool empty_rows = true) {
  spec.format = form.format;
  OwnedWeight weight = make_weight(spec, random);
  change_codes(weight, [&](int64_t n, std::vector<float>& codes) {
    for (float& code : codes)
      if ((empty_rows && n % 5 == 4) || random.integer(1, 100) <= percent) code = 0;
    for (size_t first = 0; form.of && first < codes.size(); first += static_cast<size_t>(form.of)) {
      const std::span<float> group(codes.begin() + static_cast<int64_t>(first),
                                   std::min(codes.size() - first, static_cast<size_t>(form.of)));
      while (std::ssize(group) - std::ranges::count(group, 0.0f) > form.kept)
        group[static_cast<size_t>(random.integer(0, static_cast<int>(group.size()) - 1))] = 0;
    }
  });
  return weight;
}

}  // namespace whittle::test
