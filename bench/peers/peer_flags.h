#pragma once
// The flags NAME=VALUE of whittle_compare_peers. Text of another form is an Error that names the flag.

#include <string>
#include <vector>

#include "bench/peers/comparison.h"

namespace whittle {

// Of --peer NAME=PROGRAM, --peer-args 'NAME=WORDS' and --peer-commit NAME=HASH. Throws Error also for two
// peers of one name, a name that no peer has, a program that cannot be run.
std::vector<Peer> make_peers(const std::vector<std::string>& programs,
                             const std::vector<std::string>& arguments,
                             const std::vector<std::string>& commits);

// Of --models FOLDER=PATH.
std::vector<ComparedModel> make_models(const std::vector<std::string>& texts);

}  // namespace whittle
