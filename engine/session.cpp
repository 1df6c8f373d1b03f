#include "engine/session.h"

#include <algorithm>

#include "engine/positions.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

int64_t context_of(const Model& model, const SessionOptions& options) {
  const int64_t context = options.context ? options.context : model.spec().max_position_embeddings;
  if (context < 1) fail_option("context", "expected 1 or more, found {}", context);
  return context;
}

int64_t checked_context(const Decoder& decoder, int64_t context) {
  if (context < 1 || context > decoder.max_context())
    fail("a context of {} positions: this decoder has room for 1 to {}", context, decoder.max_context());
  check_positions(decoder.model().spec(), context);
  return context;
}

}  // namespace

Session::Session(const Model& model, const Team& team, const SessionOptions& options)
    : Session(std::make_shared<Decoder>(
                  model, team, std::clamp<int64_t>(options.prefill_chunk, 1, context_of(model, options)),
                  context_of(model, options)),
              context_of(model, options), options.kv_cache) {}

Session::Session(std::shared_ptr<Decoder> decoder, int64_t context, KvFormat kv_cache)
    : decoder_(std::move(decoder)),
      spec_(decoder_->model().spec()),
      context_(context),
      cache_(spec_, kv_cache, checked_context(*decoder_, context)) {}

void Session::check(std::span<const int32_t> tokens) const {
  const auto count = static_cast<int64_t>(tokens.size());
  if (count > context_ - position_)
    fail("the context is full: {} tokens and {} more do not fit into {} positions", position_, count,
         context_);
  for (const int32_t token : tokens)
    if (token < 0 || token >= spec_.vocab_size)
      fail("token id {} is outside the model's vocabulary of {}", token, spec_.vocab_size);
}

Logits Session::forward(std::span<const int32_t> tokens) {
  check(tokens);
  const auto count = static_cast<int64_t>(tokens.size());
  Logits logits;
  for (int64_t done = 0; done < count;) {
    const int64_t rows = std::min(decoder_->max_rows(), count - done);
    logits = run_chunk(tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(rows)),
                       done + rows == count ? 1 : 0);
    done += rows;
  }
  return logits;
}

Logits Session::forward_all(std::span<const int32_t> tokens) {
  check(tokens);
  const auto rows = static_cast<int64_t>(tokens.size());
  if (rows > decoder_->max_rows())
    fail("{} tokens do not fit into one chunk of {}", rows, decoder_->max_rows());
  return run_chunk(tokens, rows);
}

Logits Session::step(std::span<Session* const> sessions, std::span<const int32_t> tokens) {
  if (sessions.empty() || sessions.size() != tokens.size())
    fail("a step of {} sessions and {} tokens: expected one of each, or more", sessions.size(),
         tokens.size());
  Decoder& decoder = *sessions.front()->decoder_;
  std::vector<DecoderRow>& rows = sessions.front()->rows_;
  rows.clear();
  for (size_t i = 0; i < sessions.size(); ++i) {
    Session& session = *sessions[i];
    if (session.decoder_ != sessions.front()->decoder_) fail("a step of sessions that share no decoder");
    if (std::find(sessions.begin(), sessions.begin() + static_cast<std::ptrdiff_t>(i), &session) !=
        sessions.begin() + static_cast<std::ptrdiff_t>(i))
      fail("a session takes part twice in one step");
    session.check(tokens.subspan(i, 1));
    rows.push_back({tokens[i], &session.cache_, session.position_});
  }
  const Logits logits = decoder.step(rows, static_cast<int64_t>(rows.size()));
  for (Session* session : sessions) ++session->position_;
  return logits;
}

void Session::rewind(int64_t position) {
  if (position < 0 || position > position_)
    fail("rewind to position {}: expected 0 to {}", position, position_);
  position_ = position;
}

Logits Session::run_chunk(std::span<const int32_t> tokens, int64_t logit_rows) {
  rows_.clear();
  for (const int32_t token : tokens)
    rows_.push_back({token, &cache_, position_ + static_cast<int64_t>(rows_.size())});
  const Logits logits = decoder_->step(rows_, logit_rows);
  position_ += static_cast<int64_t>(tokens.size());
  return logits;
}

}  // namespace whittle
