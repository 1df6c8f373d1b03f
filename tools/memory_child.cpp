#include "tools/memory_child.h"

#include "engine/files/open_options.h"
#include "engine/kv_cache.h"

namespace whittle {

std::vector<std::string> memory_child(const SpeedOptions& speed, int threads,
                                      const std::filesystem::path& model) {
  std::vector<std::string> command = {"/proc/self/exe",
                                      "bench",
                                      memory_flag,
                                      "--prompt-tokens",
                                      std::to_string(speed.prompt_tokens),
                                      "--gen-tokens",
                                      std::to_string(speed.gen_tokens),
                                      "--sequences",
                                      std::to_string(speed.sequences),
                                      "--kv-cache",
                                      std::string(name(speed.kv_cache)),
                                      "--threads",
                                      std::to_string(threads)};
  for (const std::string& field : allowed_fields()) command.insert(command.end(), {"--allow-field", field});
  if (float_inputs_kept()) command.push_back("--float-inputs");
  command.insert(command.end(), {"--sparse", std::string(name(sparse_use()))});
  command.insert(command.end(), {"--", model.string()});
  return command;
}

}  // namespace whittle
