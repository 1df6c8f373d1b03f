#include "bench/reports/compare/judgement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "bench/reports/report_values.h"

namespace whittle {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

struct FindingText {
  const char* name;
  const char* words;
  const char* reason;
};
// By Finding.
constexpr FindingText texts[] = {
    {"same", "same", "the very same number"},
    {"better", "better", "more than chance does"},
    {"worse", "worse", "more than chance does"},
    {"changed", "changed", "more than chance does; neither direction is better"},
    {"within_interval", "within spread", "the difference lies within what repeats or windows differ by"},
    {"machine", "machine", "the probes beside the repeats moved as much: the machine, not the model"},
    {"unsure", "unsure", "measured once, or too few repeats: nothing tells the difference from chance"},
    {"unknown", "–", "only one of the two has this figure"},
};

bool all_finite(const std::vector<double>& values) {
  return !values.empty() && std::ranges::all_of(values, [](double value) { return std::isfinite(value); });
}

bool all_positive(const std::vector<double>& values) {
  return all_finite(values) && std::ranges::all_of(values, [](double value) { return value > 0; });
}

// `nothing`: 1 of a ratio, 0 of a difference.
Finding finding_of(const Interval& change, double nothing, Better better) {
  if (!(std::isfinite(change.low) && std::isfinite(change.high))) return Finding::unsure;
  if (change.low <= nothing && nothing <= change.high) return Finding::within;
  if (better == Better::neither) return Finding::changed;
  return (change.low > nothing) == (better == Better::more) ? Finding::better : Finding::worse;
}

// More values than this say nothing more, and every pair of them is looked at.
constexpr size_t most_samples = 500;

// Ratio of now to before.
Interval shift(std::vector<double> before, std::vector<double> now) {
  for (std::vector<double>* values : {&before, &now}) {
    values->resize(std::min(values->size(), most_samples));
    for (double& value : *values) value = std::log(value);
  }
  const Interval found = hodges_lehmann_shift(before, now, 0.95);
  return {std::exp(found.mean), std::isinf(found.low) ? found.low : std::exp(found.low),
          std::exp(found.high)};
}

std::optional<std::vector<double>> divided(std::vector<double> values, const std::vector<double>& probe) {
  if (probe.size() != values.size() || !all_positive(probe)) return {};
  std::ranges::transform(values, probe, values.begin(), std::divides());
  return values;
}

class Judge {
 public:
  Judge(const FigureSpec& figure, const nlohmann::json& before, const nlohmann::json& now)
      : figure_(figure),
        before_(before),
        now_(now),
        a_(number_at(before, figure.path)),
        b_(number_at(now, figure.path)),
        ratio_(figure.change == ChangeAs::ratio) {}

  Judgement judgement() const {
    Judgement result{ratio_ ? b_ / a_ : b_ - a_, {unknown, unknown, unknown}, Finding::unknown, ""};
    if (!std::isfinite(result.change)) result.change = unknown;
    if (std::isnan(a_) || std::isnan(b_)) return result;
    if (a_ == b_) return {ratio_ ? 1.0 : 0.0, result.interval, Finding::same, "exact"};
    if (figure_.certainty == Certainty::exact)
      return {result.change, result.interval, finding_of({b_ - a_, b_ - a_, b_ - a_}, 0, figure_.better),
              "exact"};
    result.finding = Finding::unsure;
    for (const auto look : {&Judge::pairs, &Judge::repeats, &Judge::intervals, &Judge::ranges})
      if ((this->*look)(result)) return result;
    return result;
  }

 private:
  double nothing() const { return ratio_ ? 1 : 0; }

  bool pairs(Judgement& result) const {
    if (!figure_.paired.values) return false;
    const std::vector<double> before = figure_.paired.values(before_), now = figure_.paired.values(now_);
    if (before.size() != now.size() || !all_finite(before) || !all_finite(now)) return false;
    if (figure_.paired.of(before_) != figure_.paired.of(now_)) return false;
    const Interval change = figure_.paired.change(before, now);
    if (!std::isfinite(change.low) || !std::isfinite(change.high))
      return false;  // one window, or a ratio to 0
    result.interval = change;
    result.finding = finding_of(result.interval, nothing(), figure_.better);
    result.basis = "pairs";
    return true;
  }

  bool repeats(Judgement& result) const {
    if (figure_.samples.empty() || !ratio_) return false;
    const std::vector<double> before = numbers_at(before_, figure_.samples),
                              now = numbers_at(now_, figure_.samples);
    if (!all_positive(before) || !all_positive(now)) return false;
    result.interval = shift(before, now);
    result.finding = finding_of(result.interval, 1, figure_.better);
    result.basis = "repeats";
    if (figure_.probe.empty() || (result.finding != Finding::better && result.finding != Finding::worse))
      return true;
    const auto before_of_limit = divided(before, numbers_at(before_, figure_.probe));
    const auto now_of_limit = divided(now, numbers_at(now_, figure_.probe));
    if (before_of_limit && now_of_limit &&
        finding_of(shift(*before_of_limit, *now_of_limit), 1, figure_.better) != result.finding)
      result.finding = Finding::machine;
    return true;
  }

  bool intervals(Judgement& result) const {
    if (figure_.interval.empty()) return false;
    const Interval before = interval_at(before_, figure_.interval, a_),
                   now = interval_at(now_, figure_.interval, b_);
    for (const double end : {before.low, before.high, now.low, now.high})
      if (!std::isfinite(end)) return false;
    const Interval change = interval_of_difference(before, now);
    result.finding = finding_of(change, 0, figure_.better);
    result.interval = ratio_ ? Interval{b_ / a_, 1 + change.low / a_, 1 + change.high / a_} : change;
    result.basis = "intervals";
    return true;
  }

  // The least and the most of the repeats.
  std::pair<double, double> range_of(const nlohmann::json& item) const {
    if (!figure_.spread.empty())
      return {number_at(item, figure_.spread + "/min"), number_at(item, figure_.spread + "/max")};
    const Interval ends = interval_at(item, figure_.range, unknown);
    return {ends.low, ends.high};
  }

  bool ranges(Judgement& result) const {
    if (figure_.spread.empty() && figure_.range.empty()) return false;
    const auto [before_least, before_most] = range_of(before_);
    const auto [now_least, now_most] = range_of(now_);
    if (!(before_least < before_most) || !(now_least < now_most))
      return false;  // of one repeat they say nothing
    const bool apart = before_most < now_least || now_most < before_least;
    result.finding = apart ? finding_of({b_ - a_, b_ - a_, b_ - a_}, 0, figure_.better) : Finding::within;
    result.basis = "ranges";
    return true;
  }

  const FigureSpec& figure_;
  const nlohmann::json &before_, &now_;
  double a_, b_;
  bool ratio_;
};

}  // namespace

std::string_view name(Finding finding) { return texts[static_cast<size_t>(finding)].name; }
std::string_view words(Finding finding) { return texts[static_cast<size_t>(finding)].words; }
std::string_view reason(Finding finding) { return texts[static_cast<size_t>(finding)].reason; }

Judgement judge(const FigureSpec& figure, const nlohmann::json& before, const nlohmann::json& now) {
  return Judge(figure, before, now).judgement();
}

}  // namespace whittle
