#include "bench/drift/drift_set.h"

#include <algorithm>

#include "bench/drift/drift_log.h"
#include "bench/speed.h"
#include "engine/files/model_file.h"
#include "engine/files/open_options.h"
#include "kernels/error.h"
#include "kernels/kv_format.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_of(std::span<const fs::path> models) {
  std::vector<std::string> names;
  for (const fs::path& model : models) names.push_back(folder_name(model));
  for (size_t i = 0; i < models.size(); ++i)
    if (std::ranges::count(models, names[i], folder_name) > 1) names[i] = models[i].string();
  return names;
}

// All models are looked at before the first is run.
void check_models(const DriftSet& set) {
  const ModelSpec baseline = set.stored ? ModelSpec() : read_model_spec(ModelFile(set.baseline));
  std::string hash;
  for (const fs::path& model : set.models) {
    const ModelSpec spec = read_model_spec(ModelFile(model));
    if (set.stored) {
      set.stored->check_model(model, spec);
      continue;
    }
    for (const DriftText& text : set.texts) check_drift(baseline, spec, text.windows);
    const std::optional<Tokenizer> tokenizer =
        set.models.size() > 1 ? Tokenizer::open_if_any(model) : std::nullopt;
    if (!tokenizer) continue;
    const std::string found = tokenizer_hash(*tokenizer);
    if (hash.empty()) hash = found;
    if (found != hash)
      fail("{}: field \"tokenizer\": its tokens stand for other text than those of {}", model.string(),
           set.models.front().string());
  }
}

// Everything that the figures depend on. The number of threads and the instruction set are nothing of it.
nlohmann::json identity_of(const DriftSet& set) {
  nlohmann::json models = nlohmann::json::array(), texts = nlohmann::json::array();
  for (const fs::path& model : set.models) models.push_back(model_identity(model));
  for (const DriftText& text : set.texts)
    texts.push_back({{"hash", text.hash},
                     {"context", text.windows.context},
                     {"protocol", text.windows.protocol},
                     {"windows", text.windows.ids.size()}});
  return {{"program", set.program},
          {"baseline", set.stored ? set.stored->baseline() : model_identity(set.baseline)},
          {"stored_top", set.stored ? nlohmann::json(set.stored->top()) : nlohmann::json(nullptr)},
          {"models", models},
          {"texts", texts},
          {"kv_cache", info(set.kv_cache).name},
          {"float_inputs", float_inputs_kept()}};
}

}  // namespace

std::vector<ModelDrift> measure_drift_set(const DriftSet& set, const Team& team,
                                          const DriftSetProgress& progress) {
  check_models(set);
  std::optional<DriftLog> log;
  if (!set.resume.empty()) log.emplace(set.resume, identity_of(set));
  std::optional<Model> baseline;
  if (!set.stored) baseline.emplace(set.baseline, team);
  int64_t total = 0, done = 0;
  for (const DriftText& text : set.texts) total += std::ssize(text.windows.ids);
  total *= std::ssize(set.models);

  const std::vector<std::string> names = names_of(set.models);
  std::vector<ModelDrift> drifts;
  for (size_t m = 0; m < set.models.size(); ++m) {
    const Model model(set.models[m], team);
    ModelDrift& drift = drifts.emplace_back(ModelDrift{names[m], {}, {}});
    std::vector<std::unique_ptr<DriftMeter>> meters;
    std::vector<const DriftMeter*> all;
    for (size_t t = 0; t < set.texts.size(); ++t) {
      const DriftText& text = set.texts[t];
      DriftMeter& meter = *meters.emplace_back(std::make_unique<DriftMeter>(text.windows, team));
      std::vector<bool> known(text.windows.ids.size());
      const DriftSteps steps = {
          [&](size_t w) { return known[w] = log && log->load(m, t, w, meter.scored(w)); },
          [&](size_t w) {
            if (log && !known[w]) log->save(m, t, w, meter.scored(w));
            if (progress) progress(++done, total, names[m]);
          }};
      if (set.stored)
        compare_windows(*set.stored, t, model, team, set.kv_cache, meter, steps);
      else
        compare_windows(*baseline, model, team, set.kv_cache, meter, steps);
      drift.texts.push_back(meter.report());
      drift.texts.back().bytes_scored = text.bytes_scored;
      all.push_back(&meter);
    }
    drift.all = drift_report(all);
    if (std::ranges::all_of(set.texts, [](const DriftText& text) { return text.bytes_scored > 0; }))
      for (const DriftText& text : set.texts) drift.all.bytes_scored += text.bytes_scored;
  }
  if (log) log->finish();
  return drifts;
}

}  // namespace whittle
