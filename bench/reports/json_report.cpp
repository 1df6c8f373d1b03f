#include "bench/reports/json_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/error.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

void write_stream(const fs::path& path, const std::string& text) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text << std::flush;
  if (!file) fail("{}: cannot write the report: {}", path.string(), std::strerror(errno));
}

}  // namespace

void write_json(const std::string& path, const nlohmann::json& json) {
  // Names of files may hold bytes that are not UTF-8; a report is worth more than those bytes.
  const std::string text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (path == "-") {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      fail("standard output: cannot write the report: {}", std::strerror(errno));
    return;
  }
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status))
    return write_stream(path, text);  // /dev/stderr, a pipe

  fs::path target = fs::weakly_canonical(path, ignored);  // a link stays a link: what it names is replaced
  if (target.empty()) target = path;
  fs::path unfinished = target;
  unfinished += fmt::format(".{}.tmp", getpid());
  try {
    write_stream(unfinished, text);
    fs::rename(unfinished, target);
  } catch (const fs::filesystem_error& error) {
    fs::remove(unfinished, ignored);
    fail("{}: cannot write the report: {}", path, error.code().message());
  } catch (...) {
    fs::remove(unfinished, ignored);
    throw;
  }
}

}  // namespace whittle
