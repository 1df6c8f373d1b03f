#pragma once
// A limit for a figure that is known within an interval only.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "bench/statistics.h"

namespace whittle {

// kept: the whole interval is at most the limit. exceeded: all of it lies above, or the figure is no finite
// number. undecided: the limit lies within, so that more windows are needed to tell.
enum class Verdict : uint8_t { kept, exceeded, undecided };
std::string_view name(Verdict verdict);

struct Gate {
  std::string name;    // in JSON: "max_kl"
  std::string figure;  // what is limited, in words: "mean KL divergence"
  double limit = 0;
  Interval found;

  Verdict verdict() const;
  // Of a gate that is undecided, the mean decides. Never where that is not finite.
  bool passes() const;
};

// Keys: see bench/reports/schemas/.
nlohmann::json gates_json(std::span<const Gate> gates);
// What an interval was taken from, and what narrows it, in words.
struct GateSample {
  std::string one = "window";
  std::string more = "a longer text or a shorter context gives more windows";
};
// One line without its end: verdict, figure, interval and limit; how an undecided gate was judged from
// `count` samples, and what would decide it.
std::string gate_text(const Gate& gate, int64_t count, const GateSample& sample = {});

}  // namespace whittle
