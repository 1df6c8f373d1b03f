// What quantization may cost: the limits that a change to the quantizer or to the kernels must keep.

#include "bench/drift/drift.h"
#include "tests/support/models.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

double mean_kl(const Recipe& recipe, const Windows& windows) {
  static const Team team(2);
  static const Model baseline(reference_model(), team);
  const Model model(quantized_reference(recipe), team);
  return measure_drift(baseline, model, team, windows, KvFormat::f16, nullptr, {}).kl.mean;
}

}  // namespace

TEST_CASE("Drift of the reference model on unseen text stays within its limits") {
  WHITTLE_NEEDS_SHARED(shared);
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  Windows windows =
      text_windows(tokenizer, read_text(shared / "data" / "text" / "tinystories-valid.txt"), 512, "windows");
  windows.ids.resize(8);
  const double int8 = mean_kl(int8_recipe(), windows);
  CHECK(int8 <= 0.001);
  Recipe everything = int8_recipe();
  everything.lm_head = everything.embedding = WeightFormat::int8;
  CHECK(mean_kl(everything, windows) <= int8 + 0.0001);
  CHECK(mean_kl(int4_recipe(128), windows) <= 0.027);
  CHECK(mean_kl(int4_recipe(32), windows) <= 0.0185);
}

TEST_CASE("Finer scales lose less") {
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const Windows windows =
      text_windows(tokenizer, read_text(reference_model() / "texts" / "story.txt"), 256, "windows");
  Recipe fine = int8_recipe();
  fine.activation_group_size = 32;
  const double token = mean_kl(int8_recipe(), windows);
  CHECK(mean_kl(fine, windows) < token);
  CHECK(token < mean_kl(int4_recipe(32), windows));
  CHECK(mean_kl(int4_recipe(32), windows) < mean_kl(int4_recipe(128), windows));
  CHECK(mean_kl(int4_recipe(128, false), windows) < mean_kl(int4_recipe(128), windows));
}
