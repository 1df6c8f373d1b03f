#include "quant/frontier/frontier.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <numeric>

#include "bench/reports/table.h"
#include "engine/clock.h"
#include "engine/files/file_hash.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/error.h"
#include "quant/frontier/maker.h"
#include "quant/frontier/pace.h"
#include "quant/frontier/work.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

// Reports may be written into the model's folder.
bool of_model(const fs::path& file) {
  const std::string name = file.filename().string();
  return name == "config.json" || name.starts_with("tokenizer") || file.extension() == ".safetensors";
}

// Everything that figures depend on, beside the recipe.
nlohmann::json identity_of(const FolderWeights& source, const Team& team, const FrontierOptions& options) {
  const fs::path& folder = source.file().folder();
  nlohmann::json files = nlohmann::json::object();
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && of_model(entry.path()))
      files[entry.path().filename().string()] = {
          fs::file_size(entry.path()), fs::last_write_time(entry.path()).time_since_epoch().count()};
  return {{"version", options.version},
          {"build", options.build},
          {"source", fs::absolute(folder).lexically_normal().string()},
          {"files", files},
          {"memory", options.memory},
          {"cpu", read_machine().cpu},
          {"isa", kernels().name},
          {"threads", team.size()},
          {"prompt_tokens", options.speed.prompt_tokens},
          {"gen_tokens", options.speed.gen_tokens},
          {"repeat", options.speed.repeat},
          {"text", options.text ? hash_of(*options.text) : "self"}};
}

Windows windows_of(const FolderWeights& source, const std::string& text) {
  const Tokenizer tokenizer = Tokenizer::open(source.file().folder());
  const int64_t tokens = std::max<int64_t>(2, std::ssize(tokenizer.encode(text)));
  const int64_t context = std::min({calibration_context, source.spec().max_position_embeddings, tokens});
  Windows windows = text_windows(tokenizer, text, context, "windows");
  check_windows(windows, source.spec().vocab_size);  // a tokenizer may know more ids than the model
  return windows;
}

// Models that are no more needed, whatever comes.
class Cleared {
 public:
  Cleared(const FrontierWork& work, bool keep) : work_(work), keep_(keep) {}
  ~Cleared() {
    if (!keep_) work_.remove_models();
  }
  Cleared(const Cleared&) = delete;
  Cleared& operator=(const Cleared&) = delete;

 private:
  const FrontierWork& work_;
  const bool keep_;
};

class Measuring {
 public:
  Measuring(const fs::path& source, const Team& team, const FrontierOptions& options,
            const FrontierWork& work, ModelMaker& maker, const Progress& progress)
      : source_(source), team_(team), options_(options), work_(work), maker_(maker), progress_(progress) {}

  void judge_by(Windows text) { measurement_ = {std::move(text), options_.speed, options_.memory_child}; }

  // Of an earlier run.
  std::optional<RecipeResult> found(const FrontierRecipe& recipe) const {
    if (!recipe.error.empty()) return std::nullopt;
    const std::string name = result_name(recipe);
    const nlohmann::json json = work_.load(name);
    if (json.is_null()) return std::nullopt;
    return read_result(json, work_.file(name).string());
  }

  // label: of the lines of progress.
  RecipeResult result(const FrontierRecipe& recipe, const std::string& label) {
    RecipeResult result = described(recipe);
    const auto shown = [&](const std::string& stage, int64_t done, int64_t total, const std::string& what) {
      if (progress_) progress_(label + stage, done, total, what);
    };
    try {
      const auto start = Clock::now();
      const fs::path folder = maker_.make(recipe, shown);
      result.make_seconds = seconds_since(start);
      const auto made = Clock::now();
      measure(
          source_, folder, team_, measurement_,
          [&](const std::string& phase, int64_t done, int64_t total) { shown(phase, done, total, ""); },
          result);
      result.measure_seconds = seconds_since(made);
      result.status = RecipeResult::Status::measured;
      work_.save(result_name(recipe), result_json(result));
    } catch (const Error& error) {
      if (interrupted()) throw;
      result = failed(recipe, error.what());
    } catch (const std::bad_alloc&) {
      result = failed(recipe, "out of memory");
    }
    std::error_code ignored;
    if (!options_.keep_models && recipe.weights) fs::remove_all(work_.models() / recipe.key(), ignored);
    return result;
  }

  static RecipeResult described(const FrontierRecipe& recipe) {
    RecipeResult result;
    result.name = recipe.name;
    result.recipe = recipe.error.empty() ? recipe.text() : "";
    result.kind = recipe.kind();
    return result;
  }

 private:
  static std::string result_name(const FrontierRecipe& recipe) { return "result-" + recipe.key(); }
  static RecipeResult failed(const FrontierRecipe& recipe, const std::string& reason) {
    RecipeResult result = described(recipe);
    result.status = RecipeResult::Status::failed;
    result.reason = reason;
    return result;
  }

  const fs::path& source_;
  const Team& team_;
  const FrontierOptions& options_;
  const FrontierWork& work_;
  ModelMaker& maker_;
  const Progress& progress_;
  MeasurementOptions measurement_;
};

// Cheap ones first where there may not be time for all.
std::vector<size_t> order_of(const std::vector<FrontierRecipe>& recipes, bool cheap_first) {
  std::vector<size_t> order(recipes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (cheap_first) std::ranges::stable_sort(order, {}, [&](size_t i) { return recipes[i].cost(); });
  return order;
}

void compare(const std::vector<FrontierRecipe>& recipes, Measuring& measuring, const FrontierOptions& options,
             Clock::time_point start, FrontierReport& report) {
  Pace pace;
  pace.add(0, report.results.front());
  std::vector<size_t> open;
  for (const size_t i : order_of(recipes, options.minutes.has_value())) {
    std::optional<RecipeResult> found = measuring.found(recipes[i]);
    if (!found) {
      open.push_back(i);
      continue;
    }
    pace.add(recipes[i].cost(), *found);
    report.results[i + 1] = std::move(*found);
  }
  for (size_t at = 0; at < open.size(); ++at) {
    const FrontierRecipe& recipe = recipes[open[at]];
    RecipeResult& result = report.results[open[at] + 1];
    const double elapsed = seconds_since(start), next = pace.seconds(recipe.cost());
    if (options.minutes && elapsed + next > 60 * *options.minutes) {
      result.reason =
          fmt::format("did not fit: about {} more, of {} min", format_seconds(next), *options.minutes);
      continue;
    }
    double left = 0;
    for (size_t i = at; i < open.size(); ++i) left += pace.seconds(recipes[open[i]].cost());
    const std::string about = left > 0 ? fmt::format(", all about {}", format_seconds(left)) : "";
    result = measuring.result(
        recipe, fmt::format("{} of {}{}: {}: ", at + 1, open.size(), about, printable(recipe.name)));
    if (result.measured()) pace.add(recipe.cost(), result);
  }
}

}  // namespace

bool FrontierReport::any(RecipeResult::Status status) const {
  return std::ranges::any_of(results, [&](const RecipeResult& result) { return result.status == status; });
}

FrontierReport measure_frontier(const fs::path& source, const std::vector<FrontierRecipe>& recipes,
                                const Team& team, const FrontierOptions& options, const Progress& progress) {
  const auto start = Clock::now();
  const HeldInterrupts held;
  FrontierReport report;
  const FolderWeights original(source);
  if (original.file().config().contains("quantization_config"))
    fail("{}: the model is quantized; expected the original weights", quote(source.string()));
  check_context(original.spec(), source, options.speed);
  Windows text;
  if (options.text) text = windows_of(original, *options.text);

  const FrontierWork work(options.work, identity_of(original, team, options), options.resume,
                          options.keep_models);
  const Cleared cleared(work, options.keep_models);
  std::vector<double> mixes;
  for (const FrontierRecipe& recipe : recipes)
    if (recipe.bits) mixes.push_back(*recipe.bits);
  ModelMaker maker(source, work, options, mixes, team);
  if (std::ranges::any_of(recipes, &FrontierRecipe::reads_shared_text)) maker.draw_calibration(progress);
  if (!options.text) text = maker.own_text(progress);

  report.model = folder_name(source);
  report.version = options.version;
  report.machine = report_machine(team, kernels().name);
  report.speed = options.speed;
  report.calibration = maker.calibration();
  report.text = options.text ? options.text_name : "the model's own, another draw than calibration's";
  report.protocol = text.protocol;
  report.context = text.context;
  report.windows = std::ssize(text.ids);
  report.tokens = tokens_of(text.ids);

  Measuring measuring(source, team, options, work, maker, progress);
  measuring.judge_by(std::move(text));
  const FrontierRecipe nothing = {.name = report.model};
  std::optional<RecipeResult> baseline = measuring.found(nothing);
  if (!baseline) baseline = measuring.result(nothing, "the original: ");
  if (!baseline->measured()) fail("{}: {}", quote(source.string()), baseline->reason);
  report.results.push_back(std::move(*baseline));
  for (const FrontierRecipe& recipe : recipes) report.results.push_back(Measuring::described(recipe));
  compare(recipes, measuring, options, start, report);
  report.seconds = seconds_since(start);
  if (!options.keep_work && !options.keep_models && !report.any(RecipeResult::Status::failed) &&
      !report.any(RecipeResult::Status::skipped))
    work.remove();
  return report;
}

}  // namespace whittle
