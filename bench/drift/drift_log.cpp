#include "bench/drift/drift_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/files/json_dump.h"
#include "engine/files/json_file.h"
#include "engine/files/mapped_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr const char* version_field = "drift_log";
constexpr int64_t version = 1;
constexpr size_t numbers = 6;  // of a position

nlohmann::json position_json(const DriftPosition& position) {
  return {position.baseline_nll, position.model_nll, position.kl,
          position.same_top,     position.kl_below,  position.kl_above};
}

DriftPosition position_of(const nlohmann::json& json, const std::string& what) {
  const auto number = [&](size_t i) {
    if (!json[i].is_number() || !std::isfinite(json[i].get<double>()))
      fail("{}: expected a finite number, found {}", what, json_text(json[i]));
    return json[i].get<double>();
  };
  if (!json.is_array() || json.size() != numbers || !json[3].is_boolean())
    fail("{}: expected {} values, the fourth true or false", what, numbers);
  return {number(0), number(1), number(2), json[3].get<bool>(), number(4), number(5)};
}

}  // namespace

DriftLog::DriftLog(const std::filesystem::path& path, const nlohmann::json& identity) : path_(path) {
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
  if (fd_ < 0) fail("{}: cannot open: {}", path.string(), std::strerror(errno));
  try {
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      fail("{}: another run is working there", path.string());
    const int64_t complete = read(identity);
    if (ftruncate(fd_, complete) != 0) fail("{}: cannot write: {}", path.string(), std::strerror(errno));
    if (complete == 0) append({{version_field, version}, {"run", identity}});
  } catch (...) {
    close(fd_);
    throw;
  }
}

DriftLog::~DriftLog() {
  if (fd_ < 0) return;
  if (empty_) unlink(path_.c_str());
  close(fd_);
}

void DriftLog::finish() {
  unlink(path_.c_str());
  close(std::exchange(fd_, -1));
}

int64_t DriftLog::read(const nlohmann::json& identity) {
  const MappedFile file(path_);
  const std::string_view all(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const std::string begin = fmt::format("{{\"{}\":{},", version_field, version);
  size_t at = 0;
  int64_t number = 0;
  for (size_t end = all.find('\n'); end != all.npos; at = end + 1, end = all.find('\n', at)) {
    const std::string_view line = all.substr(at, end - at);
    if (++number > 1) {
      read_window(line, number);
      continue;
    }
    if (!line.starts_with(begin)) fail("{}: line 1: not the work of a drift run", path_.string());
    const std::string what = path_.string() + ": line 1";
    const nlohmann::json json = parse_json(line, what);
    const JsonFields fields(json, what);
    fields.integer(version_field, version, version);
    const nlohmann::json& before = fields.at("run");
    if (before != parse_json(dump_json(identity), "run"))
      fail("{}: holds the work of another run: {}", path_.string(), first_difference(before, identity));
  }
  // The first line may have been cut short, too.
  if (number == 0 && !all.starts_with(begin.substr(0, std::min(all.size(), begin.size()))))
    fail("{}: line 1: not the work of a drift run", path_.string());
  return static_cast<int64_t>(at);
}

void DriftLog::read_window(std::string_view line, int64_t number) {
  const std::string what = fmt::format("{}: line {}", path_.string(), number);
  const nlohmann::json json = parse_json(line, what);
  const JsonFields fields(json, what);
  const auto index = [&](const char* field) {
    return static_cast<size_t>(fields.integer(field, 0, std::numeric_limits<int32_t>::max()));
  };
  const nlohmann::json& positions = fields.at("positions");
  if (!positions.is_array()) fields.reject("positions", "expected an array");
  const auto [found, is_new] =
      windows_.try_emplace({index("model"), index("text"), index("window")}, Line{number, {}});
  if (!is_new) fail("{}: has the window of line {} again", what, found->second.number);
  for (size_t i = 0; i < positions.size(); ++i)
    found->second.positions.push_back(
        position_of(positions[i], fmt::format("{}: field \"positions\": index {}", what, i)));
  empty_ = false;
}

// In one write, so that a run that is killed leaves whole lines, but for the last.
void DriftLog::append(const nlohmann::json& line) {
  const std::string text = dump_json(line) + "\n";
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(fd_, text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
    at += static_cast<size_t>(written);
  }
}

bool DriftLog::load(size_t model, size_t text, size_t window, std::span<DriftPosition> positions) const {
  const auto found = windows_.find({model, text, window});
  if (found == windows_.end()) return false;
  const Line& line = found->second;
  if (line.positions.size() != positions.size())
    fail("{}: line {}: {} positions, the window has {}", path_.string(), line.number, line.positions.size(),
         positions.size());
  std::ranges::copy(line.positions, positions.begin());
  return true;
}

void DriftLog::save(size_t model, size_t text, size_t window, std::span<const DriftPosition> positions) {
  nlohmann::json list = nlohmann::json::array();
  for (const DriftPosition& position : positions) list.push_back(position_json(position));
  append({{"model", model}, {"text", text}, {"window", window}, {"positions", list}});
  empty_ = false;
}

}  // namespace whittle
