#include "bench/reports/json_report.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/files/interrupts.h"
#include "engine/files/json_dump.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void cannot_write(const std::string& path, int error) {
  fail("{}: cannot write the report: {}", quote(path), std::strerror(error));
}

// Where a report goes: first to `unfinished`, unless `path` is no plain file (/dev/stderr, a pipe).
struct Target {
  fs::path file, unfinished;
  bool replaced = true;
};

Target target_of(const std::string& path) {
  Target target{path, {}, true};
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status)) cannot_write(path, EISDIR);
  target.replaced = !fs::exists(status) || fs::is_regular_file(status);
  if (!target.replaced) return target;
  const fs::path named =
      fs::weakly_canonical(path, ignored);  // a link stays a link: what it names is replaced
  if (!named.empty()) target.file = named;
  target.unfinished = target.file.parent_path() / fmt::format(".whittle-report-{}.tmp", getpid());
  return target;
}

void write_file(const fs::path& file, const std::string& text, const std::string& path) {
  errno = 0;
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream << text << std::flush;
  if (!stream) cannot_write(path, errno);
}

// The keys of an object come in the order of their names otherwise.
nlohmann::ordered_json header_first(const nlohmann::json& json) {
  if (!json.is_object()) return json;
  nlohmann::ordered_json ordered = nlohmann::ordered_json::object();
  for (const char* key : {"schema", "version", "fingerprint"})
    if (json.contains(key)) ordered[key] = json[key];
  for (const auto& [key, value] : json.items()) ordered.emplace(key, value);
  return ordered;
}

}  // namespace

nlohmann::json report_header(std::string_view name, const Fingerprint& fingerprint, int version) {
  return {{"schema", fmt::format("whittle.{}", name)},
          {"version", version},
          {"fingerprint", fingerprint_json(fingerprint)}};
}

void check_header(const JsonFields& fields, std::string_view name, int newest) {
  const std::string expected = fmt::format("whittle.{}", name), found = fields.string("schema");
  if (found != expected)
    fields.reject("schema", fmt::format("expected {}, found {}", quote(expected), quote(found)));
  fields.integer("version", 1, newest);
}

void check_report_path(const std::string& path) {
  if (path == "-") return;
  const Target target = target_of(path);
  if (access(target.file.c_str(), W_OK) != 0 && errno != ENOENT) cannot_write(path, errno);
  if (!target.replaced) return;
  if (!target.file.has_filename()) cannot_write(path, EISDIR);
  const HeldInterrupts held;
  const int created = open(target.unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (created < 0) cannot_write(path, errno);
  close(created);
  unlink(target.unfinished.c_str());
}

void write_json(const std::string& path, const nlohmann::json& json) {
  write_report(path, dump_json(header_first(json), 2) + "\n");
}

void write_report(const std::string& path, const std::string& text) {
  if (path == "-") {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      fail("standard output: cannot write the report: {}", std::strerror(errno));
    return;
  }
  const Target target = target_of(path);
  if (!target.replaced) return write_file(target.file, text, path);
  const HeldInterrupts held;
  try {
    write_file(target.unfinished, text, path);
    if (std::rename(target.unfinished.c_str(), target.file.c_str()) != 0) cannot_write(path, errno);
  } catch (...) {
    unlink(target.unfinished.c_str());
    throw;
  }
}

}  // namespace whittle
