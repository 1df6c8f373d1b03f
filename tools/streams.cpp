#include "tools/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

void open_missing_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

void flush_output() {
  errno = 0;
  std::cout.flush();
  std::fflush(stdout);
  if (std::cout && !std::ferror(stdout)) return;
  fail("standard output: cannot write{}{}", errno ? ": " : "", errno ? std::strerror(errno) : "");
}

std::string read_text(const std::string& path) {
  const bool standard = path == "-";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened(
      standard ? nullptr : std::fopen(path.c_str(), "rbe"),
      [](std::FILE* file) { return std::fclose(file); });
  std::FILE* const file = standard ? stdin : opened.get();
  std::string text;
  if (file) {
    std::array<char, 65536> chunk;
    while (const size_t count = std::fread(chunk.data(), 1, chunk.size(), file))
      text.append(chunk.data(), count);
  }
  if (!file || std::ferror(file))
    fail("{}: cannot be read: {}", standard ? "standard input" : quote(path), std::strerror(errno));
  return text;
}

}  // namespace whittle
