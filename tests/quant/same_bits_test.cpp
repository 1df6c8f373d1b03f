// Determinism: logits are the same bits whatever the threads, the chunks of a prompt, and the run.

#include <cstring>
#include <memory>

#include "engine/session.h"
#include "tests/support/models.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Enough tokens to pass through every tile size, more than one block of rows, and several key blocks.
std::vector<int32_t> tokens() {
  std::vector<int32_t> ids;
  for (int i = 0; i < 300; ++i) ids.push_back(i * 2719 % 4096);
  return ids;
}

// The logits after every `step`-th token when the sequence goes in in pieces of `piece` tokens, run in chunks
// of `chunk`.
std::vector<std::vector<float>> run(const std::filesystem::path& folder, int threads, int64_t chunk,
                                    size_t piece, KvFormat kv_cache) {
  const Team team(threads);
  const Model model(folder, team);
  const std::vector<int32_t> ids = tokens();
  Session session(model, team, {static_cast<int64_t>(ids.size()), kv_cache, chunk});
  std::vector<std::vector<float>> out;
  for (size_t done = 0; done < ids.size(); done += piece) {
    const auto part = std::span(ids).subspan(done, std::min(piece, ids.size() - done));
    const auto row = session.forward(part).row(0);
    if ((done + part.size()) % 100 == 0) out.emplace_back(row.begin(), row.end());
  }
  return out;
}

std::vector<float> copy(std::span<const float> row) { return {row.begin(), row.end()}; }

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<std::pair<std::string, std::filesystem::path>> models() {
  Recipe grouped = int8_recipe();
  grouped.activation_group_size = 32;
  grouped.lm_head = grouped.embedding = WeightFormat::int8;
  return {{"f16", reference_model()},
          {"int8", quantized_reference(int8_recipe())},
          {"int8, activations g32, head", quantized_reference(grouped)},
          {"int4 g128", quantized_reference(int4_recipe(128))},
          {"int4 g32 asymmetric", quantized_reference(int4_recipe(32, false))}};
}

}  // namespace

TEST_CASE("The same bits with 1, 2 and 3 threads, and in two runs") {
  for (const auto& [name, folder] : models()) {
    CAPTURE(name);
    const auto expected = run(folder, 1, 512, 100, KvFormat::f16);
    REQUIRE(expected.size() == 3);
    for (const int threads : {1, 2, 3}) {
      CAPTURE(threads);
      const auto found = run(folder, threads, 512, 100, KvFormat::f16);
      for (size_t i = 0; i < expected.size(); ++i) CHECK(same_bits(expected[i], found[i]));
    }
  }
}

TEST_CASE("The same bits token by token and in prefill chunks of 7, 64 and 512") {
  for (const auto& [name, folder] : models()) {
    for (const KvFormat kv_cache : {KvFormat::f16, KvFormat::int8}) {
      CAPTURE(name, kv_cache == KvFormat::int8);
      const auto expected = run(folder, 2, 1, 1, kv_cache);
      for (const int64_t chunk : {1, 7, 64, 512}) {
        CAPTURE(chunk);
        const auto found = run(folder, 2, chunk, 100, kv_cache);
        REQUIRE(found.size() == expected.size());
        for (size_t i = 0; i < expected.size(); ++i) CHECK(same_bits(expected[i], found[i]));
      }
    }
  }
}

TEST_CASE("Every sequence of a batch gets the bits that it gets alone") {
  const std::vector<int32_t> ids = tokens();
  constexpr int64_t context = 64;
  constexpr size_t steps = 3;
  for (const auto& [name, folder] : models()) {
    const Team team(2);
    const Model model(folder, team);
    for (const size_t count : {1, 2, 3, 8, 17, 33}) {
      CAPTURE(name, count);
      // Sequences of other lengths, tokens and cache formats stand side by side.
      const auto prompt = [&](size_t i) { return std::span(ids).subspan(i * 5, 1 + i * 7 % 40); };
      const auto format = [](size_t i) { return i % 3 == 2 ? KvFormat::int8 : KvFormat::f16; };
      const auto next = [&](size_t i, size_t step) { return ids[(i * 31 + step * 7) % ids.size()]; };
      const auto decoder = std::make_shared<Decoder>(model, team, 40, context);
      std::vector<Session> sessions;
      for (size_t i = 0; i < count; ++i)
        sessions.emplace_back(decoder, context, format(i)).forward(prompt(i));
      std::vector<Session*> together;
      for (Session& session : sessions) together.push_back(&session);
      std::vector<std::vector<float>> found(count);
      for (size_t step = 0; step < steps; ++step) {
        std::vector<int32_t> appended;
        for (size_t i = 0; i < count; ++i) appended.push_back(next(i, step));
        const Logits logits = Session::step(together, appended);
        REQUIRE(logits.rows == static_cast<int64_t>(count));
        for (size_t i = 0; i < count; ++i) found[i] = copy(logits.row(static_cast<int64_t>(i)));
      }
      for (size_t i = 0; i < count; ++i) {
        CAPTURE(i);
        Session alone(model, team, {context, format(i)});
        alone.forward(prompt(i));
        std::vector<float> expected;
        for (size_t step = 0; step < steps; ++step) {
          const int32_t token = next(i, step);
          expected = copy(alone.forward({&token, 1}).row(0));
        }
        CHECK(same_bits(expected, found[i]));
        CHECK(together[i]->position() == alone.position());
      }
    }
  }
}
