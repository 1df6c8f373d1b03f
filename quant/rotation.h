#pragma once
// A model in other coordinates: the function that it computes stays, and its matrices lose the outliers that
// make them hard to quantize (QuaRot, arXiv 2404.00456). All of it offline: nothing is rotated at run time.
//
// Residual stream: x becomes x·Q with an orthogonal Q. What writes to it (embedding, learned positions, o,
// down) gives its outputs in the new coordinates, and what reads it takes them back. Between stands a norm,
// whose gain g would mix with Q, so that it moves into its readers first: W ← W·diag(g)·Q, and the norm's
// weight becomes 1. RMSNorm then commutes with every Q, LayerNorm with those that keep (1, …, 1), and so the
// mean. A LayerNorm's bias b moves as well, as W·b into its readers' biases; where a reader has none (the
// head), it stays with the norm, as (b / g)·Q.
//
// Values: attention mixes the values of a head over positions, each by a number, so that every head's may be
// rotated on leaving v, and back on entering o: always exact. Query heads that share a key/value head undo
// the same rotation.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/hadamard.h"

namespace whittle {

struct RotationOptions {
  bool residual = true;
  bool values = true;
  uint64_t seed = 1;
};

// What a rotation of this model's residual stream means. (Its values can always be rotated.)
struct ResidualRotation {
  std::string obstacle;  // why it would not be exact; empty: it is
  // The final norm's gain moves into the head, which then is no longer the embedding: a tied model gets a
  // head of its own, vocab_size · hidden_size weights more. (Not where the gain is the same for all.)
  bool unties = false;
};
ResidualRotation residual_rotation(const WeightSource& source);

class RotatedWeights final : public WeightSource {
 public:
  // Source and team must outlive this. Throws Error where the residual stream is asked for and has an
  // obstacle.
  RotatedWeights(const WeightSource& source, const RotationOptions& options, const Team& team);

  // Whether weight or bias differ from the source's module of that name. (A head that was tied does.)
  bool changed(const Module& module) const;

  // The source's but for tie_word_embeddings, and a head of its own at the end where that was untied.
  const ModelSpec& spec() const override { return untied_ ? untied_->spec : source_.spec(); }
  const Inventory& inventory() const override { return untied_ ? untied_->inventory : source_.inventory(); }
  // Computed anew at every call by all threads, in float64, and given as float32: memory for one matrix.
  // Matrices that are unchanged are the source's. Throws Error that names the tensor where a value leaves
  // float32.
  WeightMatrix matrix(const Module& module) const override;
  std::vector<float> weight_vector(const Module& norm) const override;
  std::vector<float> bias(const Module& module) const override;
  int64_t activation_group_size(const Module& linear) const override {
    return source_.activation_group_size(stored(linear));
  }
  void release(const WeightMatrix& matrix) const override { source_.release(matrix); }
  void check_unchanged() const override { source_.check_unchanged(); }

 private:
  struct Untied {
    ModelSpec spec;
    Inventory inventory;
  };
  const Module& stored(const Module& module) const;  // the source's that it is made from
  // What a module's inputs or outputs are multiplied by, piece by piece of its size; nullptr: nothing.
  const OrthogonalMatrix* of_inputs(const Module& module) const;
  const OrthogonalMatrix* of_outputs(const Module& module) const;
  std::vector<int64_t> rotated_outputs(const Module& module) const;
  // Whose gain moves into a linear, and whether a norm's does; a bias may stay.
  const Module* norm_before(const Module& linear) const;
  bool moves(const Module& norm) const;

  const WeightSource& source_;
  const Team& team_;
  std::optional<Untied> untied_;
  std::optional<OrthogonalMatrix> stream_, values_;
};

}  // namespace whittle
