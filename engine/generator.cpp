#include "engine/generator.h"

#include <algorithm>

#include "engine/tokenizer/token_ids.h"
#include "kernels/error.h"

namespace whittle {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Holds text back while its end may be the beginning of a stop text.
class StopFilter {
 public:
  StopFilter(const std::vector<std::string>& stops, Generation& out, const TextSink& sink)
      : stops_(stops), out_(out), sink_(sink) {}

  // Returns true when a stop text is complete; what stands before it has been released then.
  bool push(std::string_view text) {
    held_ += text;
    size_t cut = std::string::npos, keep = 0;
    for (const std::string& stop : stops_) {
      cut = std::min(cut, held_.find(stop));
      for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length)
        if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length))) keep = length;
    }
    if (cut != std::string::npos) {
      held_.resize(cut);
      flush();
      return true;
    }
    release(held_.size() - keep);
    return false;
  }
  void flush() { release(held_.size()); }

 private:
  void release(size_t count) {
    if (count == 0) return;
    out_.text.append(held_, 0, count);
    if (sink_) sink_(std::string_view(held_).substr(0, count));
    held_.erase(0, count);
  }

  const std::vector<std::string>& stops_;
  Generation& out_;
  const TextSink& sink_;
  std::string held_;
};

}  // namespace

std::string_view name(FinishReason reason) {
  constexpr std::string_view names[] = {"end of sequence", "stop text", "max tokens", "context full"};
  return names[static_cast<size_t>(reason)];
}

Generation generate(Session& session, const Model& model, const Tokenizer* tokenizer,
                    std::span<const int32_t> prompt, const GenerationOptions& options, const TextSink& sink) {
  if (prompt.empty()) fail("the prompt is empty");
  check_token_ids(prompt, model.spec().vocab_size, "the prompt");
  for (const std::string& stop : options.stop)
    if (stop.empty()) fail("--stop: expected a text, found an empty one");
  Generation out;
  Sampler sampler(options.sampler);
  StopFilter filter(options.stop, out, sink);
  std::optional<Tokenizer::Stream> stream;
  if (tokenizer) stream.emplace(*tokenizer);
  const std::vector<int32_t>& ends = model.spec().eos_token_ids;
  std::vector<int32_t> seen(prompt.begin(), prompt.end());

  auto start = Clock::now();
  Logits logits = session.forward(prompt);
  out.prefill_seconds = seconds_since(start);
  start = Clock::now();
  bool stopped = false;
  for (int64_t count = 0; count < options.max_tokens; ++count) {
    const auto sampling = Clock::now();
    const int32_t id = sampler.sample(logits.row(0), seen);
    out.sampling_seconds += seconds_since(sampling);
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
      out.finish_reason = FinishReason::end_of_sequence;
      break;
    }
    out.ids.push_back(id);
    seen.push_back(id);
    if (stream && filter.push(stream->push(id))) {
      out.finish_reason = FinishReason::stop_text;
      stopped = true;
      break;
    }
    if (count + 1 == options.max_tokens) break;
    if (session.position() == session.context()) {
      out.finish_reason = FinishReason::context_full;
      break;
    }
    logits = session.forward({&id, 1});
  }
  out.decode_seconds = seconds_since(start);
  if (stream && !stopped) {
    if (filter.push(stream->finish()))
      out.finish_reason = FinishReason::stop_text;
    else
      filter.flush();
  }
  return out;
}

}  // namespace whittle
