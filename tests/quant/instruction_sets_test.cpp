// Whole models on every instruction set that this CPU has: the same logits, and the same files from
// `quantize`.

#include <cstdlib>

#include "engine/session.h"
#include "quant/pipeline.h"
#include "quant/self_text.h"
#include "tests/support/model_variants.h"
#include "tests/support/program.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

// Sanitizers see each method in a test of its own, and these runs, some times slower, take long.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kinds_run = 2;
#else
constexpr size_t kinds_run = 8;
#endif

std::vector<int32_t> some_ids(size_t count) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(i * i * 31 % 60));
  return ids;
}

// After a prompt that oneDNN multiplies too, where it may, and after single tokens.
std::string logits_of(const fs::path& folder, KvFormat format) {
  const Team team(2);
  const Model model(folder, team);
  const std::vector<int32_t> ids = some_ids(60);
  Session session(model, team, {static_cast<int64_t>(ids.size()), format});
  std::string bytes;
  for (const auto part :
       {std::span(ids).first(50), std::span(ids).subspan(50, 1), std::span(ids).subspan(51)}) {
    const std::span<const float> row = session.forward(part).row(0);
    bytes.append(reinterpret_cast<const char*>(row.data()), row.size_bytes());
  }
  return bytes;
}

fs::path write_windows(const fs::path& file) {
  nlohmann::json windows;
  for (size_t w = 0; w < 6; ++w) windows.push_back(some_ids(40 + w));
  write_text(file, windows.dump());
  return file;
}

// Writes each result of the instruction set that WHITTLE_ISA names to a file of its own.
void write_results(const fs::path& models, const fs::path& out) {
  struct Kind {
    const char* name;
    WeightFormat weights;
    int64_t group_size;
    MethodName method;
  };
  for (const auto& entry : fs::directory_iterator(models)) {
    const std::string name = entry.path().filename();
    const auto write_logits = [&](const fs::path& folder, const std::string& kind) {
      for (const KvFormatInfo& format : kv_formats())
        write_text(out / (name + ", " + kind + ", logits, cache " + std::string(format.name)),
                   logits_of(folder, format.format));
    };
    write_logits(entry.path(), "as it is");
    const std::vector<Kind> kinds = {
        Kind{"int8", WeightFormat::int8, 0, MethodName::rtn},
        Kind{"int6 g128", WeightFormat::int6, 128, MethodName::rtn},
        Kind{"int5 g32", WeightFormat::int5, 32, MethodName::rtn},
        Kind{"int4 g32", WeightFormat::int4, 32, MethodName::rtn},
        Kind{"gptq int8 2:4", WeightFormat::int8, 0, MethodName::gptq},
        Kind{"gptq int4 g32", WeightFormat::int4, 32, MethodName::gptq},
        Kind{"awq int4 g32", WeightFormat::int4, 32, MethodName::awq},
        Kind{"smoothquant int8", WeightFormat::int8, 0, MethodName::smoothquant}};
    for (const Kind& kind : std::span(kinds).first(kinds_run)) {
      const TemporaryFolder folder;
      Recipe recipe;
      recipe.weights = kind.weights;
      recipe.group_size = kind.group_size;
      recipe.method = kind.method;
      if (kind.method == MethodName::gptq && kind.weights == WeightFormat::int4)
        recipe.block_steps = 12, recipe.tuning_tokens = 300;
      if (kind.method == MethodName::gptq && kind.weights == WeightFormat::int8)
        recipe.sparsity = {.keep = 2, .of = 4};
      recipe.calibration = {.source = write_windows(folder.path() / "windows.json"), .tokens = 1000};
      quantize(entry.path(), folder.path() / "out", recipe, Team(2), {"test"}, {});
      write_text(out / (name + ", " + kind.name + ", file"),
                 read_text(folder.path() / "out" / "model.safetensors"));
      write_logits(folder.path() / "out", kind.name);
    }
    write_text(out / (name + ", own text"), [&] {
      std::string ids;
      for (const auto& window :
           self_text(FolderWeights(entry.path()), int64_t{4} << 30, Team(2), 200, 50, 3, {}).windows.ids)
        for (const int32_t id : window) ids += std::to_string(id) + ' ';
      return ids;
    }());
  }
}

}  // namespace

// A process has one instruction set: this test runs itself once for each.
TEST_CASE("Models of every family give the same bits on every instruction set") {
  const char* const child = std::getenv("WHITTLE_TEST_RESULTS");
  const TemporaryFolder folder;
  const fs::path models = folder.path() / "models";
  write_architectures(models,
                      {.hidden_size = 72,
                       .intermediate_size = 172,
                       .num_attention_heads = 3,
                       .num_key_value_heads = 1,
                       .head_dim = 24,
                       .vocab_size = 60,
                       .dtype = "BF16"},
                      {.hidden = 72, .heads = 3});
  if (child) return write_results(models, child);
  std::optional<fs::path> first;
  for (const InstructionSet& set : instruction_sets()) {
    if (!set.available()) continue;
    CAPTURE(set.table->name);
    const fs::path results = folder.path() / set.table->name;
    fs::create_directories(results);
    const Outcome outcome =
        run({"env", "WHITTLE_ISA=" + std::string(set.table->name), "WHITTLE_TEST_RESULTS=" + results.string(),
             fs::read_symlink("/proc/self/exe"),
             "Models of every family give the same bits on every instruction set"});
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.exit_code == 0);
    if (!first) first = results;
    int compared = 0;
    for (const auto& entry : fs::directory_iterator(*first)) {
      CAPTURE(entry.path().filename());
      CHECK((read_text(entry.path()) == read_text(results / entry.path().filename())));
      ++compared;
    }
    CHECK(compared == 6 * ((kinds_run + 1) * 3 + kinds_run + 1));
  }
}
