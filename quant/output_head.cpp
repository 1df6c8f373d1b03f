#include "quant/output_head.h"

#include <algorithm>
#include <vector>

#include "engine/files/interrupts.h"

namespace whittle {

OutputHead::OutputHead(const WeightSource& source, const Team& team)
    : spec_(source.spec()),
      max_rows_(logit_rows(spec_.vocab_size)),
      team_(team),
      norm_(load_norm(source, *source.inventory().find(Role::final_norm))),
      head_(load_linear(source, source.inventory().head(), team)),
      runner_(spec_, {head_.activation_group_size()}, team, 1, 1),
      input_(max_rows_, spec_.hidden_size, {head_.activation_group_size()}),
      stride_(round_up(spec_.vocab_size, panel_rows)),
      logits_(max_rows_ * stride_) {}

Logits OutputHead::run(const float* hidden, int64_t rows) {
  head_.prepare(rows);
  team_.run([&](const Worker& worker) {
    worker.hand_out(rows, [&](Range mine) {
      for (int64_t m = mine.begin; m < mine.end; ++m) {
        runner_.apply(norm_, hidden + m * spec_.hidden_size, spec_.hidden_size, input_.row(m));
        input_.quantize(m, spec_.hidden_size, head_.activation_group_size());
      }
    });
    worker.hand_out(head_.panels(), [&](Range panels) {
      head_.multiply(input_, rows, panels, {logits_.data(), stride_});
    });
  });
  return {logits_.data(), rows, stride_, spec_.vocab_size};
}

DriftReport compare(const Windows& windows, const TokenStream& baseline, OutputHead& baseline_head,
                    const TokenStream& model, OutputHead& model_head, const Team& team) {
  const int64_t most = std::min(baseline_head.max_rows(), model_head.max_rows()),
                width = baseline_head.hidden_size();
  DriftMeter meter(windows, team);
  std::vector<float> of_baseline(static_cast<size_t>(most * width)), of_model(of_baseline.size());
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    check_interrupted();
    const int64_t predicting = std::ssize(windows.ids[w]) - 1;  // nothing follows the last token
    for (int64_t first = 0; first < predicting; first += most) {
      const int64_t rows = std::min(most, predicting - first);
      baseline.read(w, first, rows, of_baseline.data());
      model.read(w, first, rows, of_model.data());
      const Logits ours = model_head.run(of_model.data(), rows);
      meter.compare(w, first, baseline_head.run(of_baseline.data(), rows), ours);
    }
  }
  return meter.report();
}

}  // namespace whittle
