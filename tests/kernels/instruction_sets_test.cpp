// Every operation of KernelTable gives the same bits on every instruction set, whatever the length and
// whatever the numbers: a model then says the same on every CPU, and quantizing it gives the same file.

#include <functional>

#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr int64_t widths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33, 100, 172, 576, 1000};

// Numbers as a model has them; of every power of two, zeros and subnormals among them; and such with a few
// that are none.
enum class Numbers { usual, any, with_none };
constexpr Numbers all_numbers[] = {Numbers::usual, Numbers::any, Numbers::with_none};

std::vector<float> floats(Numbers numbers, int64_t n, Random& random) {
  // Room for a whole block of floats, as the kernels' buffers have.
  std::vector<float> values = random.floats(round_up(n, float_block), -4, 4);
  if (numbers == Numbers::usual) return values;
  for (float& value : values) value = std::ldexp(value / 4, random.integer(-152, 127));
  values[static_cast<size_t>(random.integer(0, static_cast<int>(n) - 1))] = -0.0f;
  if (numbers == Numbers::any) return values;
  constexpr float none[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 2; ++i)
    values[static_cast<size_t>(random.integer(0, static_cast<int>(n) - 1))] = none[random.integer(0, 2)];
  return values;
}

// What an operation wrote. Which bits a NaN has is left open: instructions differ in which operand's they
// keep.
class Written {
 public:
  void add(const float* values, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      bits_.push_back(std::isnan(values[i]) ? 0x7fc00000u : std::bit_cast<uint32_t>(values[i]));
  }
  template <class Integer>
  void add_integers(const Integer* values, int64_t n) {
    for (int64_t i = 0; i < n; ++i) bits_.push_back(static_cast<uint32_t>(values[i]));
  }
  std::string difference_from(const Written& expected) const {
    return difference(std::span<const uint32_t>(bits_), std::span<const uint32_t>(expected.bits_));
  }

 private:
  std::vector<uint32_t> bits_;
};

void same_everywhere(const std::function<void(const KernelTable&, Written&)>& work) {
  Written expected;
  work(*instruction_sets().back().table, expected);
  for_each_isa([&](const KernelTable& table) {
    Written found;
    work(table, found);
    CHECK(found.difference_from(expected) == "");
  });
}

// Calls test(numbers, n) for all of both, with a few draws each.
void for_each_row(const std::function<void(Numbers, int64_t)>& test) {
  for (const Numbers numbers : all_numbers)
    for (const int64_t n : widths)
      for (int draw = 0; draw < 4; ++draw) {
        INFO("numbers " << static_cast<int>(numbers) << ", n " << n << ", draw " << draw);
        test(numbers, n);
      }
}

}  // namespace

TEST_CASE("Norms give the same bits on every instruction set") {
  Random random(50);
  for_each_row([&](Numbers numbers, int64_t n) {
    const std::vector<float> x = floats(numbers, n, random), weight = random.floats(n),
                             bias = random.floats(n);
    same_everywhere([&](const KernelTable& table, Written& written) {
      std::vector<float> y(static_cast<size_t>(n));
      table.rms_norm(x.data(), weight.data(), n, 1e-5f, y.data());
      written.add(y.data(), n);
      table.layer_norm(x.data(), weight.data(), bias.data(), n, 1e-5f, y.data());
      written.add(y.data(), n);
    });
  });
}

TEST_CASE("Activations, sums and rotations give the same bits on every instruction set") {
  Random random(51);
  for_each_row([&](Numbers numbers, int64_t n) {
    const std::vector<float> x = floats(numbers, n, random), y = floats(numbers, n, random);
    same_everywhere([&](const KernelTable& table, Written& written) {
      for (const auto operation : {table.silu_mul, table.add}) {
        std::vector<float> out = x;
        operation(out.data(), y.data(), n);
        written.add(out.data(), n);
      }
      std::vector<float> out = x;
      table.gelu_tanh(out.data(), n);
      written.add(out.data(), n);
      out = x;
      table.rope(out.data(), y.data(), y.data() + n / 2, n / 2 * 2);
      written.add(out.data(), n);
    });
  });
  // Every power of two that exp comes to, and both ends.
  std::vector<float> sweep, ones(4096, 1.0f);
  for (int i = 0; i < 4096; ++i) sweep.push_back(static_cast<float>(i - 2048) * 0.0478515625f);
  same_everywhere([&](const KernelTable& table, Written& written) {
    std::vector<float> out = sweep;
    table.silu_mul(out.data(), ones.data(), 4096);
    written.add(out.data(), 4096);
  });
}

TEST_CASE("Quantized rows and rounding errors are the same bits on every instruction set") {
  Random random(52);
  for_each_row([&](Numbers numbers, int64_t n) {
    const std::vector<float> x = floats(numbers, n, random);
    const int64_t padded = round_up(n, cols_block);
    for (const int64_t group : {int64_t{8}, int64_t{32}, padded})
      same_everywhere([&](const KernelTable& table, Written& written) {
        OwnedRows rows(1, padded, group);
        table.quantize_row(x.data(), n, rows.view, 0);
        written.add_integers(rows.codes.data(), padded);
        written.add_integers(rows.sums.data(), rows.view.groups());
        written.add(rows.scales.data(), rows.view.groups());
      });
    for (const float scale : {0.05f, 1e-38f, 0.0f})
      same_everywhere([&](const KernelTable& table, Written& written) {
        const float error = table.rounding_error(x.data(), n, scale, 3, -8, 7);
        written.add(&error, 1);
      });
  });
}

TEST_CASE("The KV cache and attention give the same bits on every instruction set") {
  Random random(53);
  constexpr int64_t positions = 150, capacity = 160;
  constexpr int elements[] = {4, 2, 1};
  for (const KvFormat format : {KvFormat::f32, KvFormat::f16, KvFormat::int8})
    for (const int64_t head_dim : {1, 3, 16, 31, 33, 64, 80, 172})
      for (const Numbers numbers : all_numbers) {
        INFO("format " << static_cast<int>(format) << ", head_dim " << head_dim << ", numbers "
                       << static_cast<int>(numbers));
        std::vector<float> keys, values, rows;
        for (int64_t p = 0; p < positions; ++p)
          for (std::vector<float>* all : {&keys, &values}) {
            // One position in eight is of the strange ones: more would leave nothing but NaN.
            const std::vector<float> row =
                floats(random.integer(0, 7) ? Numbers::usual : numbers, head_dim, random);
            all->insert(all->end(), row.begin(), row.begin() + head_dim);
          }
        const std::vector<Range> ranges = {{0, 150}, {0, 149}, {3, 20}, {0, 1}, {140, 150}, {64, 81}};
        for (size_t q = 0; q < ranges.size(); ++q) {
          const std::vector<float> row = random.floats(head_dim);
          rows.insert(rows.end(), row.begin(), row.end());
        }
        same_everywhere([&](const KernelTable& table, Written& written) {
          const int64_t bytes = capacity * head_dim * elements[static_cast<int>(format)];
          std::vector<std::byte> key_bytes(static_cast<size_t>(bytes)), value_bytes(key_bytes);
          std::vector<float> key_scales(capacity), value_scales(capacity);
          const KvHead head{
              format, head_dim, key_bytes.data(), value_bytes.data(), key_scales.data(), value_scales.data()};
          for (int64_t p = 0; p < positions; ++p)
            table.store_kv(head, p, keys.data() + p * head_dim, values.data() + p * head_dim);
          if (format != KvFormat::f32) {  // else NaNs, which attention shows
            written.add_integers(reinterpret_cast<const uint8_t*>(key_bytes.data()), bytes);
            written.add_integers(reinterpret_cast<const uint8_t*>(value_bytes.data()), bytes);
          }
          written.add(key_scales.data(), capacity);
          written.add(value_scales.data(), capacity);
          for (const float slope : {0.0f, 0.3f}) {
            std::vector<float> outputs(rows.size()), scores(static_cast<size_t>(max_queries * capacity));
            std::vector<Query> queries;
            for (size_t q = 0; q < ranges.size(); ++q)
              queries.push_back({rows.data() + q * static_cast<size_t>(head_dim),
                                 outputs.data() + q * static_cast<size_t>(head_dim), ranges[q].begin,
                                 ranges[q].end, slope});
            table.attention(head, queries, scores.data(), capacity);
            written.add(outputs.data(), std::ssize(outputs));
          }
        });
      }
}

TEST_CASE("Products give the same bits on every instruction set") {
  Random random(54);
  for (const WeightFormatInfo& format : weight_formats())
    for (const auto& [outputs, cols] :
         std::initializer_list<std::pair<int64_t, int64_t>>{{1, 1}, {3, 31}, {65, 33}, {172, 129}, {64, 576}})
      for (const int64_t group : {0, 32})
        for (const Numbers numbers : all_numbers) {
          const WeightSpec spec{format.format, outputs, cols, group, group != 0};
          INFO(spec.name() << ", numbers " << static_cast<int>(numbers));
          const OwnedWeight weight = make_weight(spec, random);
          const PackedWeight packed = pack(weight.matrix);
          const int64_t rows = 7, stride = packed.padded_rows();
          std::vector<float> x;
          for (int64_t m = 0; m < rows; ++m) {
            const std::vector<float> row = floats(numbers, cols, random);
            x.insert(x.end(), row.begin(), row.end());
          }
          const int64_t x_stride = std::ssize(x) / rows, padded = packed.padded_cols;
          for (const int64_t count : {int64_t{1}, rows})
            same_everywhere([&](const KernelTable& table, Written& written) {
              std::vector<float> y(static_cast<size_t>(count * stride));
              const Range all{0, packed.panel_count()};
              if (format.quantized) {
                OwnedRows codes(count, padded, group ? group : padded);
                for (int64_t m = 0; m < count; ++m)
                  table.quantize_row(x.data() + m * x_stride, cols, codes.view, m);
                table.matmul_quantized(packed, codes.view, all, {y.data(), stride});
              } else {
                table.matmul_float(packed, {count, x_stride, x.data()}, all, {y.data(), stride});
              }
              for (int64_t m = 0; m < count; ++m) written.add(y.data() + m * stride, outputs);
            });
        }
}

TEST_CASE("Sums made elsewhere are scaled to the same bits on every instruction set") {
  Random random(55);
  for (const bool asymmetric : {false, true}) {
    const OwnedWeight weight = make_weight({WeightFormat::int8, 65, 200, 0, asymmetric}, random);
    const PackedWeight packed = pack(weight.matrix);
    const OwnedRows x = make_rows(5, 200, 0, Fill::random, random);
    std::vector<int32_t> sums(5 * panel_rows);
    for (int32_t& sum : sums) sum = static_cast<int32_t>(random.engine()) / 4;
    same_everywhere([&](const KernelTable& table, Written& written) {
      std::vector<float> y(static_cast<size_t>(5 * packed.padded_rows()));
      for (int64_t panel = 0; panel < 2; ++panel)
        table.scale_sums(packed, x.view, panel, sums.data(), panel_rows, {y.data(), packed.padded_rows()});
      for (int64_t m = 0; m < 5; ++m) written.add(y.data() + m * packed.padded_rows(), 65);
    });
  }
}
