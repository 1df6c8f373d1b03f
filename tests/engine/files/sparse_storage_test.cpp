// Matrices whose zeros are not stored: what is read is what was written, bit for bit, and as few bytes as
// there should be.

#include <catch2/catch.hpp>

#include "engine/files/bitmask.h"
#include "engine/files/compressed_tensors.h"
#include "engine/files/model_file.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

const std::string module_name = "model.layers.0.mlp.up_proj";

// At most `keep` of `of` side by side are not zero; of = 0: `keep` percent of all, some rows empty.
struct Pattern {
  int64_t keep, of;
};
constexpr Pattern patterns[] = {{2, 4}, {4, 8}, {1, 16}, {0, 0}, {50, 0}, {100, 0}};
// Rows and columns. Few: every file is brought to the disk.
constexpr std::pair<int64_t, int64_t> shapes[] = {{1, 1},  {1, 172}, {3, 31}, {31, 33},
                                                  {33, 3}, {172, 1}, {3, 32}, {33, 172}};
const Team& team() {
  static const Team two(2);
  return two;
}

bool stays(SplitMix64& random, const Pattern& pattern, int64_t row, int64_t col) {
  if (pattern.of) return col % pattern.of < pattern.keep;
  if (pattern.keep == 50 && row % 5 == 2) return false;
  return static_cast<int64_t>(random.bits() % 100) < pattern.keep;
}

WeightMatrix random_matrix(WeightFormat format, int64_t rows, int64_t cols, const Pattern& pattern,
                           bool symmetric) {
  SplitMix64 random(static_cast<uint64_t>(rows * 1000 + cols));
  WeightMatrix matrix;
  matrix.format = format;
  matrix.rows = rows;
  matrix.cols = cols;
  const WeightFormatInfo& codes = info(format);
  if (codes.quantized) {
    matrix.group_size = bit_packed(format) ? std::min<int64_t>(32, cols) : cols;
    for (int64_t i = 0; i < rows * matrix.groups(); ++i) {
      matrix.scales.push_back(0.25f * static_cast<float>(1 + i % 7));
      if (!symmetric) matrix.zero_points.push_back(static_cast<int8_t>(codes.code_min + i % 5));
    }
  }
  std::vector<std::byte> bytes(static_cast<size_t>(rows * row_bytes(format, cols)));
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<float> values;
    for (int64_t col = 0; col < cols; ++col) {
      float value = random.uniform(-1, 1);
      if (codes.quantized)
        value = static_cast<float>(
            codes.code_min + static_cast<int64_t>(random.bits() % (1u << static_cast<unsigned>(codes.bits))));
      if (!stays(random, pattern, row, col))
        value =
            symmetric
                ? 0
                : matrix.zero_points[static_cast<size_t>(row * matrix.groups() + col / matrix.group_size)];
      values.push_back(value);
    }
    codes.encode_row(values.data(), cols, bytes.data() + row * row_bytes(format, cols));
  }
  return with_codes(std::move(matrix), std::move(bytes));
}

DType dtype_of(WeightFormat format) {
  return format == WeightFormat::f32 ? DType::F32 : format == WeightFormat::f16 ? DType::F16 : DType::BF16;
}

// The bytes of the module in the file, as the writer says.
int64_t write(const fs::path& folder, const WeightMatrix& matrix, SparseStorage storage) {
  QuantizationScheme scheme;
  scheme.format = matrix.format;
  scheme.symmetric = matrix.zero_points.empty();
  if (bit_packed(matrix.format)) {
    scheme.strategy = ScaleStrategy::group;
    scheme.group_size = 32;
  }
  if (storage == SparseStorage::none) scheme.layout = CodeLayout::bitmask;
  const bool quantized = info(matrix.format).quantized;
  const std::vector<TensorInfo> parts =
      quantized ? quantized_tensors(module_name, scheme, matrix.rows, matrix.cols, DType::F32, storage)
                : bitmask_tensors(module_name, storage, dtype_of(matrix.format), matrix.rows, matrix.cols);
  // Before, between and behind: tensors that do not shrink.
  std::vector<TensorInfo> tensors = {{"a", DType::F32, {3}}};
  tensors.insert(tensors.end(), parts.begin(), parts.end());
  tensors.push_back({"b", DType::U8, {5}});
  SafetensorsWriter writer(folder / "model.safetensors", tensors, {});
  const std::vector<float> a = {1, 2, 3};
  writer.write("b", std::as_bytes(std::span("abcde", 5)));
  const int64_t bytes =
      quantized ? write_quantized(writer, module_name, scheme, matrix, DType::F32, storage, &team())
                : write_bitmask(writer, module_name, storage, dtype_of(matrix.format), matrix.rows,
                                matrix.cols, matrix.codes, &team());
  writer.write("a", std::as_bytes(std::span(a)));
  writer.finish();
  std::vector<QuantizedModule> modules;
  if (quantized) modules.push_back({module_name, scheme});
  SparseModules sparse{.storage = storage, .names = {}};
  if (storage != SparseStorage::none) sparse.names.push_back(module_name);
  nlohmann::json config;
  config["quantization_config"] = quantization_config_json(modules, {}, sparse);
  write_text(folder / "config.json", config.dump());
  return bytes;
}

void check_round_trip(const WeightMatrix& matrix, SparseStorage storage) {
  const TemporaryFolder folder;
  const int64_t bytes = write(folder.path(), matrix, storage);
  const ModelFile file(folder.path());
  for (const Team* threads : {static_cast<const Team*>(nullptr), &team()}) {
    const WeightMatrix read = file.weight(module_name, matrix.rows, matrix.cols, threads);
    REQUIRE(read.format == matrix.format);
    REQUIRE(std::ranges::equal(read.codes, matrix.codes));
    REQUIRE(read.scales == matrix.scales);
    REQUIRE(read.zero_points == matrix.zero_points);
    REQUIRE(read.groups() == matrix.groups());
    REQUIRE(read.owned);
  }
  CHECK(file.has_weight(module_name));
  int64_t stored = 0;
  for (const std::string_view part : file.parts(module_name))
    if (const TensorView* tensor = file.find(module_name + "." + std::string(part)))
      stored += std::ssize(tensor->bytes);
  CHECK(stored == bytes);
  CHECK(file.disk_bytes() < stored + 3 * 4 + 5 + 1200);  // and a header
  const std::span<const std::byte> behind = file.get("b").bytes;
  CHECK(std::string(reinterpret_cast<const char*>(behind.data()), behind.size()) == "abcde");
  CHECK(file.vector("a", 3) == std::vector<float>{1, 2, 3});
}

template <class Check>
void for_each_shape(Check check) {
  for (const auto& [rows, cols] : shapes) {
    CAPTURE(rows, cols);
    check(rows, cols);
  }
}

}  // namespace

TEST_CASE("Floats and int8 in sparse forms of compressed-tensors are read as they were written") {
  for (const WeightFormat format :
       {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16, WeightFormat::int8})
    for (const Pattern& pattern : patterns) {
      CAPTURE(info(format).name, pattern.keep, pattern.of);
      for_each_shape([&](int64_t rows, int64_t cols) {
        const WeightMatrix matrix = random_matrix(format, rows, cols, pattern, true);
        check_round_trip(matrix, SparseStorage::bitmask);
        const bool two_of_four = pattern.of == 4 || (pattern.of == 0 && pattern.keep == 0);
        if (two_of_four && cols % 4 == 0) check_round_trip(matrix, SparseStorage::bitmask_24);
      });
    }
}

TEST_CASE("Codes of every format in the sparse layout of ours are read as they were written") {
  for (const WeightFormatInfo& format : weight_formats()) {
    if (!format.quantized) continue;
    for (const bool symmetric : {true, false})
      for (const Pattern& pattern : patterns) {
        CAPTURE(format.name, symmetric, pattern.keep, pattern.of);
        for_each_shape([&](int64_t rows, int64_t cols) {
          check_round_trip(random_matrix(format.format, rows, cols, pattern, symmetric), SparseStorage::none);
        });
      }
  }
}

TEST_CASE("Sparse forms take a bit of mask and the weights that stay") {
  const int64_t rows = 64, cols = 256, weights = rows * cols, scales = rows * 4;
  const auto bytes = [&](WeightFormat format, const Pattern& pattern, SparseStorage storage) {
    const TemporaryFolder folder;
    return write(folder.path(), random_matrix(format, rows, cols, pattern, true), storage);
  };
  CHECK(bytes(WeightFormat::f16, {2, 4}, SparseStorage::bitmask_24) == weights + weights / 8 + 16);
  CHECK(bytes(WeightFormat::int8, {2, 4}, SparseStorage::bitmask_24) ==
        weights / 2 + weights / 8 + 16 + scales);
  // Codes that come out as 0 need not be stored.
  CHECK(bytes(WeightFormat::int8, {4, 8}, SparseStorage::bitmask) <=
        weights / 2 + weights / 8 + 16 + 8 * rows + scales);
  CHECK(bytes(WeightFormat::int4, {2, 4}, SparseStorage::none) <=
        weights / 4 + weights / 8 + 24 + scales * cols / 32);
}

TEST_CASE("Sparse forms lie in the file as their descriptions say") {
  const TemporaryFolder folder;
  WeightMatrix matrix;
  matrix.format = WeightFormat::int8;
  matrix.rows = 2;
  matrix.cols = 12;
  matrix.group_size = 12;
  matrix.scales = {1, 2};
  const std::vector<int8_t> codes = {5, 0, 0, -1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 2, 1, 9, 0, 0, 0};
  matrix.codes = std::as_bytes(std::span(codes));
  const auto part = [](const ModelFile& file, const char* name) {
    const std::span<const std::byte> bytes = file.get(module_name + name).bytes;
    return std::vector<int>(reinterpret_cast<const int8_t*>(bytes.data()),
                            reinterpret_cast<const int8_t*>(bytes.data()) + bytes.size());
  };
  {
    write(folder.path(), matrix, SparseStorage::bitmask);
    const ModelFile file(folder.path());
    CHECK(part(file, ".compressed") == std::vector{5, -1, 7, 3, 2, 1, 9});
    CHECK(part(file, ".bitmask") == std::vector{int8_t{-119} + 0, 0, int8_t{-62} + 0, 1});  // 0x89, 0xc2
    CHECK(part(file, ".row_offsets") == std::vector{0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0});
    CHECK(file.get(module_name + ".shape").shape == std::vector<int64_t>{2});
  }
  fs::remove(folder.path() / "model.safetensors");
  {
    write(folder.path(), matrix, SparseStorage::bitmask_24);
    const ModelFile file(folder.path());
    CHECK(part(file, ".compressed") == std::vector{5, -1, 0, 7, 0, 0, 0, 3, 2, 1, 9, 0});
    // Zeros fill groups from the first on.
    CHECK(part(file, ".bitmask") == std::vector{int8_t{-103} + 0, 3, int8_t{-61} + 0, 3});  // 0x99, 0xc3
    CHECK(file.get(module_name + ".shape").shape == std::vector<int64_t>{2, 1});
    CHECK(!file.find(module_name + ".row_offsets"));
  }
}

TEST_CASE("More than two of four are not written as 2:4") {
  const TemporaryFolder folder;
  CHECK_THROWS_AS(
      write(folder.path(), random_matrix(WeightFormat::f32, 3, 8, {3, 4}, true), SparseStorage::bitmask_24),
      Error);
}
