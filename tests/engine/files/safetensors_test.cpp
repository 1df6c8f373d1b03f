#include "engine/files/safetensors.h"

#include <sys/resource.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "engine/files/safetensors_writer.h"
#include "kernels/error.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;

namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> span_of(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

TEST_CASE("a file written by hand gives its tensors, sorted by name") {
  TemporaryFolder folder;
  const auto path = folder.path() / "a.safetensors";
  write_text(path, safetensors_bytes(
                       R"({"b":{"dtype":"I8","shape":[3],"data_offsets":[0,3]},"__metadata__":{"who":"me"},)"
                       R"("a":{"dtype":"F16","shape":[],"data_offsets":[3,5]},)"
                       R"("empty":{"dtype":"F32","shape":[0,7],"data_offsets":[3,3]}}   )",
                       "xyz12"));
  const SafetensorsFile file(path);
  REQUIRE(file.tensors().size() == 3);
  CHECK(file.tensors()[0].name == "a");
  CHECK(file.tensors()[0].dtype == DType::F16);
  CHECK(file.tensors()[0].shape.empty());
  CHECK(file.tensors()[0].elements() == 1);
  CHECK(text_of(file.tensors()[0].bytes) == "12");
  CHECK(text_of(file.tensors()[1].bytes) == "xyz");
  CHECK(file.tensors()[1].shape == std::vector<int64_t>{3});
  CHECK(file.tensors()[2].elements() == 0);
  CHECK(*file.tensors()[2].file == path);
  CHECK(file.metadata().at("who") == "me");
  CHECK(file.disk_bytes() == static_cast<int64_t>(std::filesystem::file_size(path)));
}

TEST_CASE("a file without tensors is valid") {
  TemporaryFolder folder;
  write_text(folder.path() / "a", safetensors_bytes("{}", ""));
  CHECK(SafetensorsFile(folder.path() / "a").tensors().empty());
}

TEST_CASE("every element type of the format opens with its size") {
  const std::pair<const char*, int> sizes[] = {
      {"F64", 64},        {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32},
      {"I16", 16},        {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},
      {"BOOL", 8},        {"C64", 64},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}};
  TemporaryFolder folder;
  for (const auto& [type, size] : sizes) {
    INFO(type);
    const std::string bytes(static_cast<size_t>(size), 'x');  // eight elements
    write_safetensors(folder.path() / "a", {{"t", type, {2, 4}, bytes}});
    const SafetensorsFile file(folder.path() / "a");
    CHECK(name(file.tensors()[0].dtype) == type);
    CHECK(file.tensors()[0].elements() == 8);
  }
}

TEST_CASE("what the writer writes reads back, whatever the order and the threads") {
  TemporaryFolder folder;
  const auto path = folder.path() / "a.safetensors";
  SplitMix64 random(7);
  std::vector<RawTensor> tensors;
  std::vector<TensorInfo> infos;
  const std::pair<DType, int64_t> kinds[] = {
      {DType::I8, 1}, {DType::F32, 4}, {DType::F16, 2}, {DType::I64, 8}, {DType::I32, 4}};
  for (int64_t i = 0; i < 20; ++i) {
    const auto [dtype, width] = kinds[i % 5];
    RawTensor tensor{"t" + std::to_string(i), std::string(name(dtype)), {i, 3}, {}};
    for (int64_t k = 0; k < i * 3 * width; ++k) tensor.bytes += static_cast<char>(random.bits());
    infos.push_back({tensor.name, dtype, tensor.shape});
    tensors.push_back(tensor);
  }
  SafetensorsWriter writer(path, infos, {{"key", "value \"quoted\""}});
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      for (size_t i = tensors.size(); i-- > 0;) {
        if (i % 3 != thread) continue;
        const std::string& bytes = tensors[i].bytes;
        const size_t middle = bytes.size() / 2;  // the second half first
        writer.write(tensors[i].name, static_cast<int64_t>(middle), span_of(bytes).subspan(middle));
        writer.write(tensors[i].name, 0, span_of(bytes).first(middle));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  writer.finish();

  const SafetensorsFile file(path);
  CHECK(file.metadata().at("key") == "value \"quoted\"");
  REQUIRE(file.tensors().size() == tensors.size());
  for (const RawTensor& tensor : tensors) {
    const auto found = std::ranges::find(file.tensors(), tensor.name, &TensorView::name);
    REQUIRE(found != file.tensors().end());
    CHECK(text_of(found->bytes) == tensor.bytes);
    CHECK(found->shape == tensor.shape);
    const auto address = reinterpret_cast<uintptr_t>(found->bytes.data());
    CHECK(address % static_cast<uintptr_t>(bits(found->dtype) / 8) == 0);
  }
}

TEST_CASE("what was announced as F16 may become BF16") {
  TemporaryFolder folder;
  std::vector<TensorInfo> infos;
  for (int i = 0; i < 20; ++i) infos.push_back({std::string(static_cast<size_t>(i), 'a'), DType::F16, {1}});
  for (const int changed : {0, 1, 20}) {
    const auto path = folder.path() / std::to_string(changed);
    SafetensorsWriter writer(path, infos, {});
    for (const TensorInfo& tensor : infos) writer.write(tensor.name, span_of("ab"));
    for (int i = 0; i < changed; ++i) writer.make_bf16(infos[static_cast<size_t>(i)].name);
    writer.finish();
    const SafetensorsFile file(path);
    CHECK(std::ranges::count(file.tensors(), DType::BF16, &TensorView::dtype) == changed);
    for (const TensorView& tensor : file.tensors()) CHECK(text_of(tensor.bytes) == "ab");
  }
}

TEST_CASE("the writer refuses what does not fit") {
  TemporaryFolder folder;
  const auto path = folder.path() / "a.safetensors";
  const std::vector<TensorInfo> infos = {{"a", DType::F32, {2}}, {"b", DType::I8, {4}}};
  SafetensorsWriter writer(path, infos, {});
  CHECK_THROWS_WITH(SafetensorsWriter(path, infos, {}), Contains("a.safetensors"));  // exists already
  CHECK_THROWS_WITH(writer.write("c", span_of("1234")), Contains("\"c\""));
  CHECK_THROWS_WITH(writer.write("b", span_of("12345")), Contains("\"b\""));
  CHECK_THROWS_WITH(writer.write("b", 3, span_of("12")), Contains("\"b\""));
  CHECK_THROWS_WITH(writer.write("b", -1, span_of("1")), Contains("\"b\""));
  writer.write("b", span_of("1234"));
  CHECK_THROWS_WITH(writer.finish(), Contains("a.safetensors") && Contains("\"a\""));
  const std::vector<TensorInfo> twice = {{"a", DType::F32, {2}}, {"a", DType::F32, {2}}};
  CHECK_THROWS_WITH(SafetensorsWriter(folder.path() / "b", twice, {}), Contains("twice"));
}

TEST_CASE("a write that fails is an error that names the file") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH(SafetensorsWriter(folder.path() / "none" / "a", {}, {}), Contains("none/a"));
  // A limit on the size of files stands in for a full disk.
  const std::vector<TensorInfo> infos = {{"a", DType::I8, {100'000}}};
  SafetensorsWriter writer(folder.path() / "b.safetensors", infos, {});
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{50'000, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string bytes(100'000, 'x');
  CHECK_THROWS_WITH(writer.write("a", span_of(bytes)),
                    Contains("b.safetensors") && Contains("File too large"));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
}

TEST_CASE("pages given back read the same again") {
  TemporaryFolder folder;
  std::string bytes;
  SplitMix64 random(3);
  for (int i = 0; i < 100'000; ++i) bytes += static_cast<char>(random.bits());
  write_text(folder.path() / "a", bytes);
  const MappedFile file(folder.path() / "a");
  CHECK(text_of(file.bytes()) == bytes);
  file.drop_pages(file.bytes());
  file.drop_pages(file.bytes().subspan(5, 3));
  file.drop_pages({});
  CHECK(text_of(file.bytes()) == bytes);
}
