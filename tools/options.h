#pragma once
// Flags that several subcommands share.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <string>

#include "kernels/kernel_table.h"

namespace whittle {

inline void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads; 0: one per physical core")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
}

inline void add_json(CLI::App& command, std::string& path) {
  command
      .add_option("--json", path,
                  "Write the report as JSON to FILE; - is standard output, instead of the table")
      ->type_name("FILE");
}

inline void add_kv_cache(CLI::App& command, KvFormat& format) {
  static const std::map<std::string, KvFormat> names = {
      {"f32", KvFormat::f32}, {"f16", KvFormat::f16}, {"int8", KvFormat::int8}};
  command.add_option("--kv-cache", format, "How keys and values are kept (default: f16)")
      ->type_name("f16|int8|f32")
      ->transform(CLI::CheckedTransformer(names).description(""));
}

}  // namespace whittle
