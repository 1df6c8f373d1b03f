#pragma once
// How long a recipe will take, from those that are done.

#include "quant/frontier/result.h"

namespace whittle {

class Pace {
 public:
  // cost: of making it, in FrontierRecipe::cost()'s measure.
  void add(double cost, const RecipeResult& done) {
    measuring_ += done.measure_seconds;
    making_ += done.make_seconds;
    cost_ += cost;
    count_ += 1;
  }
  // 0 where nothing is done yet. A recipe of a kind that none was of may take longer.
  double seconds(double cost) const {
    if (count_ == 0) return 0;
    const double rate = cost_ > 0 ? making_ / cost_ : measuring_ / count_;
    return measuring_ / count_ + cost * rate;
  }

 private:
  double measuring_ = 0, making_ = 0, cost_ = 0, count_ = 0;
};

}  // namespace whittle
