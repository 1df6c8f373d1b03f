#include "quant/structure/measurements.h"

#include <algorithm>
#include <cmath>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr const char* file_name = "measured";

}  // namespace

Measurements::Measurements(WorkFolder* work) : work_(work) {
  const std::optional<SafetensorsFile> saved = work ? work->open(file_name) : std::nullopt;
  if (!saved) return;
  const nlohmann::json facts = WorkFolder::facts(*saved);
  if (!facts.is_object()) fail("{}: expected an object of what was measured", saved->path().string());
  for (const auto& [name, values] : facts.items()) {
    if (!values.is_array() ||
        !std::ranges::all_of(values, [](const nlohmann::json& value) { return value.is_number(); }))
      fail("{}: {}: expected an array of numbers", saved->path().string(), quote(name));
    known_[name] = values.get<Values>();
  }
}

Measurements::Values Measurements::values(const std::string& name, size_t count,
                                          const std::function<Values()>& measure) {
  const auto found = known_.find(name);
  if (found == known_.end()) {
    Values values = measure();
    // JSON has no other numbers.
    if (!std::ranges::all_of(values, [](double value) { return std::isfinite(value); })) return values;
    known_[name] = values;
    keep();
    return values;
  }
  if (found->second.size() != count)
    fail("{}: {}: expected {} values, found {}", work_ ? work_->path().string() : file_name, quote(name),
         count, found->second.size());
  return found->second;
}

double Measurements::value(const std::string& name, const std::function<double()>& measure) {
  return values(name, 1, [&] { return Values{measure()}; }).front();
}

void Measurements::keep() const {
  if (work_) work_->save(file_name, {}, nlohmann::json(known_));
}

}  // namespace whittle
