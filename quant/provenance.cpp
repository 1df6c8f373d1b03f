#include "quant/provenance.h"

#include <fmt/format.h>

namespace whittle {

std::map<std::string, std::string> provenance(const std::string& version, const std::string& recipe,
                                              const std::string& method,
                                              const std::optional<DriftReport>& held_out) {
  std::map<std::string, std::string> metadata = {
      {"format", "pt"}, {"whittle.version", version}, {"whittle.recipe", recipe}, {"whittle.method", method}};
  if (held_out)
    metadata["whittle.held_out"] =
        fmt::format("mean KL {:.6f}, perplexity {:.4f} from {:.4f}, over {} tokens in {} windows",
                    held_out->kl.mean, held_out->model_perplexity(), held_out->baseline_perplexity(),
                    held_out->tokens_scored, held_out->windows);
  return metadata;
}

}  // namespace whittle
