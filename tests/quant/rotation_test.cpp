#include "quant/rotation.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "kernels/error.h"
#include "quant/replaced_weights.h"
#include "tests/support/model_variants.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

std::vector<RotationOptions> all_options(const WeightSource& source) {
  std::vector<RotationOptions> options = {{false, true, 7}};
  if (!residual_rotation(source).obstacle.empty()) return options;
  options.push_back({true, false, 7});
  options.push_back({true, true, 8});
  return options;
}

// Float32 sums of up to 60 terms, some thirty of them one after the other, none of which amplifies much: the
// worst relative error that would be rounding is some 60 · 30 units of 2⁻²⁴, and rounding is far from worst.
constexpr double rounding = 60 * 30 * 0x1p-24;

// A GPT-2 with one value of a tensor changed.
fs::path gpt2_with(const fs::path& folder, TinyFamily model, const std::string& tensor, float value,
                   bool everywhere = false) {
  model.dtype = "F32";
  std::vector<RawTensor> tensors = tensors_of(model);
  for (RawTensor& raw : tensors)
    for (size_t i = 0; raw.name == tensor && i < (everywhere ? raw.bytes.size() / 4 : 1); ++i)
      std::memcpy(raw.bytes.data() + 4 * i, &value, sizeof value);
  write_family(folder, model);
  write_safetensors(folder / "model.safetensors", tensors);
  return folder;
}

}  // namespace

TEST_CASE("Rotated models of every family say what they said before") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const fs::path& path : write_model_variants(folder.path())) {
    const auto source = std::make_shared<FolderWeights>(path);
    const std::vector<float> expected = logits_of(source, team);
    for (const RotationOptions& options : all_options(*source)) {
      CAPTURE(path.filename(), options.residual, options.values);
      const auto rotated = std::make_shared<RotatedWeights>(*source, options, team);
      CHECK(relative_difference(expected, logits_of(rotated, team)) < rounding);
    }
  }
}

TEST_CASE("What a rotation says to have changed has changed, and nothing else") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const fs::path& path : write_model_variants(folder.path())) {
    const FolderWeights source(path);
    for (const RotationOptions& options : all_options(source)) {
      const RotatedWeights rotated(source, options, team);
      std::set<Role> changed;
      for (const Module& module : rotated.inventory().modules()) {
        CAPTURE(path.filename(), options.residual, options.values, module.name);
        const bool copied =
            source.inventory().tied() && (module.role == Role::embedding || module.role == Role::head);
        const Module& before =
            copied ? source.inventory().embedding() : *source.inventory().find(module.name);
        bool differs = false;
        if (module.matrix())
          differs |= values_of(rotated.matrix(module)) != values_of(source.matrix(before));
        else
          differs |= rotated.weight_vector(module) != source.weight_vector(before);
        if (module.bias) differs |= rotated.bias(module) != source.bias(before);
        CHECK(rotated.changed(module) == differs);
        if (differs) changed.insert(module.role);
      }
      if (!options.residual)
        CHECK(changed == std::set<Role>{source.inventory().find(0, Role::v)->role, Role::o});
    }
  }
}

TEST_CASE("A stream's gains become ones, lengths stay, and outliers are spread") {
  const TemporaryFolder folder;
  const Team team(2);
  write_tiny_model(folder.path(), {.hidden_size = 32, .intermediate_size = 64});
  const FolderWeights source(folder.path());
  const RotatedWeights rotated(source, {}, team);
  for (const Module& module : rotated.inventory().modules())
    if (!module.matrix()) CHECK(rotated.weight_vector(module) == std::vector<float>(32, 1.0f));
  const Module& up = *source.inventory().find(1, Role::up);
  const std::vector<float> before = values_of(source.matrix(up)), after = values_of(rotated.matrix(up));
  const std::vector<float> gains = source.weight_vector(*source.inventory().find(1, Role::mlp_norm));
  for (size_t row = 0; row < 64; ++row) {
    double length = 0, kept = 0;
    for (size_t k = 0; k < 32; ++k) {
      length += std::pow(static_cast<double>(before[row * 32 + k]) * static_cast<double>(gains[k]), 2);
      kept += std::pow(static_cast<double>(after[row * 32 + k]), 2);
    }
    CHECK(kept == Approx(length));
  }
}

TEST_CASE("Heads are rotated each by itself: no row of v reaches another head") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const bool gpt2 : {true, false}) {
    const FolderWeights source(write_family(folder.path() / (gpt2 ? "gpt2" : "bloom"), {.gpt2 = gpt2}));
    const RotatedWeights rotated(source, {false, true, 7}, team);
    const Module& qkv = *source.inventory().find(0, Role::qkv);
    const std::vector<float> before = values_of(source.matrix(qkv)), after = values_of(rotated.matrix(qkv));
    const auto cols = static_cast<size_t>(qkv.cols);
    const auto rows_of = [&](const std::vector<float>& values, Role role) {
      std::vector<float> rows;
      for (const int64_t row : fused_rows(source.spec(), 0, role))
        rows.insert(rows.end(), values.begin() + row * qkv.cols, values.begin() + (row + 1) * qkv.cols);
      return rows;
    };
    CHECK(rows_of(before, Role::q) == rows_of(after, Role::q));
    CHECK(rows_of(before, Role::k) == rows_of(after, Role::k));
    const std::vector<float> old = rows_of(before, Role::v), now = rows_of(after, Role::v);
    const auto head = static_cast<size_t>(source.spec().head_dim) * cols;
    for (size_t begin = 0; begin < old.size(); begin += head) {
      double length = 0, kept = 0;
      for (size_t i = begin; i < begin + head; ++i) {
        length += std::pow(static_cast<double>(old[i]), 2);
        kept += std::pow(static_cast<double>(now[i]), 2);
      }
      CHECK(kept == Approx(length));
    }
  }
}

TEST_CASE("A tied head gets a matrix of its own, unless the final norm's gains are all the same") {
  const TemporaryFolder folder;
  const Team team(2);
  const TinyFamily tied = {.tied = true};
  const auto odd = std::make_shared<FolderWeights>(
      gpt2_with(folder.path() / "odd", tied, "transformer.ln_f.weight", 1.75f));
  CHECK(residual_rotation(*odd).unties);
  const RotatedWeights untied(*odd, {}, team);
  CHECK_FALSE(untied.spec().tie_word_embeddings);
  CHECK_FALSE(untied.inventory().tied());
  CHECK(untied.inventory().head().name == "lm_head");
  CHECK(untied.inventory().embedding().name == "transformer.wte");
  const RotatedWeights values_only(*odd, {false, true, 1}, team);
  CHECK(values_only.inventory().tied());

  const auto even = std::make_shared<FolderWeights>(
      gpt2_with(folder.path() / "even", tied, "transformer.ln_f.weight", 1.75f, true));
  CHECK_FALSE(residual_rotation(*even).unties);
  const auto still_tied = std::make_shared<RotatedWeights>(*even, RotationOptions{}, team);
  CHECK(still_tied->inventory().tied());
  CHECK(still_tied->changed(still_tied->inventory().embedding()));
  CHECK(relative_difference(logits_of(even, team), logits_of(still_tied, team)) < rounding);

  const FolderWeights own(
      gpt2_with(folder.path() / "own", {.tied = false}, "transformer.ln_f.weight", 1.75f));
  CHECK_FALSE(residual_rotation(own).unties);
}

TEST_CASE("A stream that cannot be rotated exactly is refused, and says why") {
  const TemporaryFolder folder;
  const Team team(2);
  const FolderWeights bloom(write_family(folder.path() / "bloom", {.gpt2 = false}));
  CHECK_THROWS_WITH(RotatedWeights(bloom, {}, team), Contains("transformer.word_embeddings_layernorm"));
  CHECK_NOTHROW(RotatedWeights(bloom, {false, true, 1}, team));
  // The head has no bias that could take ln_f's, which stays with the norm, divided by its gain.
  for (const bool tied : {true, false}) {
    const FolderWeights zero(gpt2_with(folder.path() / (tied ? "zero-tied" : "zero"), {.tied = tied},
                                       "transformer.ln_f.weight", 0));
    CHECK_THAT(residual_rotation(zero).obstacle, Contains("transformer.ln_f"));
    CHECK_THROWS_AS(RotatedWeights(zero, {}, team), Error);
  }
  // Others' bias moves into their readers'.
  const auto inner = std::make_shared<FolderWeights>(
      gpt2_with(folder.path() / "inner", {}, "transformer.h.0.ln_1.weight", 0));
  CHECK(residual_rotation(*inner).obstacle.empty());
  CHECK(relative_difference(
            logits_of(inner, team),
            logits_of(std::make_shared<RotatedWeights>(*inner, RotationOptions{}, team), team)) < rounding);
}

TEST_CASE("Rotated weights are the same bits for any number of threads, and another seed gives others") {
  const TemporaryFolder folder;
  const Team one(1), three(3);
  const FolderWeights source(write_family(folder.path() / "gpt2", {.hidden = 36, .heads = 3}));
  const RotatedWeights a(source, {}, one), b(source, {}, three), c(source, {true, true, 2}, one);
  for (const Module& module : a.inventory().modules()) {
    if (module.bias) CHECK(a.bias(module) == b.bias(module));
    if (!module.matrix()) continue;
    CHECK(values_of(a.matrix(module)) == values_of(b.matrix(module)));
    CHECK(values_of(a.matrix(module)) != values_of(c.matrix(module)));
  }
}

TEST_CASE("A rotated model stored as F16 differs by the rounding of its weights alone") {
  const TemporaryFolder folder;
  const Team team(2);
  for (const fs::path& path : write_model_variants(folder.path())) {
    const auto source = std::make_shared<FolderWeights>(path);
    const RotatedWeights rotated(*source, all_options(*source).back(), team);
    const auto stored = std::make_shared<ReplacedWeights>(rotated);
    for (const Module& module : rotated.inventory().modules()) {
      if (!module.matrix()) continue;
      const std::vector<float> values = values_of(rotated.matrix(module));
      auto halves = std::make_shared<std::vector<std::byte>>(values.size() * 2);
      info(WeightFormat::f16).encode_row(values.data(), std::ssize(values), halves->data());
      WeightMatrix matrix;
      matrix.format = WeightFormat::f16;
      matrix.rows = module.rows;
      matrix.cols = module.cols;
      matrix.codes = *halves;
      matrix.owned = halves;
      stored->replace(module.name, {matrix, 0});
    }
    CAPTURE(path.filename());
    // Each weight is off by at most 2⁻¹¹ of itself, and each of some fourteen matrices adds its share.
    CHECK(relative_difference(logits_of(source, team), logits_of(stored, team)) < 14 * 0x1p-11);
  }
}

TEST_CASE("A value that leaves float32 is an error that names the tensor") {
  const TemporaryFolder folder;
  const Team team(2);
  const FolderWeights source(gpt2_with(folder.path(), {.tied = false}, "lm_head.weight", 3e38f, true));
  const RotatedWeights rotated(source, {}, team);
  CHECK_THROWS_WITH(rotated.matrix(rotated.inventory().head()), Contains("lm_head.weight"));
}
