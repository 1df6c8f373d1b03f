// Models whose weights are mostly zeros: packed sparse or dense, they say the same.

#include "engine/packing_choice.h"

#include "engine/files/open_options.h"
#include "engine/session.h"
#include "tests/support/paths.h"
#include "tests/support/sparse_weights.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// The reference model with the linears of its layers quantized, and zeros as the form has them.
class SparseModel final : public WeightSource {
 public:
  SparseModel(const SparseForm& form, int64_t group_size, int percent)
      : form_(form), group_size_(group_size), percent_(percent) {}

  const ModelSpec& spec() const override { return folder_.spec(); }
  const Inventory& inventory() const override { return folder_.inventory(); }
  WeightMatrix matrix(const Module& module) const override {
    if (module.kind() != ModuleKind::linear) return folder_.matrix(module);
    Random random(60);
    OwnedWeight made =
        make_sparse(form_, {form_.format, module.rows, module.cols, group_size_}, percent_, random, false);
    return with_codes(made.matrix, std::move(made.bytes));
  }
  std::vector<float> weight_vector(const Module& norm) const override { return folder_.weight_vector(norm); }
  std::vector<float> bias(const Module& module) const override { return folder_.bias(module); }
  int64_t activation_group_size(const Module&) const override { return 0; }
  void release(const WeightMatrix&) const override {}
  void check_unchanged() const override {}

 private:
  FolderWeights folder_{reference_model()};
  SparseForm form_;
  int64_t group_size_;
  int percent_;
};

class Using {
 public:
  explicit Using(SparseUse use) { use_sparse(use); }
  ~Using() { use_sparse(SparseUse::automatic); }
};

int64_t linears_of(const PackingCount& count) { return count.linears; }

}  // namespace

TEST_CASE("a model says the same whether its weights are packed sparse or dense") {
  const Team team(2);
  for (const SparseForm& form : sparse_forms)
    for (const int64_t group : {0, 32}) {
      const auto source = std::make_shared<SparseModel>(form, group, 60);
      const auto load = [&](SparseUse use) {
        const Using with(use);
        return Model(source, team);
      };
      const Model dense = load(SparseUse::never), sparse = load(SparseUse::always);
      const auto logits = [&](const Model& model) {
        std::vector<float> all;
        Session session(model, team, {64, KvFormat::f16});
        const auto keep = [&](const Logits& found) {
          for (int64_t i = 0; i < found.rows; ++i)
            all.insert(all.end(), found.row(i).begin(), found.row(i).end());
        };
        std::vector<int32_t> ids;
        for (int32_t id = 0; id < 40; ++id) ids.push_back(7 * id + 3);
        keep(session.forward_all(ids));
        for (const int32_t id : {5, 6, 7}) keep(session.forward({&id, 1}));
        return all;
      };
      INFO(form.name() << " group " << group);
      CHECK(difference(logits(sparse), logits(dense)) == "");

      const int64_t linears = 7 * source->spec().num_hidden_layers;
      const bool can = form.packing != Packing::masked || kernels().reads_masks;
      REQUIRE(dense.packings().size() == 1);
      REQUIRE(sparse.packings().size() == 1);
      CHECK(linears_of(dense.packings()[0]) == linears);
      CHECK(dense.packings()[0].choice.taken == Packing::dense);
      CHECK(linears_of(sparse.packings()[0]) == linears);
      CHECK(sparse.packings()[0].choice.taken == (can ? sparse.packings()[0].choice.fits : Packing::dense));
      CHECK((sparse.weight_bytes() < dense.weight_bytes()) == can);
      CHECK((sparse.decode_bytes() < dense.decode_bytes()) == can);
    }
}

TEST_CASE("of the packings that fit the smallest is looked at, and taken where a probe finds it faster") {
  const Team team(2);
  const auto choose = [&](const SparseForm& form, int percent) {
    const SparseModel source(form, 0, percent);
    const Module& module = *source.inventory().find(0, Role::up);
    return choose_packing(source, module, source.matrix(module), team);
  };
  const bool masks = kernels().reads_masks;
  struct Case {
    SparseForm form;
    int percent;
    Packing fits;
  };
  const SparseForm anywhere = {WeightFormat::int4, Packing::masked};
  for (const Case& wanted :
       {Case{sparse_forms[0], 0, Packing::two_of_four}, Case{sparse_forms[1], 0, Packing::four_of_eight},
        Case{sparse_forms[0], 90, masks ? Packing::masked : Packing::two_of_four},
        Case{sparse_forms[2], 50, Packing::masked}, Case{sparse_forms[2], 0, Packing::dense},
        Case{sparse_forms[3], 0, Packing::two_of_four}, Case{sparse_forms[4], 0, Packing::four_of_eight},
        Case{anywhere, 50, Packing::dense}}) {
    const PackingChoice choice = choose(wanted.form, wanted.percent);
    INFO(wanted.form.name() << ", " << wanted.percent << " % zeros");
    CHECK(choice.fits == wanted.fits);
    if (choice.fits == Packing::masked && !masks) {
      CHECK(choice.reason == PackingChoice::Reason::no_instruction);
      CHECK(choice.taken == Packing::dense);
    } else if (choice.fits != Packing::dense) {
      CHECK(choice.reason == PackingChoice::Reason::probed);
      CHECK(choice.speedup > 0);
      CHECK(choice.taken == (choice.speedup > 1 ? choice.fits : Packing::dense));
      CHECK(choose(wanted.form, wanted.percent).speedup == choice.speedup);  // probed once
    }
    const Using never(SparseUse::never);
    CHECK(choose(wanted.form, wanted.percent).taken == Packing::dense);
  }
}
