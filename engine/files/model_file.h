#pragma once
// A Hugging Face model folder: config.json, and tensors by name over memory-mapped safetensors files.

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/quantization_config.h"
#include "engine/files/safetensors.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class ModelFile {
 public:
  // `folder` holds config.json and model.safetensors, or model.safetensors.index.json and its shards. Every
  // rule of the formats is checked here; nothing read later can leave the mapping. Throws Error.
  explicit ModelFile(const std::filesystem::path& folder);
  ~ModelFile();
  ModelFile(ModelFile&&) noexcept;

  const std::filesystem::path& folder() const;
  const nlohmann::json& config() const;             // config.json, an object
  const nlohmann::json& generation_config() const;  // generation_config.json, or an empty object
  std::span<const SafetensorsFile> files() const;   // the shards, sorted by name
  std::span<const TensorView> tensors() const;      // of all shards, sorted by name
  const TensorView* find(std::string_view name) const;
  const TensorView& get(std::string_view name) const;  // throws Error when absent
  // Sum of the sizes of the weight files on disk.
  int64_t disk_bytes() const;

  // The weight of a linear or embedding `module` ("model.layers.0.mlp.up_proj"): its own dtype, or as its
  // quantization_config says. `rows` × `cols` is what the architecture expects. Throws Error that names file
  // and tensor when dtype, shape, scale or zero point do not fit. Codes are borrowed from this object's
  // mapping, unless they lie otherwise there, or not all: then they are rewritten with the threads of `team`.
  WeightMatrix weight(const std::string& module, int64_t rows, int64_t cols,
                      const Team* team = nullptr) const;
  bool has_weight(const std::string& module) const;    // floats or codes exist
  bool is_quantized(const std::string& module) const;  // as quantization_config and the tensors say
  // In what form its tensor "weight" is, if it is sparse.
  SparseStorage sparse_storage(const std::string& module) const;
  // The names of tensors by which the matrix of `module` is stored, behind its name and a dot: "weight", or
  // "qweight", "qzeros", … Some may be absent.
  std::span<const std::string_view> parts(const std::string& module) const;
  // A float tensor of `size` elements (a norm or a bias), as float32.
  std::vector<float> vector(const std::string& name, int64_t size) const;
  // Inputs that share one activation scale at run time, as quantization_config asks for `module`; 0: one
  // scale a token.
  int64_t activation_group_size(const std::string& module) const;
  // Whether quantization_config has codes for the weights of `module`, but wants its inputs as floats.
  bool wants_float_inputs(const std::string& module) const;
  // What the engine does otherwise than the files ask, a sentence each.
  std::vector<std::string> notes() const;
  // Throws Error when a weight file was written to since it was opened.
  void check_unchanged() const;
  // Gives the pages of a tensor back to the system: it can be read again, from disk.
  void drop_pages(std::span<const std::byte> bytes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace whittle
