#pragma once
// Where a model's weights come from: a folder, or memory where they were changed.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/files/model_file.h"
#include "engine/inventory.h"
#include "engine/model_spec.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  virtual const ModelSpec& spec() const = 0;
  virtual const Inventory& inventory() const = 0;
  // The matrix of a linear or an embedding, [rows, cols] as the inventory says. It may borrow from this
  // object. Throws Error that names file and tensor when dtype, shape, scale or zero point do not fit.
  virtual WeightMatrix matrix(const Module& module) const = 0;
  // A norm's weight, or the bias of any module. Finite.
  virtual std::vector<float> weight_vector(const Module& norm) const = 0;
  virtual std::vector<float> bias(const Module& module) const = 0;
  // Inputs of a linear that share one activation scale at run time; 0: one scale a token.
  virtual int64_t activation_group_size(const Module& linear) const = 0;
  // The matrix was read: its pages may go back to the system. It can be read again.
  virtual void release(const WeightMatrix& matrix) const = 0;
  // Throws Error when what was read may not be what was checked: a file has changed meanwhile.
  virtual void check_unchanged() const = 0;
};

// A Hugging Face folder.
class FolderWeights final : public WeightSource {
 public:
  // `team`: rewrites codes that lie in another order than ours; it must live as long as matrix() is called.
  explicit FolderWeights(const std::filesystem::path& folder, const Team* team = nullptr);

  const ModelFile& file() const { return file_; }
  const ModelSpec& spec() const override { return spec_; }
  const Inventory& inventory() const override { return inventory_; }
  WeightMatrix matrix(const Module& module) const override;
  std::vector<float> weight_vector(const Module& norm) const override;
  std::vector<float> bias(const Module& module) const override;
  int64_t activation_group_size(const Module& linear) const override;
  void release(const WeightMatrix& matrix) const override;
  void check_unchanged() const override { file_.check_unchanged(); }

 private:
  bool is_head_or_linear(const Module& module) const;

  ModelFile file_;
  ModelSpec spec_;
  Inventory inventory_;
  const Team* team_;
};

}  // namespace whittle
