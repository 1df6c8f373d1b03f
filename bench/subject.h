#pragma once
// A model that is being measured, at one setting.

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "bench/probe.h"
#include "bench/requests.h"
#include "bench/speed.h"
#include "engine/sampler.h"
#include "engine/session.h"

namespace whittle {

// What all settings of a model share.
struct LoadedModel {
  LoadedModel(const std::filesystem::path& folder, const Team& team);

  std::filesystem::path folder;
  double load_seconds = 0;
  Model model;
  std::optional<Tokenizer> tokenizer;
};

class Subject {
 public:
  // Room for `most_sequences`, of which options.sequences are used at first. Throws Error.
  Subject(std::shared_ptr<const LoadedModel> loaded, const Team& team, const SpeedOptions& options,
          int64_t most_sequences);
  Subject(std::shared_ptr<const LoadedModel> loaded, const Team& team, const SpeedOptions& options)
      : Subject(std::move(loaded), team, options, options.sequences) {}

  void describe(SpeedReport& report) const;
  // Touches every buffer and builds whatever is built on first use.
  void warm_up();
  // Decodes so many from now on; the caches of those that are new are filled first.
  void use_sequences(int64_t count);

  // How many runs options.repeat asks for: each request so often.
  int64_t runs() const { return options_.repeat * static_cast<int64_t>(requests_.size()); }
  // The requests in turns: run 0 is the first one's. `buffer` is the team's.
  SpeedRepeat run(int64_t index, const ProbeBuffer& buffer);
  // The first request, watched, by runs of their own: the repeats know nothing of them.
  std::vector<PhaseProfile> profile(const ProbeBuffer& buffer);

 private:
  int64_t context() const { return options_.context + longest(requests_); }
  bool int8() const { return loaded_->model.int8_macs() > 0; }
  double probe_arithmetic() const { return int8() ? probe_int8(team_) : probe_fp32(team_); }
  void fill(Session& session, int64_t context);
  // The first sequence's prompt has just been timed; the others keep the warm-up's in their caches.
  void rewind_to_prompt(const Request& request);
  void sample_all(const Logits& logits, const Request& request, std::vector<int32_t>& tokens);
  Workload workload(const Request& request) const;
  int32_t run_prompt(const Request& request, SpeedRepeat& repeat);
  void run_steps(const Request& request, int32_t token, const ProbeBuffer& buffer, SpeedRepeat& repeat);
  template <class Run>
  PhaseProfile profile_phase(const std::string& phase, const ProbeBuffer& buffer, Run run);
  void time_watching(PhaseProfile& prefill, PhaseProfile& decode);

  const std::shared_ptr<const LoadedModel> loaded_;
  const Team& team_;
  SpeedOptions options_;
  std::vector<Request> requests_;
  std::shared_ptr<Decoder> decoder_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<Session*> used_;
  Sampler sampler_{SamplerOptions{}};  // greedy
};

}  // namespace whittle
