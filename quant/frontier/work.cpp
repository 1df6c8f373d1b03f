#include "quant/frontier/work.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bench/reports/json_report.h"
#include "engine/files/json_file.h"
#include "engine/files/output_folder.h"
#include "kernels/error.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

constexpr const char* identity_name = "run";
constexpr int64_t most_bytes = int64_t{1} << 30;

}  // namespace

FrontierWork::FrontierWork(const fs::path& folder, const nlohmann::json& identity, bool resume,
                           bool keep_models)
    : path_(final_path_of(folder)) {
  std::error_code error;
  fs::create_directories(path_, error);
  fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) fail("{}: cannot create: {}", path_.string(), std::strerror(errno));
  try {
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      fail("{}: another run is working there", path_.string());
    claim(identity, resume);
    if (!keep_models)
      remove_models();
    else if (fs::exists(models()))
      for (const auto& entry : fs::directory_iterator(models()))
        if (!fs::exists(entry.path() / "config.json")) fs::remove_all(entry.path(), error);
    fs::create_directories(models(), error);
    if (error) fail("{}: cannot create: {}", models().string(), error.message());
  } catch (...) {
    close(fd_);
    throw;
  }
}

FrontierWork::~FrontierWork() { close(fd_); }

void FrontierWork::claim(const nlohmann::json& identity, bool resume) const {
  if (fs::is_empty(path_)) return save(identity_name, identity);
  if (!fs::exists(file(identity_name)))
    fail("{}: is neither empty nor the work of such a run", path_.string());
  if (!resume)
    fail("{}: holds the results of an earlier run: go on from them (resume), or remove it", path_.string());
  const nlohmann::json before = read_json_file(file(identity_name), most_bytes);
  // As it would lie there: names may hold bytes that JSON cannot.
  const nlohmann::json now =
      nlohmann::json::parse(identity.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  for (const auto& [field, value] : now.items())
    if (!before.is_object() || !before.contains(field) || before[field] != value)
      fail("{}: holds the work of another run: {} is not the same", path_.string(), quote(field));
}

nlohmann::json FrontierWork::load(const std::string& name) const {
  if (!fs::exists(file(name))) return nullptr;
  try {
    return read_json_file(file(name), most_bytes);
  } catch (const Error&) {
    return nullptr;
  }
}

void FrontierWork::save(const std::string& name, const nlohmann::json& json) const {
  write_json(file(name), json);
}

void FrontierWork::remove_models() const {
  std::error_code ignored;
  fs::remove_all(models(), ignored);
}

void FrontierWork::remove() const {
  remove_models();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_, ignored))
    if (entry.path().extension() == ".json") fs::remove(entry.path(), ignored);
  fs::remove(path_, ignored);
}

}  // namespace whittle
