#include "bench/peers/comparison.h"

#include <algorithm>
#include <cassert>

#include "engine/files/model_file.h"
#include "engine/model_spec.h"

namespace whittle {
namespace {

// What stands in the way of any run.
void check(const ComparisonOptions& options, int threads) {
  for (const ComparedModel& model : options.models)
    check_context(read_model_spec(ModelFile(model.folder)), model.folder, options.speed);
  for (const Peer& peer : options.peers) peer_command(peer, "", options.speed, threads);
}

Pair run_pair(const ComparisonOptions& options, const ComparedModel& model, const Peer& peer,
              ComparisonCell& cell, const Team& team, const Probe& probe) {
  Pair pair;
  // The model is loaded for this run and gone after it, as the peer's is.
  const auto run_ours = [&] {
    const SpeedReport report = measure_speed({&model.folder, 1}, team, options.speed, nullptr).models.front();
    cell.model = report.name;
    pair.prefill.ours = report.prefill_tokens_per_s().front();
    pair.prefill.ours_of_limit = report.prefill_fraction().front();
    pair.decode.ours = report.decode_tokens_per_s().front();
    pair.decode.ours_of_limit = report.decode_bandwidth_fraction().front();
  };
  const auto run_theirs = [&] {
    const PeerSpeed speed =
        run_peer(peer, model.peer_model.string(), options.speed, team.size(), options.timeout_seconds);
    pair.prefill.peer = speed.prefill;
    pair.decode.peer = speed.decode;
  };
  pair.ours_first = cell.kept.size() % 2 == 0;
  pair.probes[0] = probe();
  pair.ours_first ? run_ours() : run_theirs();
  pair.probes[1] = probe();
  pair.ours_first ? run_theirs() : run_ours();
  pair.probes[2] = probe();
  return pair;
}

}  // namespace

bool steady(std::span<const ProbeReading> readings, double tolerance) {
  const auto within = [&](double ProbeReading::*kind) {
    const auto [least, most] = std::ranges::minmax(readings, {}, kind);
    return most.*kind <= tolerance * least.*kind;
  };
  return within(&ProbeReading::read_gb_per_s) && within(&ProbeReading::int8_gops);
}

Comparison compare_peers(const ComparisonOptions& options, const Team& team, const Probe& probe,
                         const ComparisonProgress& progress) {
  constexpr int64_t tries_a_pair = 3;
  assert(options.speed.repeat == 1);
  check(options, team.size());
  Comparison comparison{options, team.size(), {}};
  for (const ComparedModel& model : options.models)
    for (const Peer& peer : options.peers)
      comparison.cells.push_back({{}, model.peer_model, peer.name, {}, 0});
  for (int64_t round = 0; round < tries_a_pair * options.pairs; ++round)
    for (size_t i = 0; i < comparison.cells.size(); ++i) {
      ComparisonCell& cell = comparison.cells[i];
      if (std::ssize(cell.kept) == options.pairs) continue;
      const ComparedModel& model = options.models[i / options.peers.size()];
      const Peer& peer = options.peers[i % options.peers.size()];
      const Pair pair = run_pair(options, model, peer, cell, team, probe);
      const bool kept = steady(pair.probes, options.tolerance);
      if (kept)
        cell.kept.push_back(pair);
      else
        ++cell.dropped;
      if (progress) progress(cell, pair, kept);
    }
  return comparison;
}

}  // namespace whittle
