#include "quant/gguf/export.h"

#include <fmt/format.h>

#include "bench/reports/table.h"
#include "bench/version.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"

namespace whittle {

void add_export(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Write a model as a GGUF file, for llama.cpp");
  static std::string model, out, type = "f16";
  static int threads = 0;
  command
      ->add_option("MODEL", model,
                   "Folder of the model; what is quantized is written as the values it stands for")
      ->required()
      ->check(not_empty());
  command->add_option("OUT", out, "File to write; must not exist")->required()->check(not_empty());
  command
      ->add_option(
          "--type", type,
          "Type of the matrices; those whose rows are not a multiple of 32 stay f16, vectors are f32")
      ->capture_default_str()
      ->check(CLI::IsMember({"f16", "q8_0", "q4_0"}));
  add_allow_field(*command);
  add_threads(*command, threads);
  command->footer(
      "The embedding and the head are written in the same type. The file holds the tokenizer too; without "
      "one in MODEL,\n"
      "it holds none, and serves to measure speed.\n"
      "Examples:\n"
      "  whittle export llama llama-f16.gguf\n"
      "  whittle export llama llama-q8_0.gguf --type q8_0");
  command->callback([] {
    const Team team(threads);
    ProgressLine progress("export");
    const GgufReport report = export_gguf(model, out, *gguf_type_named(type), team, this_build().version,
                                          [&](int64_t done, int64_t total, const std::string& tensor) {
                                            progress.update(done, total, tensor);
                                          });
    progress.finish();
    fmt::print("{}: {} tensors, {}, tokenizer {}\n", out, report.tensors,
               format_bytes(static_cast<double>(report.bytes)), report.tokenizer);
  });
}

}  // namespace whittle
