#pragma once
// What becomes of the program when somebody cuts a file short while it is mapped.
//
// Reading a page that the file no longer has raises SIGBUS in whatever code read it, on any thread; nothing
// can be unwound from there. So what a message and the cleaning up need is noted beforehand.

#include <cstddef>
#include <filesystem>
#include <span>

namespace whittle {

// Asks SIGBUS in a noted mapping to print one line that names the file, remove the noted outputs and end the
// program with exit code 1. Called once, by main(); without it the system ends the program.
void catch_cut_files();

struct FaultNote;

// A mapping, noted as long as this lives.
class NotedMapping {
 public:
  NotedMapping(std::span<const std::byte> bytes, const std::filesystem::path& file);
  ~NotedMapping();
  NotedMapping(const NotedMapping&) = delete;
  NotedMapping& operator=(const NotedMapping&) = delete;

 private:
  FaultNote* note_;
};

// A file that is being written, or a folder of files, noted as long as this lives.
class NotedOutput {
 public:
  explicit NotedOutput(const std::filesystem::path& path);
  ~NotedOutput();
  NotedOutput(const NotedOutput&) = delete;
  NotedOutput& operator=(const NotedOutput&) = delete;

 private:
  FaultNote* note_;
};

}  // namespace whittle
