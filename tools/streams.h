#pragma once
// Standard input, output and error: what is read and written there is seen to have arrived.

#include <string>

namespace whittle {

// A stream that was closed from the start gets a number that only fails, so that no file opened later takes
// its place. Called once, first of all.
void open_missing_streams();

// Throws Error when standard output did not take all that was written to it: a full disk, a closed pipe.
void flush_output();

// The whole of a file, or of standard input where `path` is "-". Throws Error that names it.
std::string read_text(const std::string& path);

}  // namespace whittle
