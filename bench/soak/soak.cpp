#include "bench/soak/soak.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "bench/memory.h"
#include "bench/soak/sensors.h"
#include "engine/files/interrupts.h"
#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string difference(const Answer& found, const Answer& first) {
  for (size_t i = 0; i < std::min(found.ids.size(), first.ids.size()); ++i)
    if (found.ids[i] != first.ids[i])
      return fmt::format("token {}: {}, first {}", i, found.ids[i], first.ids[i]);
  if (found.ids.size() != first.ids.size())
    return fmt::format("{} tokens, first {}", found.ids.size(), first.ids.size());
  return "the same tokens from other logits";
}

// A conversation that is going on, and the session that it has to itself until then.
struct Speaker {
  Session session;
  size_t kind = 0;
  bool busy = false;
  std::optional<Sampler> sampler;
  std::vector<int32_t> said;  // the prompt too
  Answer answer;
};

class Run {
 public:
  Run(const Model& model, const Tokenizer* tokenizer, const Team& team, const SoakOptions& options,
      const SoakWorld& world)
      : options_(options),
        world_(world),
        conversations_(soak_conversations(model.spec(), tokenizer)),
        series_(std::ssize(conversations_)) {
    if (!world_.seconds) world_.seconds = steady_seconds;
    if (!world_.anonymous_bytes)
      world_.anonymous_bytes = [] { return static_cast<double>(anonymous_bytes()); };
    int64_t context = 0, chunk = options.sequences;
    for (const Conversation& conversation : conversations_) {
      context = std::max(context, conversation.positions());
      chunk = std::max(chunk, std::ssize(conversation.prompt));
    }
    const auto decoder = std::make_shared<Decoder>(model, team, chunk, context);
    for (int64_t i = 0; i < options.sequences; ++i)
      speakers_.push_back({Session(decoder, context, options.kv_cache)});
    first_answers_.resize(conversations_.size());
    report_.options = options;
    report_.threads = team.size();
  }

  SoakReport run(const SoakProgress& progress) {
    const double total = 60 * options_.minutes, begin = world_.seconds();
    do {
      if (!run_round()) {
        report_.interrupted = true;
        break;
      }
      ++report_.rounds;
      const double now = world_.seconds();
      report_.seconds = now - begin;
      // Until each session has met every kind, caches grow into their memory.
      if (report_.rounds > std::ssize(conversations_)) series_.add(measure(now - begin));
      if (progress)
        progress(now - begin, total,
                 fmt::format("{} rounds, {} answers changed", report_.rounds, report_.changed_count));
    } while (world_.seconds() - begin < total);
    report_.points.assign(series_.points().begin(), series_.points().end());
    judge(report_);
    return std::move(report_);
  }

 private:
  SoakPoint measure(double seconds) {
    const SensorReading sensors = read_sensors(world_.root);
    SoakPoint point;
    point.seconds = seconds;
    point.anonymous_bytes = world_.anonymous_bytes();
    point.decode_ms = 1e3 * decode_seconds_ / static_cast<double>(decoded_);
    point.prefill_ms = 1e3 * prefill_seconds_ / static_cast<double>(prefilled_);
    point.clock_mhz = sensors.clock_mhz.value_or(unknown);
    point.temperature_c = sensors.temperature_c.value_or(unknown);
    return point;
  }

  // Whether it came to its end.
  bool run_round() {
    decode_seconds_ = prefill_seconds_ = 0;
    decoded_ = prefilled_ = 0;
    const auto kinds = static_cast<int64_t>(conversations_.size());
    // As many as keep all sessions busy.
    const int64_t count = kinds * ((options_.sequences + kinds - 1) / kinds);
    int64_t next = 0;
    while (true) {
      for (Speaker& speaker : speakers_)
        for (; !speaker.busy && next < count; ++next) {  // an answer of one token has ended when it begins
          if (interrupted()) return false;
          start(speaker, static_cast<size_t>((report_.rounds + next) % kinds));
        }
      std::vector<Session*> sessions;
      std::vector<int32_t> tokens;
      for (Speaker& speaker : speakers_)
        if (speaker.busy) {
          sessions.push_back(&speaker.session);
          tokens.push_back(speaker.said.back());
        }
      if (interrupted()) return false;
      if (sessions.empty()) return true;
      step(sessions, tokens);
    }
  }

  void start(Speaker& speaker, size_t kind) {
    const Conversation& conversation = conversations_[kind];
    speaker.kind = kind;
    speaker.busy = true;
    speaker.sampler.emplace(conversation.sampler);
    speaker.said = conversation.prompt;
    speaker.answer = {{}, hash_of_no_logits};
    speaker.session.rewind(0);
    const double begin = world_.seconds();
    const Logits logits = speaker.session.forward(conversation.prompt);
    prefill_seconds_ += world_.seconds() - begin;
    prefilled_ += std::ssize(conversation.prompt);
    hear(speaker, logits.row(0));
  }

  void step(const std::vector<Session*>& sessions, const std::vector<int32_t>& tokens) {
    const double begin = world_.seconds();
    const Logits logits = Session::step(sessions, tokens);
    decode_seconds_ += world_.seconds() - begin;
    decoded_ += std::ssize(tokens);
    int64_t row = 0;
    for (Speaker& speaker : speakers_)
      if (speaker.busy) hear(speaker, logits.row(row++));
  }

  // The next token of an answer, which may be its last.
  void hear(Speaker& speaker, std::span<const float> logits) {
    Answer& answer = speaker.answer;
    const int32_t token = speaker.sampler->sample(logits, speaker.said);
    answer.ids.push_back(token);
    answer.logits_hash = hash_logits(logits, answer.logits_hash);
    speaker.said.push_back(token);
    ++report_.tokens;
    if (std::ssize(answer.ids) < conversations_[speaker.kind].answer_tokens) return;
    speaker.busy = false;
    check(speaker);
  }

  void check(Speaker& speaker) {
    const Conversation& conversation = conversations_[speaker.kind];
    if (world_.tamper) world_.tamper(report_.rounds, conversation, speaker.answer);
    ++report_.answers;
    std::optional<Answer>& first = first_answers_[speaker.kind];
    if (!first) {
      first = speaker.answer;
    } else if (speaker.answer != *first) {
      constexpr size_t most_shown = 100;
      if (report_.changed.size() < most_shown)
        report_.changed.push_back({report_.rounds, conversation.kind, difference(speaker.answer, *first)});
      ++report_.changed_count;
    }
  }

  const SoakOptions options_;
  SoakWorld world_;
  const std::vector<Conversation> conversations_;
  std::vector<Speaker> speakers_;
  std::vector<std::optional<Answer>> first_answers_;  // of each kind
  SoakSeries series_;
  SoakReport report_;
  // Of the round that runs.
  double decode_seconds_ = 0, prefill_seconds_ = 0;
  int64_t decoded_ = 0, prefilled_ = 0;
};

Change change_of(const std::vector<SoakPoint>& points, double SoakPoint::*figure, bool in_percent,
                 double limit) {
  std::vector<double> seconds, values;
  double sum = 0;
  for (const SoakPoint& point : points)
    if (std::isfinite(point.*figure)) {
      seconds.push_back(point.seconds);
      values.push_back(point.*figure);
      sum += point.*figure;
    }
  Change change;
  change.mean = values.empty() ? unknown : sum / static_cast<double>(values.size());
  change.slope = slope_of(seconds, values);
  double factor = seconds.size() < 2 ? 1 : seconds.back() - seconds.front();
  if (in_percent) factor *= 100 / change.mean;
  const Interval& slope = change.slope.found;
  change.growth = {slope.mean * factor, slope.low * factor, slope.high * factor};
  change.verdict = judge_growth(change.growth, limit);
  return change;
}

}  // namespace

bool SoakReport::passes() const {
  return changed_count == 0 && memory.verdict != Verdict::exceeded && decode.verdict != Verdict::exceeded;
}

void judge(SoakReport& report) {
  const auto of = [&](double SoakPoint::*figure, bool in_percent, double limit) {
    return change_of(report.points, figure, in_percent, limit);
  };
  constexpr double none = std::numeric_limits<double>::infinity();
  report.memory = of(&SoakPoint::anonymous_bytes, false, report.options.max_growth_bytes);
  report.decode = of(&SoakPoint::decode_ms, true, report.options.max_slowdown_percent);
  report.clock = of(&SoakPoint::clock_mhz, false, none);
  report.temperature = of(&SoakPoint::temperature_c, false, none);
}

SoakReport soak(const Model& model, const Tokenizer* tokenizer, const Team& team, const SoakOptions& options,
                const SoakProgress& progress, const SoakWorld& world) {
  return Run(model, tokenizer, team, options, world).run(progress);
}

}  // namespace whittle
