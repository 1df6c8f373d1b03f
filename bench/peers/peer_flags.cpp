#include "bench/peers/peer_flags.h"

#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// `form` is how a message shows what was expected: "NAME=PROGRAM".
std::pair<std::string, std::string> split_flag(std::string_view flag, std::string_view form,
                                               const std::string& text) {
  const size_t sign = text.find('=');
  if (sign == std::string::npos || sign == 0 || sign + 1 == text.size())
    fail("{}: expected {}, found {}", flag, form, quote(text));
  return {text.substr(0, sign), text.substr(sign + 1)};
}

// A folder's path, so that it ends with the folder's name.
std::filesystem::path without_slash(const std::filesystem::path& path) { return (path / "").parent_path(); }

Peer& peer_named(std::vector<Peer>& peers, std::string_view flag, const std::string& name) {
  const auto found = std::ranges::find(peers, name, &Peer::name);
  if (found == peers.end()) fail("{}: no --peer is named {}", flag, quote(name));
  return *found;
}

}  // namespace

std::vector<Peer> make_peers(const std::vector<std::string>& programs,
                             const std::vector<std::string>& arguments,
                             const std::vector<std::string>& commits) {
  std::vector<Peer> peers;
  for (const std::string& text : programs) {
    const auto [name, path] = split_flag("--peer", "NAME=PROGRAM", text);
    if (std::ranges::count(peers, name, &Peer::name)) fail("--peer: two are named {}", quote(name));
    const std::filesystem::path program = std::filesystem::absolute(path);
    if (!std::filesystem::is_regular_file(program) || access(program.c_str(), X_OK) != 0)
      fail("--peer: {}: not a program that can be run", path);
    peers.push_back({name, program, {}, {}});
  }
  for (const std::string& text : arguments) {
    const auto [name, words] = split_flag("--peer-args", "'NAME=WORDS'", text);
    std::istringstream stream(words);
    Peer& peer = peer_named(peers, "--peer-args", name);
    for (std::string word; stream >> word;) peer.arguments.push_back(word);
  }
  for (const std::string& text : commits) {
    const auto [name, commit] = split_flag("--peer-commit", "NAME=HASH", text);
    peer_named(peers, "--peer-commit", name).commit = commit;
  }
  return peers;
}

std::vector<ComparedModel> make_models(const std::vector<std::string>& texts) {
  std::vector<ComparedModel> models;
  for (const std::string& text : texts) {
    const auto [folder, peer_model] = split_flag("--models", "FOLDER=PATH", text);
    if (!std::filesystem::exists(peer_model)) fail("--models: {}: no such file or folder", peer_model);
    models.push_back({without_slash(folder), without_slash(peer_model)});
  }
  return models;
}

}  // namespace whittle
