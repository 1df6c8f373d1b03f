#include "quant/structure/prune.h"

#include <algorithm>
#include <fstream>

#include "engine/clock.h"
#include "engine/files/float_tensor.h"
#include "engine/files/json_file.h"
#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "engine/kv_cache.h"
#include "kernels/error.h"
#include "quant/judge.h"
#include "quant/provenance.h"
#include "quant/recipe_file.h"
#include "quant/run_identity.h"
#include "quant/structure/measurements.h"
#include "quant/structure/shape_search.h"
#include "quant/weight_checks.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

// Linears of the layers are floats: codes cannot be fitted.
void require_floats(const FolderWeights& source) {
  for (const Module& module : source.inventory().modules())
    if (module.matrix() && source.file().is_quantized(module.name))
      fail("{}: {} is quantized: what is pruned are floats, and quantized afterwards",
           source.file().folder().string(), quote(module.name));
    else if (module.matrix() && source.file().sparse_storage(module.name) != SparseStorage::none)
      fail("{}: {} is stored without zeros: take the original weights", source.file().folder().string(),
           quote(module.name));
}

// Heads and neurons of each layer, as a name.
std::string text_of(const Shapes& shapes) {
  std::string text;
  for (const LayerShape& shape : shapes)
    text +=
        fmt::format("{}{}x{}", text.empty() ? "" : ",", shape.num_key_value_heads, shape.intermediate_size);
  return text;
}

class PruneRun {
 public:
  PruneRun(const fs::path& source, const PruneRecipe& recipe, const Team& team, const RunOptions& options,
           const Progress& progress)
      : source_(source), recipe_(recipe), team_(team), options_(options), progress_(progress) {
    require_floats(source_);
    check_recipe(source_, recipe_);
    report_.before = shapes_of(source_.spec());
    if (recipe_.calibration.source != "self") text_ = draw_text({});
    if (!recipe_.calibration.held_out.empty()) text_.held_out = held_out_text(recipe_.calibration, source_);
  }

  // Of a run that searches; one that is told what to keep has nothing to go on from.
  bool searches() const { return recipe_.layers.empty(); }
  nlohmann::json identity() const {
    nlohmann::json recipe = prune_recipe_json(recipe_);
    recipe["search"] = recipe_.text();  // its file says only what was found
    return run_identity(source_.file().folder(), recipe, text_, options_);
  }

  // work: what is measured is kept there; nullptr: nowhere.
  PruneReport run(const fs::path& folder, OutputFolder& out, WorkFolder* work) {
    spill_ = folder;
    stage("check", [&](const StageProgress&) { require_finite_model(source_, team_); });
    stage("calibration text", [&](const StageProgress& progress) {
      text_ = kept_text(work, std::move(text_), [&] {
        return draw_text([&](int64_t done, int64_t total) { progress(done, total, "tokens"); });
      });
    });
    require_unseen(recipe_.calibration, text_, text_.windows);
    stage("held-out text", [&](const StageProgress& progress) {
      if (text_.held_out.ids.empty()) return;
      judge_.emplace(source_, text_.held_out,
                     spill_folder(source_.spec(), text_.held_out_tokens(), options_.memory, spill_), team_,
                     progress);
    });
    if (recipe_.max_kl && !judge_)
      fail("{}: text of one window, where one more is needed to judge the result by", text_.from);
    if (searches()) {
      Measurements known(work);
      const auto judge = [&](const Shapes& shapes) {
        return known.value(fmt::format("judged {}", text_of(shapes)), [&] { return judged(shapes); });
      };
      recipe_.layers = search_shapes({source_, recipe_, text_, options_.memory, spill_, team_, known, judge,
                                      [this](const std::string& name) { return watched(name); }});
    }
    if (!best_ || best_->weights.shapes() != recipe_.layers) take(made(recipe_.layers));
    end_stage();
    write(folder);
    out.commit(best_->weights.config());
    return std::move(report_);
  }

 private:
  template <class Body>
  void stage(const std::string& name, Body body) {
    body(watched(name));
    end_stage();
  }
  // Progress of a stage that begins, which ends with the next.
  StageProgress watched(const std::string& name) {
    end_stage();
    stage_ = name;
    began_ = Clock::now();
    return [this, name](int64_t done, int64_t total, const std::string& what) {
      if (progress_) progress_(name, done, total, what);
    };
  }
  void end_stage() {
    if (stage_.empty()) return;
    report_.stages.push_back({stage_, seconds_since(began_)});
    stage_.clear();
  }

  CalibrationText draw_text(const CalibrationProgress& progress) const {
    return calibration_text(recipe_.calibration, source_, options_.memory, team_, progress);
  }

  struct Made {
    RestoredModel model;
    std::optional<DriftReport> drift;  // on held-out text, if there is any
  };

  Made made(const Shapes& shapes) {
    const StageProgress progress = watched("layers");
    RestoredModel model = restore(source_, shapes, text_.windows,
                                  {.fitted = recipe_.fitted,
                                   .memory = options_.memory,
                                   .spill = spill_,
                                   .fixed = excluded_halves(source_, recipe_.exclude)},
                                  team_, progress);
    std::optional<DriftReport> drift;
    if (judge_) {
      judge_->begin(model.weights);
      for (int64_t i = 0; i < model.weights.spec().num_hidden_layers; ++i)
        judge_->pass(load_layer(model.weights, i, team_), i);
      drift = judge_->end(model.weights);
    }
    return {std::move(model), drift};
  }

  void take(Made made) {
    best_.emplace(std::move(made.model));
    report_.held_out = made.drift;
  }

  // The model of these shapes is kept while it is the smallest within the limit.
  double judged(const Shapes& shapes) {
    Made made = this->made(shapes);
    const double kl = made.drift ? made.drift->kl.mean : 0;
    if (!recipe_.max_kl || kl <= *recipe_.max_kl) take(std::move(made));
    return kl;
  }

  struct Part {
    const Module* module;
    bool bias;
    TensorInfo info;
  };
  std::vector<Part> parts() const {
    std::vector<Part> parts;
    const PrunedWeights& model = best_->weights;
    for (const Module& module : model.inventory().modules()) {
      const std::string origin = model.origin(module).name;
      std::vector<int64_t> shape = {module.cols};
      if (module.matrix()) shape.insert(shape.begin(), module.rows);
      if (module.transposed) std::ranges::reverse(shape);
      parts.push_back(
          {&module, false, {module.name + ".weight", source_.file().get(origin + ".weight").dtype, shape}});
      if (module.bias)
        parts.push_back({&module,
                         true,
                         {module.name + ".bias",
                          source_.file().get(origin + ".bias").dtype,
                          {module.matrix() ? module.rows : module.cols}}});
    }
    return parts;
  }

  void write(const fs::path& folder) {
    const StageProgress progress = watched("writing");
    const PrunedWeights& model = best_->weights;
    const std::vector<Part> parts = this->parts();
    std::vector<TensorInfo> tensors;
    for (const Part& part : parts) tensors.push_back(part.info);
    const fs::path path = folder / "model.safetensors";
    SafetensorsWriter writer(
        path, tensors,
        provenance(options_.version, recipe_.text(), "structured pruning; calibration: " + text_.source(),
                   report_.held_out));
    for (size_t i = 0; i < parts.size(); ++i) {
      check_interrupted();
      const auto& [module, bias, info] = parts[i];
      progress(static_cast<int64_t>(i), std::ssize(parts), info.name);
      if (bias || !module->matrix()) {
        writer.write(info.name,
                     float_bytes(bias ? model.bias(*module) : model.weight_vector(*module), info.dtype));
        continue;
      }
      const WeightMatrix matrix = model.matrix(*module);
      writer.write(info.name, module->transposed ? transpose(matrix).codes : matrix.codes);
      model.release(matrix);
    }
    writer.finish();
    source_.file().check_unchanged();
    std::ofstream stream(folder / recipe_file_name);
    stream << prune_recipe_json(recipe_).dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
           << '\n';
    stream.close();
    if (!stream) fail("{}: cannot write", (folder / recipe_file_name).string());
    end_stage();
    fill_report(path);
  }

  void fill_report(const fs::path& path) {
    const ModelSpec &before = source_.spec(), &after = best_->weights.spec();
    report_.recipe = recipe_;
    report_.fitted = best_->fitted;
    report_.source_bytes = source_.file().disk_bytes();
    report_.written_bytes = static_cast<int64_t>(fs::file_size(path));
    report_.weights_before = layer_weights(before, report_.before);
    report_.weights = layer_weights(before, recipe_.layers);
    report_.cache_before = KvCache::bytes(before, KvFormat::f16, 1);
    report_.cache = KvCache::bytes(after, KvFormat::f16, 1);
    report_.own_fields = !after.layers.empty();
    if (report_.own_fields)
      report_.notes.push_back(fmt::format(
          "layers differ in what they have, which only the field \"{}\" of config.json says: other "
          "programs cannot read this model, and may fill what is gone with random numbers",
          layer_shapes_field));
  }

  const FolderWeights source_;
  PruneRecipe recipe_;
  const Team& team_;
  const RunOptions& options_;
  const Progress& progress_;
  fs::path spill_;
  CalibrationText text_;
  std::optional<Judge> judge_;
  std::optional<RestoredModel> best_;
  std::string stage_;
  Clock::time_point began_;
  PruneReport report_;
};

}  // namespace

PruneReport prune(const fs::path& source, const fs::path& out, const PruneRecipe& recipe, const Team& team,
                  const RunOptions& options, const Progress& progress) {
  check_free_folder(final_path_of(out));
  PruneRun run(source, recipe, team, options, progress);
  OutputFolder folder(out);  // holds signals back until all below is gone
  folder.copy_side_files(source);
  std::optional<WorkFolder> work;
  if (run.searches()) work.emplace(out, run.identity(), options.resume);
  PruneReport report = run.run(folder.path(), folder, work ? &*work : nullptr);
  if (work) work->finish();
  if (const std::string note = work ? "" : WorkFolder::left_note(out); !note.empty())
    report.notes.push_back(note);
  return report;
}

}  // namespace whittle
