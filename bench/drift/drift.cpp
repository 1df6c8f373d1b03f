#include "bench/drift/drift.h"

#include <algorithm>

#include "kernels/option_error.h"

namespace whittle {
namespace {

// body(window) for each that is not known.
void for_each_window(const Windows& windows, const DriftSteps& steps,
                     const std::function<void(size_t)>& body) {
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    if (!steps.known || !steps.known(w)) body(w);
    if (steps.done) steps.done(w);
  }
}

}  // namespace

int64_t logit_rows(int64_t vocab_size) {
  return std::clamp<int64_t>((int64_t{1} << 24) / vocab_size, 8, 128);
}

void check_drift(const ModelSpec& baseline, const ModelSpec& model, const Windows& windows) {
  if (baseline.vocab_size != model.vocab_size)
    fail_option("baseline", "the vocabularies differ: {} tokens there, {} in the model", baseline.vocab_size,
                model.vocab_size);
  check_windows(windows, model.vocab_size);
}

void run_window(Session& session, std::span<const int32_t> ids, int64_t chunk,
                const std::function<void(int64_t first, const Logits& logits)>& visit) {
  session.rewind(0);
  const int64_t predicting = std::ssize(ids) - 1;
  for (int64_t first = 0; first < predicting; first += chunk) {
    const int64_t rows = std::min(chunk, predicting - first);
    visit(first, session.forward_all(ids.subspan(static_cast<size_t>(first), static_cast<size_t>(rows))));
  }
}

void compare_windows(const Model& baseline, const Model& model, const Team& team, KvFormat kv_cache,
                     DriftMeter& meter, const DriftSteps& steps) {
  const Windows& windows = meter.windows();
  const int64_t chunk = logit_rows(model.spec().vocab_size);
  Session baseline_session(baseline, team, {windows.context, KvFormat::f32, chunk});
  Session model_session(model, team, {windows.context, kv_cache, chunk});
  for_each_window(windows, steps, [&](size_t w) {
    const std::span<const int32_t> ids = windows.ids[w];
    baseline_session.rewind(0);
    run_window(model_session, ids, chunk, [&](int64_t first, const Logits& ours) {
      if (steps.seen) steps.seen(w, first, ours);
      const auto part = ids.subspan(static_cast<size_t>(first), static_cast<size_t>(ours.rows));
      meter.compare(w, first, baseline_session.forward_all(part), ours);
    });
  });
}

void compare_windows(const BaselineFile& baseline, size_t text, const Model& model, const Team& team,
                     KvFormat kv_cache, DriftMeter& meter, const DriftSteps& steps) {
  const Windows& windows = meter.windows();
  const int64_t chunk = logit_rows(model.spec().vocab_size);
  Session session(model, team, {windows.context, kv_cache, chunk});
  meter.set_stored();  // also where all windows are known
  for_each_window(windows, steps, [&](size_t w) {
    const auto stored = [&](int64_t token, std::span<const float> logits) {
      return baseline.compare(text, w, token, logits);
    };
    run_window(session, windows.ids[w], chunk, [&](int64_t first, const Logits& ours) {
      if (steps.seen) steps.seen(w, first, ours);
      meter.compare(w, first, stored, ours);
    });
  });
}

DriftReport measure_drift(const Model& baseline, const Model& model, const Team& team, const Windows& windows,
                          KvFormat kv_cache, const Tokenizer* tokenizer, const DriftProgress& progress) {
  check_drift(baseline.spec(), model.spec(), windows);
  DriftMeter meter(windows, team);
  compare_windows(baseline, model, team, kv_cache, meter, {{}, [&](size_t window) {
                                                             if (progress)
                                                               progress(static_cast<int64_t>(window) + 1,
                                                                        std::ssize(windows.ids));
                                                           }});
  DriftReport report = meter.report();
  if (tokenizer) report.bytes_scored = bytes_scored(windows, *tokenizer);
  return report;
}

}  // namespace whittle
