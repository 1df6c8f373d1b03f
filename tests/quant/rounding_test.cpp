#include "quant/rounding.h"

#include <cmath>
#include <random>

#include "kernels/float16.h"
#include "tests/support/paths.h"

using namespace whittle;

namespace {

struct Rounded {
  std::vector<float> restored;  // (code − zero_point) · scale
  std::vector<float> codes, scales;
  std::vector<int8_t> zero_points;
};

Rounded round(const std::vector<float>& row, const QuantizationScheme& scheme) {
  const auto cols = static_cast<int64_t>(row.size());
  const int64_t group = scheme.group_size ? scheme.group_size : cols;
  const int64_t groups = (cols + group - 1) / group;
  Rounded out;
  out.scales.resize(static_cast<size_t>(groups));
  out.zero_points.resize(scheme.symmetric ? 0 : out.scales.size());
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(scheme.format, cols)));
  round_row(row.data(), cols, scheme, scheme.group_size ? DType::F16 : DType::F32,
            {bytes.data(), out.scales.data(), scheme.symmetric ? nullptr : out.zero_points.data()});
  out.codes.resize(row.size());
  info(scheme.format).decode_row(bytes.data(), cols, out.codes.data());
  for (size_t k = 0; k < row.size(); ++k) {
    const size_t g = k / static_cast<size_t>(group);
    const float zero = scheme.symmetric ? 0.0f : out.zero_points[g];
    out.restored.push_back((out.codes[k] - zero) * out.scales[g]);
  }
  return out;
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i] - b[i]), 2);
  return sum;
}

// What taking the scale from the largest magnitude would lose, group by group.
double absmax_error(const std::vector<float>& row, const QuantizationScheme& scheme) {
  const size_t group = scheme.group_size ? static_cast<size_t>(scheme.group_size) : row.size();
  const auto top_code = static_cast<float>(info(scheme.format).code_max);
  double sum = 0;
  for (size_t begin = 0; begin < row.size(); begin += group) {
    const size_t end = std::min(begin + group, row.size());
    float top = 0;
    for (size_t k = begin; k < end; ++k) top = std::max(top, std::fabs(row[k]));
    const float scale = top / top_code;
    for (size_t k = begin; k < end && top > 0; ++k)
      sum += std::pow(static_cast<double>(row[k] - std::rint(row[k] / scale) * scale), 2);
  }
  return sum;
}

std::vector<float> normal_row(int64_t cols, uint64_t seed, float outlier = 0) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> row(static_cast<size_t>(cols));
  for (float& value : row) value = normal(random);
  if (outlier != 0) row[row.size() / 2] = outlier;
  return row;
}

QuantizationScheme scheme_of(WeightFormat format, int64_t group_size, bool symmetric) {
  QuantizationScheme scheme;
  scheme.format = format;
  scheme.strategy = group_size ? ScaleStrategy::group : ScaleStrategy::channel;
  scheme.group_size = group_size;
  scheme.symmetric = symmetric;
  return scheme;
}

std::vector<QuantizationScheme> schemes() {
  std::vector<QuantizationScheme> all;
  for (const bool symmetric : {true, false}) {
    for (const int64_t group : {0, 32, 64, 128})
      all.push_back(scheme_of(WeightFormat::int8, group, symmetric));
    for (const WeightFormat format : {WeightFormat::int6, WeightFormat::int5, WeightFormat::int4})
      for (const int64_t group : {32, 64, 128}) all.push_back(scheme_of(format, group, symmetric));
  }
  return all;
}

}  // namespace

TEST_CASE(
    "Codes are in range, scales as stored, and the error at most that of scaling by the largest magnitude") {
  for (const QuantizationScheme& scheme : schemes()) {
    const WeightFormatInfo& format = info(scheme.format);
    for (const int64_t cols : {1, 3, 31, 33, 172, 576}) {
      for (const float outlier : {0.0f, 0.4f, -0.4f}) {
        CAPTURE(format.name, scheme.group_size, scheme.symmetric, cols, outlier);
        const std::vector<float> row = normal_row(cols, 7, outlier);
        const Rounded out = round(row, scheme);
        for (const float code : out.codes)
          CHECK((static_cast<int>(code) >= format.code_min && static_cast<int>(code) <= format.code_max));
        if (scheme.group_size)
          for (const float scale : out.scales) CHECK(f16_to_float(float_to_f16(scale)) == scale);
        for (const int8_t zero : out.zero_points) CHECK((zero >= format.code_min && zero <= format.code_max));
        // 16-bit scales are off by at most 2⁻¹¹, which the largest code multiplies.
        const double slack = scheme.group_size ? 1e-6 : 0;
        CHECK(squared_error(row, out.restored) <= absmax_error(row, scheme) * 1.001 + slack);
      }
    }
  }
}

TEST_CASE("Clipping an outlier pays at four bits, and a zero point pays for values on one side") {
  const QuantizationScheme symmetric = scheme_of(WeightFormat::int4, 128, true);
  const std::vector<float> with_outlier = normal_row(128, 3, 0.09f);
  CHECK(squared_error(with_outlier, round(with_outlier, symmetric).restored) <
        0.8 * absmax_error(with_outlier, symmetric));
  std::vector<float> one_sided = normal_row(128, 4);
  for (float& value : one_sided) value = std::fabs(value);
  const double with_zero_point =
      squared_error(one_sided, round(one_sided, scheme_of(WeightFormat::int4, 128, false)).restored);
  CHECK(with_zero_point < 0.5 * squared_error(one_sided, round(one_sided, symmetric).restored));
}

TEST_CASE("Zeros stay zeros, and rows of nothing else get a scale of zero") {
  for (const QuantizationScheme& scheme : schemes()) {
    std::vector<float> row = normal_row(256, 5);
    for (size_t k = 0; k < row.size(); k += 3) row[k] = 0;
    const Rounded out = round(row, scheme);
    for (size_t k = 0; k < row.size(); k += 3) CHECK(out.restored[k] == 0);
    const std::vector<float> nothing(256, 0.0f);
    CHECK(round(nothing, scheme).restored == nothing);
  }
}

TEST_CASE("A row that is on the grid comes back exactly") {
  QuantizationScheme scheme = scheme_of(WeightFormat::int4, 32, true);
  std::vector<float> row;
  for (int k = 0; k < 64; ++k) row.push_back(static_cast<float>(k % 16 - 8) * 0.125f);
  CHECK(round(row, scheme).restored == row);
  for (float& value : row) value = -value;  // the extra level on the other side
  CHECK(round(row, scheme).restored == row);
}

TEST_CASE("A power of two in all values changes no code, until scales no longer fit") {
  for (const QuantizationScheme& scheme : schemes()) {
    const DType type = scheme.group_size ? DType::BF16 : DType::F32;
    const int64_t cols = 200, group = scheme.group_size ? scheme.group_size : cols;
    const std::vector<float> row = normal_row(cols, 11, 0.1f);
    const auto rounded = [&](int exponent, RowFit& fit) {
      std::vector<float> values = row, scales(static_cast<size_t>((cols + group - 1) / group));
      for (float& value : values) value = std::ldexp(value, exponent);
      std::vector<int8_t> zero_points(scales.size());
      std::vector<std::byte> codes(static_cast<size_t>(row_bytes(scheme.format, cols)));
      fit = round_row(values.data(), cols, scheme, type,
                      {codes.data(), scales.data(), scheme.symmetric ? nullptr : zero_points.data()});
      return codes;
    };
    RowFit fit;
    const std::vector<std::byte> codes = rounded(0, fit);
    for (int exponent = -100; exponent <= 128; ++exponent) {
      CAPTURE(info(scheme.format).name, scheme.group_size, scheme.symmetric, exponent);
      CHECK(rounded(exponent, fit) == codes);
      CHECK(fit.fit == ScaleFit::good);
    }
    rounded(-140, fit);
    CHECK(fit.fit == ScaleFit::lost);
  }
}

TEST_CASE("How well f16 holds a scale is told, with the group") {
  QuantizationScheme scheme = scheme_of(WeightFormat::int4, 32, true);
  for (const auto& [factor, fit] : {std::pair(1e-12f, ScaleFit::lost), std::pair(1e-5f, ScaleFit::coarse),
                                    std::pair(1.0f, ScaleFit::good), std::pair(1e5f, ScaleFit::good),
                                    std::pair(6e5f, ScaleFit::coarse), std::pair(1e8f, ScaleFit::lost)}) {
    std::vector<float> row(96, 1.0f), scales(3);
    std::vector<std::byte> codes(48);
    for (size_t k = 32; k < 64; ++k) row[k] = factor * static_cast<float>(k - 31) / 32;
    const RowFit found =
        round_row(row.data(), 96, scheme, DType::F16, {codes.data(), scales.data(), nullptr});
    CAPTURE(factor);
    CHECK(found.fit == fit);
    CHECK(found.group == (fit == ScaleFit::good ? 0 : 1));
  }
}
