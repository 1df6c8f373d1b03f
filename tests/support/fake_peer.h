#pragma once
// Another engine's benchmark program, as a script that prints what the real one would.

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "bench/peers/comparison.h"
#include "tests/support/paths.h"

namespace whittle::test {

inline const std::string header =
    "|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |\n"
    "|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|\n";
inline const std::string batched_table =
    header +
    "|    16 |      4 |    1 |     20 |    0.100 |   160.50 |    0.050 |    80.25 |    0.150 |   133.33 |\n";
inline const std::string bench_rows =
    R"([ {"n_prompt": 16, "n_gen": 0, "avg_ts": 160.5}, {"n_prompt": 16, "n_gen": 4, "avg_ts": 1.5},
         {"n_prompt": 0, "n_gen": 4, "avg_ts": 80.25} ])";

// A program that runs `script`, in a folder of its own.
class FakePeer {
 public:
  FakePeer(const std::string& program, const std::string& script) : path_(folder_.path() / program) {
    std::ofstream(path_) << "#!/bin/sh\ncd '" << folder_.path().string() << "'\n" << script;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
    std::ofstream(gguf()) << "weights";
  }
  Peer peer() const { return {"fake", path_, {"-extra"}, "abc123"}; }
  std::string flag() const { return "fake=" + path_.string(); }
  std::string folder() const { return folder_.path().string(); }
  std::string gguf() const { return (folder_.path() / "model.gguf").string(); }
  std::vector<std::string> lines(const std::string& file) const {
    std::ifstream stream(folder_.path() / file);
    std::vector<std::string> found;
    for (std::string line; std::getline(stream, line);) found.push_back(line);
    return found;
  }

 private:
  TemporaryFolder folder_;
  std::filesystem::path path_;
};

// A line of such a script.
inline std::string print(const std::string& text) { return "cat <<'END'\n" + text + "\nEND\n"; }

// Of that program and the reference model.
inline ComparisonOptions small_options(const FakePeer& fake) {
  return {.peers = {fake.peer()},
          .models = {{reference_model(), fake.gguf()}},
          .speed = {.prompt_tokens = 16, .gen_tokens = 4, .repeat = 1},
          .pairs = 2};
}

}  // namespace whittle::test
