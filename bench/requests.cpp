#include "bench/requests.h"

#include <algorithm>

#include "engine/tokenizer/token_ids.h"
#include "kernels/error.h"

namespace whittle {

std::vector<Request> make_requests(const ModelSpec& spec, const Tokenizer* tokenizer,
                                   const std::filesystem::path& folder, const SpeedOptions& options) {
  if (options.prompts.empty()) {
    check_context(spec, folder, options);
    return {{make_prompt(spec, tokenizer, options.prompt_tokens), options.gen_tokens, 0}};
  }
  if (!tokenizer) fail("{}: no tokenizer, which prompts of a file need", folder.string());
  std::vector<Request> requests;
  for (const PromptLine& line : options.prompts) {
    Request request{
        {line.text, tokenizer->encode(line.text)}, line.max_tokens.value_or(options.gen_tokens), line.line};
    const auto tokens = static_cast<int64_t>(request.prompt.ids.size());
    if (tokens == 0) fail("{}: field \"prompt\": no tokens for {}", line.what(), folder.string());
    check_token_ids(request.prompt.ids, spec.vocab_size, line.what());
    if (tokens + request.gen_tokens > spec.max_position_embeddings)
      fail(
          "{}: field \"prompt\": {} tokens and {} generated do not fit into the {} positions of {} "
          "(max_position_embeddings)",
          line.what(), tokens, request.gen_tokens, spec.max_position_embeddings,
          (folder / "config.json").string());
    requests.push_back(std::move(request));
  }
  return requests;
}

int64_t longest(const std::vector<Request>& requests) {
  int64_t most = 0;
  for (const Request& request : requests)
    most = std::max(most, static_cast<int64_t>(request.prompt.ids.size()) + request.gen_tokens);
  return most;
}

}  // namespace whittle
