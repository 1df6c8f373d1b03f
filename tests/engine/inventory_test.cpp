// The one list of modules: it names every tensor of every family once, with its shape and its role.

#include "engine/inventory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <set>

#include "engine/positions.h"
#include "engine/weight_source.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

std::vector<std::string> roles_of(std::span<const Module> modules) {
  std::vector<std::string> roles;
  for (const Module& module : modules) roles.emplace_back(info(module.role).name);
  return roles;
}

}  // namespace

TEST_CASE("The inventory names every tensor of a model once, with the shape that it has") {
  for (const char* architecture :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
    for (const bool tied : {true, false}) {
      CAPTURE(architecture, tied);
      TemporaryFolder folder;
      const TinyModel tiny{.architecture = architecture, .tied = tied};
      write_tiny_model(folder.path(), tiny);
      const FolderWeights weights(folder.path());
      std::set<std::string> named;
      for (const Module& module : weights.inventory().modules()) {
        named.insert(module.name + ".weight");
        if (module.bias) named.insert(module.name + ".bias");
        if (module.matrix()) {
          const WeightMatrix matrix = weights.matrix(module);
          CHECK(matrix.rows == module.rows);
          CHECK(matrix.cols == module.cols);
        } else {
          CHECK(std::ssize(weights.weight_vector(module)) == module.cols);
        }
        CHECK(weights.inventory().find(module.name) == &module);
      }
      std::set<std::string> stored;
      for (const RawTensor& tensor : tensors_of(tiny)) stored.insert(tensor.name);
      CHECK(named == stored);
      CHECK(weights.inventory().tied() == tied);
    }
}

TEST_CASE("A layer's modules come in the order in which a token meets them") {
  TemporaryFolder folder;
  write_tiny_model(folder.path(), {.architecture = "Qwen3ForCausalLM"});
  const FolderWeights weights(folder.path());
  const Inventory& inventory = weights.inventory();
  for (int64_t layer = 0; layer < 2; ++layer)
    CHECK(roles_of(inventory.layer(layer)) == std::vector<std::string>{"attention norm", "q", "k", "v",
                                                                       "q norm", "k norm", "o", "MLP norm",
                                                                       "gate", "up", "down"});
}

TEST_CASE("Linears that read the same input are known, and what made it") {
  TemporaryFolder folder;
  write_tiny_model(folder.path());
  const FolderWeights weights(folder.path());
  const Inventory& inventory = weights.inventory();
  const auto readers = [&](Role role) {
    std::set<Role> found;
    for (const Module* reader : inventory.readers_beside(*inventory.find(1, role))) {
      CHECK(reader->layer == 1);
      found.insert(reader->role);
    }
    return found;
  };
  for (const Role role : {Role::q, Role::k, Role::v})
    CHECK(readers(role) == std::set{Role::q, Role::k, Role::v});
  CHECK(readers(Role::o) == std::set{Role::o});
  for (const Role role : {Role::gate, Role::up}) CHECK(readers(role) == std::set{Role::gate, Role::up});
  CHECK(readers(Role::down) == std::set{Role::down});
  CHECK(info(Role::k).input == Role::attention_norm);
  CHECK(info(Role::o).input == Role::v);
  CHECK(info(Role::down).input == Role::up);
}

TEST_CASE("The rows of a fused projection are each of q, k and v once") {
  ModelSpec spec;
  spec.num_attention_heads = spec.num_key_value_heads = 3;
  spec.head_dim = 4;
  for (const QkvLayout layout : {QkvLayout::by_part, QkvLayout::by_head}) {
    spec.qkv_layout = layout;
    std::vector<int64_t> all;
    for (const Role role : {Role::q, Role::k, Role::v})
      std::ranges::copy(fused_rows(spec, 0, role), std::back_inserter(all));
    if (layout == QkvLayout::by_part) CHECK(std::ranges::is_sorted(all));
    std::ranges::sort(all);
    std::vector<int64_t> each(36);
    std::iota(each.begin(), each.end(), 0);
    CHECK(all == each);
  }
  // BLOOM: [head, 3, head_dim].
  CHECK(fused_rows(spec, 0, Role::k) == std::vector<int64_t>{4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31});
}

TEST_CASE("ALiBi's slopes are powers of 2^(-8 / heads), and between them where heads are no power of two") {
  CHECK(alibi_slopes(8) ==
        std::vector<float>{0x1p-1f, 0x1p-2f, 0x1p-3f, 0x1p-4f, 0x1p-5f, 0x1p-6f, 0x1p-7f, 0x1p-8f});
  const std::vector<float> six = alibi_slopes(6);
  REQUIRE(six.size() == 6);
  CHECK(std::vector(six.begin(), six.begin() + 4) == std::vector<float>{0x1p-2f, 0x1p-4f, 0x1p-6f, 0x1p-8f});
  CHECK(six[4] == 0x1p-1f);
  CHECK(six[5] == 0x1p-3f);
}
