#include "kernels/packing_probe.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>
#include <vector>

#include "kernels/matmul.h"

namespace whittle {
namespace {

// A weight whose panels are all the one that `panel` has.
PackedWeight repeat(const PackedWeight& panel, int64_t times, const Team& team) {
  const auto copies = [&]<class T>(const Buffer<T>& one, int64_t size, Buffer<T>& many) {
    if (one.size() == 0) return;
    many = Buffer<T>(times * size + one.size() - size, true);  // and what a masked panel is followed by
    team.for_each(times, [&](int64_t i) {
      std::memcpy(many.data() + i * size, one.data(), static_cast<size_t>(size) * sizeof(T));
    });
  };
  PackedWeight many{static_cast<const PackedLayout&>(panel)};
  many.rows = times * panel_rows;
  const int64_t bytes = panel.panel_starts.size() ? panel.panel_starts[1] : panel.panel_bytes;
  copies(panel.panels, bytes, many.panels);
  copies(panel.row_header, panel.row_header.size(), many.row_header);
  copies(panel.row_sums, panel.row_sums.size(), many.row_sums);
  if (panel.panel_starts.size()) {
    many.panel_starts = Buffer<int64_t>(times + 1);
    for (int64_t i = 0; i <= times; ++i) many.panel_starts[i] = i * bytes;
  }
  return many;
}

int64_t cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

// What a product takes of the threads' time. While other processes have the CPU it does not pass.
double cpu_time(const PackedWeight& w, const QuantizedRows& x, const Team& team, std::vector<float>& y) {
  std::atomic<int64_t> taken = 0;
  team.run([&](const Worker& worker) {
    worker.hand_out(w.panel_count(), [&](Range panels) {
      const int64_t start = cpu_ns();
      matmul(w, x, panels, {y.data(), static_cast<int64_t>(y.size())});
      taken += cpu_ns() - start;
    });
  });
  return static_cast<double>(taken);
}

}  // namespace

double probe_packing(const WeightMatrix& matrix, Packing packing, int64_t activation_group_size,
                     int64_t dense_bytes, const Team& team) {
  std::vector<int64_t> rows(static_cast<size_t>(std::min(panel_rows, matrix.rows)));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
  const WeightMatrix first = take_rows(matrix, rows);
  const PackedWeight dense_panel = pack(first);
  const int64_t times = std::clamp<int64_t>(dense_bytes / dense_panel.bytes(), 2 * team.size(), most_items);
  const PackedWeight dense = repeat(dense_panel, times, team),
                     sparse = repeat(pack(first, packing), times, team);

  const int64_t group = !dense.row_scaled() ? dense.group_size
                        : activation_group_size
                            ? round_up(activation_group_size, group_multiple(dense.format))
                            : dense.padded_cols;
  std::vector<int8_t> codes(static_cast<size_t>(dense.padded_cols), 1);
  QuantizedRows x{1, dense.padded_cols, group, codes.data()};
  std::vector<float> scales(static_cast<size_t>(x.groups()), 1.0f),
      y(static_cast<size_t>(dense.padded_rows()));
  std::vector<int32_t> sums(scales.size(), static_cast<int32_t>(group));
  x.scales = scales.data();
  x.sums = sums.data();

  constexpr int passes = 9;
  std::vector<double> ratios;
  cpu_time(dense, x, team, y);
  for (int i = 0; i < passes; ++i) {
    const double taken = cpu_time(sparse, x, team, y);
    ratios.push_back(cpu_time(dense, x, team, y) / taken);
  }
  std::ranges::nth_element(ratios, ratios.begin() + passes / 2);
  return ratios[passes / 2];
}

}  // namespace whittle
