#include "quant/synthesize.h"

#include <iostream>

#include "quant/model_shapes.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/progress.h"

namespace whittle {

void add_synthesize(CLI::App& app) {
  CLI::App* command = app.add_subcommand("synthesize", "Write a random-weight model of a real model's shape");
  static std::string shape, out, dtype = "f16";
  static int threads = 0;
  std::vector<std::string> names;
  for (const ModelShape& row : model_shapes()) names.emplace_back(row.name);
  command->add_option("SHAPE", shape, "The model whose shape it gets")
      ->required()
      ->check(CLI::IsMember(names));
  command->add_option("OUT", out, "Folder to write; must not exist")->required()->check(not_empty());
  command->add_option("--dtype", dtype, "Element type")
      ->capture_default_str()
      ->check(CLI::IsMember({"f16", "bf16"}));
  add_threads(*command, threads);
  command->footer(
      "Examples:\n"
      "  whittle synthesize tinyllama-1.1b tinyllama\n"
      "  whittle quantize tinyllama tinyllama-int4 --weights int4 && whittle bench tinyllama-int4 --baseline "
      "tinyllama");
  command->callback([] {
    const Team team(threads);
    ProgressLine progress("synthesize");
    synthesize(shape, out, dtype == "f16" ? DType::F16 : DType::BF16, team,
               [&](int64_t done, int64_t total) { progress.update(done, total, shape); });
    progress.finish();
    std::cout << out << ": random weights in the shape of " << shape << '\n';
  });
}

}  // namespace whittle
