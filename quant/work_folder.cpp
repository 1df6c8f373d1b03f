#include "quant/work_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <utility>

#include "engine/files/hidden_sibling.h"
#include "engine/files/json_dump.h"
#include "engine/files/json_file.h"
#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "kernels/error.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

constexpr const char* identity_file = "run.json";
constexpr int64_t most_identity_bytes = int64_t{64} << 20;

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// Of everything in the folder but identity_file.
bool written_by_a_run(const fs::directory_entry& entry) {
  const fs::path extension = entry.path().extension();
  return extension == ".partial" || extension == ".safetensors";
}

bool same_file(int fd, const fs::path& path) {
  struct stat opened {
  }, named{};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

}  // namespace

fs::path WorkFolder::path_for(const fs::path& out) {
  const fs::path final_path = final_path_of(out);
  return final_path.parent_path() / fmt::format(".{}.whittle-work", final_path.filename().string());
}

std::string WorkFolder::left_note(const fs::path& out) {
  std::error_code error;
  if (!fs::exists(path_for(out) / identity_file, error)) return "";
  return fmt::format("{}: what an interrupted run had finished is still there, to be gone on with",
                     printable(path_for(out).string()));
}

WorkFolder::WorkFolder(const fs::path& out, const nlohmann::json& identity, bool resume)
    : out_(final_path_of(out)), path_(path_for(out)), resume_(resume) {
  constexpr int attempts = 100;
  bool ours = false;
  for (int i = 0; i < attempts && !ours; ++i) {
    lock();
    try {
      ours = fd_ >= 0 && claim(identity);
      if (fd_ >= 0 && !ours) remove();
    } catch (...) {
      std::error_code ignored;
      fs::remove(path_, ignored);  // where nothing is in it
      unlock();
      throw;
    }
    if (!ours) unlock();
  }
  if (!ours) fail("{}: cannot create: other runs remove it", path_.string());
  if (!resume_) note_.emplace(path_);
}

// No lock is held afterwards where another run has removed the folder in the meantime.
void WorkFolder::lock() {
  std::error_code error;
  fs::create_directory(path_, error);
  fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd_ < 0 && errno == ENOENT && fs::exists(path_.parent_path(), error)) return;
  if (fd_ < 0) fail("{}: cannot create: {}", path_.string(), std::strerror(errno));
  locked_ = flock(fd_, LOCK_EX | LOCK_NB) == 0;
  const bool in_use = !locked_ && errno == EWOULDBLOCK;
  if (in_use || !same_file(fd_, path_)) unlock();
  if (in_use) fail("{}: another run is working there", path_.string());
}

void WorkFolder::unlock() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

// Whether what is there is this run's, or nothing was; else it is to be removed.
bool WorkFolder::claim(const nlohmann::json& identity) {
  const fs::path file = path_ / identity_file;
  const bool begun = fs::exists(file);
  if (!begun && !std::ranges::all_of(fs::directory_iterator(path_), written_by_a_run))
    fail("{}: is not the work of a run: {} is missing", path_.string(), identity_file);
  if (begun && resume_) {
    const nlohmann::json before = read_json_file(file, most_identity_bytes);
    if (before != parse_json(dump_json(identity), identity_file))
      fail("{}: holds the work of another run: {}", path_.string(), first_difference(before, identity));
    return true;
  }
  if (fs::is_empty(path_)) {
    write_identity(identity);
    return true;
  }
  struct stat status {};
  if (!locked_ || fstat(fd_, &status) != 0 || status.st_uid != geteuid())
    fail("{}: holds the work of another run, of which nobody knows here whether it has ended",
         path_.string());
  return false;
}

void WorkFolder::write_identity(const nlohmann::json& identity) {
  const fs::path partial = path_ / "run.partial";
  std::ofstream stream(partial);
  stream << dump_json(identity, 2) << '\n';
  stream.close();
  if (!stream) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    fail("{}: cannot write", partial.string());
  }
  sync_to_disk(partial);
  fs::rename(partial, path_ / identity_file);
}

// The lock goes with the folder: while its files go one by one, nobody takes it for abandoned.
void WorkFolder::remove() {
  HiddenSibling away(out_, HiddenSibling::Kind::folder);
  if (std::rename(path_.c_str(), away.path().c_str()) != 0)
    fail("{}: cannot remove: {}", path_.string(), std::strerror(errno));
}

WorkFolder::~WorkFolder() {
  if (finished_ || !resume_) try {
      remove();
    } catch (const std::exception&) {  // a full disk takes no other name
      std::error_code ignored;
      fs::remove_all(path_, ignored);
    }
  note_.reset();
  unlock();
}

void WorkFolder::save(const std::string& name, std::span<const Part> parts, const nlohmann::json& facts) {
  const fs::path partial = path_ / (name + ".partial");
  std::error_code error;
  fs::remove(partial, error);  // of a run that was killed
  std::vector<TensorInfo> tensors;
  for (const Part& part : parts)
    tensors.push_back({part.name, part.dtype, {std::ssize(part.bytes) * 8 / bits(part.dtype)}});
  SafetensorsWriter writer(partial, tensors, {{"facts", dump_json(facts)}});
  for (const Part& part : parts) writer.write(part.name, part.bytes);
  writer.finish();
  fs::rename(partial, file(name), error);
  if (error) fail("{}: cannot rename: {}", partial.string(), error.message());
}

std::optional<SafetensorsFile> WorkFolder::open(const std::string& name) const {
  if (!fs::exists(file(name))) return std::nullopt;
  return SafetensorsFile(file(name));
}

nlohmann::json WorkFolder::facts(const SafetensorsFile& file) {
  const auto found = file.metadata().find("facts");
  return parse_json(found == file.metadata().end() ? "{}" : found->second, file.path().string());
}

void WorkFolder::save_module(const std::string& name, const QuantizedMatrix& quantized) {
  const WeightMatrix& matrix = quantized.matrix;
  std::vector<Part> parts = {{"codes", DType::U8, matrix.codes},
                             {"scales", DType::F32, bytes_of(matrix.scales)}};
  if (!matrix.zero_points.empty()) parts.push_back({"zero_points", DType::I8, bytes_of(matrix.zero_points)});
  save(name, parts,
       {{"scale_type", whittle::name(quantized.scale_type)},
        {"fit", static_cast<int>(quantized.fit)},
        {"row", quantized.row},
        {"group", quantized.group},
        {"error", quantized.error},
        {"power", quantized.power},
        {"loss", quantized.loss},
        {"output_error", quantized.output_error},
        {"input_error", quantized.input_error}});
}

std::optional<QuantizedMatrix> WorkFolder::load_module(const std::string& name,
                                                       const QuantizationScheme& scheme, int64_t rows,
                                                       int64_t cols) const {
  const std::optional<SafetensorsFile> saved = open(name);
  if (!saved) return std::nullopt;
  const nlohmann::json all = facts(*saved);
  const JsonFields fields(all, saved->path().string());
  const std::optional<DType> scale_type = dtype_named(fields.string("scale_type"));
  if (!scale_type) fields.reject("scale_type", "no element type");
  QuantizedMatrix out = empty_matrix(scheme, rows, cols, *scale_type);
  out.fit = static_cast<ScaleFit>(fields.integer("fit", 0, 2));
  out.row = fields.integer("row", 0, rows);
  out.group = fields.integer("group", 0, cols);
  const auto number = [&](const char* field) {
    const nlohmann::json& value = fields.at(field);
    if (!value.is_number()) fields.reject(field, "expected a number");
    return value.get<double>();
  };
  out.error = number("error");
  out.power = number("power");
  out.loss = number("loss");
  out.output_error = number("output_error");
  out.input_error = number("input_error");
  const auto take = [&](const char* part, std::span<std::byte> into) {
    for (const TensorView& tensor : saved->tensors())
      if (tensor.name == part && tensor.bytes.size() == into.size()) {
        std::ranges::copy(tensor.bytes, into.begin());
        return;
      }
    fail("{}: {}: not what a matrix of {} by {} has", saved->path().string(), quote(part), rows, cols);
  };
  take("codes", {out.codes(0), out.matrix.codes.size()});
  take("scales", std::as_writable_bytes(std::span(out.matrix.scales)));
  if (!scheme.symmetric) take("zero_points", std::as_writable_bytes(std::span(out.matrix.zero_points)));
  return out;
}

}  // namespace whittle
