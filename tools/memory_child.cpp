#include "tools/memory_child.h"

#include "engine/files/open_options.h"
#include "engine/kv_cache.h"

namespace whittle {

std::vector<std::string> opening_flags() {
  std::vector<std::string> flags;
  for (const std::string& field : allowed_fields()) flags.insert(flags.end(), {"--allow-field", field});
  if (float_inputs_kept()) flags.push_back("--float-inputs");
  flags.insert(flags.end(), {"--sparse", std::string(name(sparse_use()))});
  return flags;
}

std::vector<std::string> memory_child(const SpeedOptions& speed, int threads,
                                      const std::filesystem::path& model) {
  std::vector<std::string> command = {"/proc/self/exe",
                                      "bench",
                                      memory_flag,
                                      "--prompt-tokens",
                                      std::to_string(speed.prompt_tokens),
                                      "--gen-tokens",
                                      std::to_string(speed.gen_tokens),
                                      "--context",
                                      std::to_string(speed.context),
                                      "--sequences",
                                      std::to_string(speed.sequences),
                                      "--kv-cache",
                                      std::string(name(speed.kv_cache)),
                                      "--threads",
                                      std::to_string(threads)};
  const std::vector<std::string> flags = opening_flags();
  command.insert(command.end(), flags.begin(), flags.end());
  command.insert(command.end(), {"--", model.string()});
  return command;
}

}  // namespace whittle
