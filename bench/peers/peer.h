#pragma once
// Other engines' benchmark programs, and other builds of ours: how they are run, and what they found.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bench/peers/peer_output.h"
#include "bench/speed.h"

namespace whittle {

// A kind of benchmark program.
struct PeerKind {
  std::string_view name;    // which the program's file name contains; empty: any other program
  bool decodes_many;        // sequences at once
  bool pins_itself;         // its threads, to cores
  bool logs_figures;        // some versions write them to standard error, so that is read too
  std::string_view remark;  // what a reader of its figures must know, or empty
  // What this kind calls the model, the lengths, the threads and the KV cache.
  std::vector<std::string> (*arguments)(const std::string& model, const SpeedOptions& options, int threads);
  PeerSpeed (*read)(const std::string& text);  // of all that it wrote
};

// The last kind, with which anybody's program can be measured, suits every file name.
const PeerKind& peer_kind(const std::filesystem::path& program);

struct Peer {
  std::string name;
  std::filesystem::path program;
  std::vector<std::string> arguments;  // after those that its kind makes
  std::string commit;                  // of its source, or empty
};

// The program and its arguments. Throws Error for what this kind of program cannot measure.
std::vector<std::string> peer_command(const Peer& peer, const std::string& model, const SpeedOptions& options,
                                      int threads);

// On all CPUs of this process, its threads pinned to cores. Throws Error that names the command and the last
// lines of what it wrote when it fails, takes longer, or writes no figures.
PeerSpeed run_peer(const Peer& peer, const std::string& model, const SpeedOptions& options, int threads,
                   double timeout_seconds);

}  // namespace whittle
