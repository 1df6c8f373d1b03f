#pragma once
// What a search has measured, by name, kept in a work folder as soon as it is known: a run that goes on takes
// it from there.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "quant/work_folder.h"

namespace whittle {

class Measurements {
 public:
  using Values = std::vector<double>;

  // Begins with what an earlier run left in `work`, which must outlive this; nullptr: nothing is kept. Throws
  // Error for what no run has written.
  explicit Measurements(WorkFolder* work);
  // What is known under this name; else what `measure` says, known from then on. Throws Error where that is
  // not `count` values.
  Values values(const std::string& name, size_t count, const std::function<Values()>& measure);
  double value(const std::string& name, const std::function<double()>& measure);

 private:
  void keep() const;

  WorkFolder* work_;
  std::map<std::string, Values> known_;
};

}  // namespace whittle
