#include "quant/model_scales.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "quant/scale_search.h"
#include "quant/token_stream.h"

namespace whittle {
namespace {

constexpr Role producers[] = {Role::attention_norm, Role::mlp_norm, Role::v, Role::up};
constexpr double smoothing = 0.5;

// What one producer's readers were seen to read.
struct Channels {
  Role producer = Role::v;
  std::vector<const Module*> readers;  // those that will be quantized
  std::optional<Hessian> hessian;      // for awq
  std::vector<float> largest;          // max|x|, for smoothquant
};

class ScaleFinder {
 public:
  ScaleFinder(ScaleRule rule, const WeightSource& source, const QuantizationPlan& plan,
              const std::function<float(const Module&, float)>& stored, WorkFolder& work, const Team& team,
              ScaledWeights& scaled)
      : rule_(rule),
        source_(source),
        plan_(plan),
        stored_(stored),
        work_(work),
        team_(team),
        scaled_(scaled) {}

  void run(const CalibrationText& text, int64_t memory, const StageProgress& progress) {
    const ModelSpec& spec = source_.spec();
    TokenStream stream(spec, text.windows, team_, spill_folder(spec, text.tokens(), memory, work_.path()));
    stream.embed(source_);
    for (int64_t i = 0; i < spec.num_hidden_layers; ++i) {
      progress(i, spec.num_hidden_layers, fmt::format("layer {}", i));
      std::map<Role, Channels> wanted = channels(i);
      const bool last = i + 1 == spec.num_hidden_layers;
      if (!last || !wanted.empty())
        stream.pass(load_layer(source_, i, team_), i, KvFormat::f32, true, [&](Role role, FloatRows rows) {
          if (const auto found = wanted.find(role); found != wanted.end()) see(found->second, rows);
        });
      for (auto& [role, of_producer] : wanted) find(i, of_producer);
    }
    progress(spec.num_hidden_layers, spec.num_hidden_layers, "");
  }

 private:
  static std::string name(int64_t layer, Role producer) {
    return fmt::format("scales.{}.{}", layer, info(producer).name);
  }

  // What is still to be found of a layer, by the role that its inputs are seen as.
  std::map<Role, Channels> channels(int64_t layer) {
    std::map<Role, Channels> wanted;
    for (const Role producer : producers) {
      if (!can_scale(source_.spec(), producer) || load(layer, producer)) continue;
      Channels found{.producer = producer};
      for (const Module& module : source_.inventory().layer(layer))
        if (module.kind() == ModuleKind::linear && info(module.role).input == producer &&
            plan_.find(module.name) && plan_.find(module.name)->quantized())
          found.readers.push_back(&module);
      if (found.readers.empty()) continue;
      const int64_t inputs = found.readers.front()->cols;
      if (rule_ == ScaleRule::awq)
        found.hessian.emplace(inputs);
      else
        found.largest.resize(static_cast<size_t>(inputs));
      const Role role = observed_role(source_.inventory(), *found.readers.front());
      wanted.emplace(role, std::move(found));
    }
    return wanted;
  }

  void see(Channels& of_producer, FloatRows rows) {
    if (of_producer.hessian) return of_producer.hessian->add(team_, rows);
    for (int64_t m = 0; m < rows.rows; ++m)
      for (size_t k = 0; k < of_producer.largest.size(); ++k) {
        const float value = std::abs(rows.values[m * rows.stride + static_cast<int64_t>(k)]);
        if (!std::isfinite(value))
          fail("{}: input {} is {} on the calibration text", quote(of_producer.readers.front()->name), k,
               value);
        of_producer.largest[k] = std::max(of_producer.largest[k], value);
      }
  }

  void find(int64_t layer, Channels& of_producer) {
    std::vector<ScaledReader> readers;
    for (const Module* module : of_producer.readers)
      readers.push_back({module->name, source_.matrix(*module), plan_.find(module->name)->scheme});
    const ModelSpec& spec = source_.spec();
    std::vector<float> scales;
    if (of_producer.hessian)
      scales =
          awq_scales(spec, layer, of_producer.producer, readers,
                     input_statistics(readers.front().name, std::move(*of_producer.hessian), team_), team_)
              .scales;
    else
      scales = smoothquant_scales(spec, layer, of_producer.producer, readers, of_producer.largest, smoothing);
    for (const ScaledReader& reader : readers) source_.release(reader.weights);
    spare_kept_readers(layer, of_producer.producer, scales);
    const Module* producer = source_.inventory().find(layer, of_producer.producer);
    if (producer && producer->kind() == ModuleKind::norm) fit_norm(*producer, scales);
    const WorkFolder::Part parts[] = {{"scales", DType::F32, std::as_bytes(std::span<const float>(scales))}};
    work_.save(name(layer, of_producer.producer), parts, nlohmann::json::object());
    scaled_.scale(layer, of_producer.producer, std::move(scales));
  }

  // Readers that stay floats are written in the file's type, of which F16 ends first.
  void spare_kept_readers(int64_t layer, Role producer, std::vector<float>& scales) const {
    constexpr float largest_f16 = 65504;
    const std::vector<int64_t> channels = input_channels(source_.spec(), layer, producer);
    for (const Module& module : source_.inventory().layer(layer)) {
      if (module.kind() != ModuleKind::linear || info(module.role).input != producer ||
          plan_.find(module.name))
        continue;
      const WeightMatrix weights = source_.matrix(module);
      std::vector<float> row(static_cast<size_t>(weights.cols));
      for (int64_t n = 0; n < weights.rows; ++n) {
        weights.decode_row(n, row.data());
        for (size_t k = 0; k < row.size(); ++k) {
          float& scale = scales[static_cast<size_t>(channels[k])];
          if (std::abs(row[k]) * scale > largest_f16) scale = 1;
        }
      }
      source_.release(weights);
    }
  }

  // The scales that the norm's weight, rounded to its type, stands for.
  void fit_norm(const Module& norm, std::vector<float>& scales) const {
    const std::vector<float> weight = source_.weight_vector(norm);
    for (size_t c = 0; c < scales.size(); ++c) {
      const float kept = stored_(norm, weight[c] / scales[c]);
      const float scale = weight[c] / kept;
      scales[c] = std::isfinite(scale) && scale > 0 ? scale : 1;
    }
  }

  bool load(int64_t layer, Role producer) {
    const std::optional<SafetensorsFile> saved = work_.open(name(layer, producer));
    if (!saved) return false;
    for (const TensorView& tensor : saved->tensors()) {
      if (tensor.name != "scales" || tensor.dtype != DType::F32) continue;
      std::vector<float> scales(tensor.bytes.size() / sizeof(float));
      std::memcpy(scales.data(), tensor.bytes.data(), tensor.bytes.size());
      scaled_.scale(layer, producer, std::move(scales));
      return true;
    }
    fail("{}: no scales of a layer's channels", saved->path().string());
  }

  const ScaleRule rule_;
  const WeightSource& source_;
  const QuantizationPlan& plan_;
  const std::function<float(const Module&, float)>& stored_;
  WorkFolder& work_;
  const Team& team_;
  ScaledWeights& scaled_;
};

}  // namespace

void find_scales(ScaleRule rule, const WeightSource& source, const QuantizationPlan& plan,
                 const CalibrationText& text, int64_t memory,
                 const std::function<float(const Module& norm, float weight)>& stored, WorkFolder& work,
                 const Team& team, const StageProgress& progress, ScaledWeights& scaled) {
  ScaleFinder(rule, source, plan, stored, work, team, scaled).run(text, memory, progress);
}

}  // namespace whittle
