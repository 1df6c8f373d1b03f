#include "engine/generator.h"

#include "engine/clock.h"

namespace whittle {
Generation generate(Session& session, const Model& model, const Tokenizer* tokenizer,
                    std::span<const int32_t> prompt, const GenerationOptions& options, const TextSink& sink) {
  Sequence sequence(model.spec(), tokenizer, prompt, options);
  Generation out;
  const auto take = [&](const Sequence::Step& step) {
    out.text += step.text;
    if (sink && !step.text.empty()) sink(step.text);
    return step.next;
  };
  auto start = Clock::now();
  Logits logits = session.forward(prompt);
  out.prefill_seconds = seconds_since(start);
  start = Clock::now();
  while (!sequence.done()) {
    const std::optional<int32_t> next = take(sequence.push(logits.row(0)));
    if (!next) break;
    if (session.position() == session.context())
      take(sequence.end(FinishReason::context_full));
    else
      logits = session.forward({&*next, 1});
  }
  out.decode_seconds = seconds_since(start);
  out.sampling_seconds = sequence.sampling_seconds();
  out.ids.assign(sequence.ids().begin(), sequence.ids().end());
  out.finish_reason = sequence.finish_reason();
  return out;
}

}  // namespace whittle
