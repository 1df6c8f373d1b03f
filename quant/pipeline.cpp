#include "quant/pipeline.h"

#include <algorithm>

#include "engine/files/json_file.h"
#include "engine/files/output_folder.h"
#include "kernels/error.h"
#include "kernels/option_error.h"
#include "quant/budget_search.h"
#include "quant/run.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

void require_measuring(const Recipe& recipe) {
  if (recipe.method != MethodName::gptq)
    fail("a budget is spent by what error feedback measures; the method is {}", name(recipe.method));
  if (recipe.sparsity) fail("a budget is spent on the bits of codes: none is for a model that is pruned");
}

void require_rotation(const Recipe& recipe, bool one_format) {
  if (recipe.rotation == RotationName::automatic && !(one_format && recipe.method == MethodName::gptq))
    fail_option("rotate", "can be chosen only for one format of all linears, by what error feedback leaves");
}

std::unique_ptr<CalibratedMethod> within_budget(Run& run, const Budget& budget) {
  const BudgetSolver solver = run.measure();
  std::unique_ptr<CalibratedMethod> method;
  const auto carry_out = [&](const MixedRecipe& mix, const std::string& name) {
    run.use(mix.recipe);
    run.report().predicted_kl = mix.predicted_kl;
    method = run.calibrated(name + ".");
    if (!budget.time) return;
    run.report().predicted_ms = static_cast<double>(mix.price) / 1e6;
  };
  if (budget.kl)
    search_below_kl(solver, *budget.kl, [&](const MixedRecipe& mix, const std::string& name) {
      carry_out(mix, name);
      return run.report().held_out->kl.mean;
    });
  else
    carry_out(solver.solve(budget), "mixed");
  return method;
}

// Layers in each rotation that there is; then the run has the one that drifts least, unless that is noise.
std::unique_ptr<CalibratedMethod> in_best_rotation(Run& run) {
  constexpr double noise = 0.02;  // of the drift
  const auto calibrated = [&](RotationName rotation) {
    run.rotate(rotation);
    return run.calibrated(fmt::format("{} rotated.", name(rotation)));
  };
  std::string tried;
  RotationName best = RotationName::none;
  double least = 0;
  for (const RotationName rotation : run.rotations()) {
    calibrated(rotation);
    const double kl = run.report().held_out->kl.mean;
    tried += fmt::format("{} {} {:.5f}", tried.empty() ? "" : ",", name(rotation), kl);
    if (rotation != RotationName::none && !(kl < (1 - noise) * least)) continue;
    best = rotation;
    least = kl;
  }
  run.report().notes.push_back(
      fmt::format("mean KL on held-out text, rotated:{}; chosen: {}", tried, name(best)));
  return calibrated(best);
}

}  // namespace

QuantizationReport quantize(const fs::path& source, const fs::path& out, const Recipe& recipe,
                            const Team& team, const RunOptions& options, const Progress& progress) {
  if (options.budget) require_measuring(recipe);
  require_rotation(recipe, !options.budget);
  if (options.budget.time && !options.budget.kl)
    fail("the least time is looked for within a limit of the KL divergence");
  check_free_folder(final_path_of(out));  // before a pipe is waited for
  Run run(source, recipe, team, options, progress);
  OutputFolder folder(out);  // holds signals back until all below is gone
  folder.copy_side_files(run.source().file().folder());
  std::optional<WorkFolder> work;
  std::unique_ptr<Method> method;
  if (recipe.method == MethodName::rtn) {
    method = run.rounded();
  } else {
    work.emplace(out, run.identity(), options.resume);
    run.begin(*work);
    std::unique_ptr<CalibratedMethod> found = options.budget ? within_budget(run, options.budget)
                                              : recipe.rotation == RotationName::automatic
                                                  ? in_best_rotation(run)
                                                  : run.calibrated("");
    method = run.recipe().tuning_tokens ? run.tuned(std::move(found)) : std::move(found);
  }
  run.write(folder.path(), *method);
  folder.commit(run.config());
  if (work) work->finish();
  if (const std::string note = work ? "" : WorkFolder::left_note(out); !note.empty())
    run.report().notes.push_back(note);
  return std::move(run.report());
}

std::vector<FrontierPoint> write_frontier(const fs::path& source, const fs::path& out, const Recipe& recipe,
                                          std::vector<double> target_bits, const Team& team,
                                          const RunOptions& options, const Progress& progress) {
  require_measuring(recipe);
  require_rotation(recipe, false);
  std::ranges::sort(target_bits);
  Recipe smallest = smallest_recipe(recipe, false);
  smallest.block_steps = smallest.tuning_tokens = 0;  // left to those who carry a recipe out
  check_free_folder(final_path_of(out));
  Run run(source, smallest, team, options, progress);
  run.require_choice();
  const HeldInterrupts held;
  HiddenSibling folder(final_path_of(out), HiddenSibling::Kind::folder);
  WorkFolder work(out, run.identity(), options.resume);
  run.begin(work);
  const BudgetSolver solver = run.measure();
  std::vector<FrontierPoint> points;
  for (const double bits : target_bits) {
    MixedRecipe mix = solver.solve({.bits = bits});
    run.use(mix.recipe);
    const std::string name = fmt::format("{}", bits);
    run.calibrated(name + " bits.");
    points.push_back({bits, mix.bits, mix.predicted_kl, run.report().held_out, recipe.tuning_tokens});
    mix.recipe.block_steps = recipe.block_steps;
    mix.recipe.tuning_tokens = recipe.tuning_tokens;
    write_recipe(folder.path() / (name + ".json"), mix.recipe);
  }
  run.source().file().check_unchanged();
  sync_to_disk(folder.path());
  check_interrupted();
  folder.rename();
  work.finish();
  return points;
}

std::map<double, Recipe> mixed_recipes(const fs::path& source, const fs::path& out, const Recipe& recipe,
                                       const std::vector<double>& target_bits, const Team& team,
                                       const RunOptions& options, const Progress& progress) {
  require_measuring(recipe);
  Run run(source, smallest_recipe(recipe, false), team, options, progress);
  run.require_choice();
  const HeldInterrupts held;
  WorkFolder work(out, run.identity(), options.resume);
  run.begin(work);
  const BudgetSolver solver = run.measure();
  std::map<double, Recipe> recipes;
  for (const double bits : target_bits) try {
      recipes[bits] = solver.solve({.bits = bits}).recipe;
    } catch (const OptionError&) {  // the smallest passes the budget
    }
  work.finish();
  return recipes;
}

}  // namespace whittle
