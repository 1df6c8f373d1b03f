#include "engine/files/json_file.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>
#include <vector>

#include "engine/files/lfs_pointer.h"
#include "kernels/error.h"

namespace whittle {

using nlohmann::json;

namespace {

constexpr size_t max_depth = 64;

// Builds the value from the parser's events, which come without recursion: the depth is bounded here, and a
// second value for a key is seen where it would be lost.
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(const std::string& what) : what_(what) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // never in text
  bool start_object(size_t) override { return open(json::object()); }
  bool start_array(size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [place, is_new] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!is_new) fail("{}: key {} appears twice in one object", what_, quote(name));
    slot_ = &place->second;
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const json::exception&) override {
    fail("{}: not valid JSON at byte {}, near {}", what_, position, quote(token));
  }

 private:
  bool add(json value) {
    place(std::move(value));
    return true;
  }

  json* place(json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_array()) return &open_.back()->emplace_back(std::move(value));
    return &(*slot_ = std::move(value));
  }

  bool open(json value) {
    if (open_.size() == max_depth) fail("{}: JSON nested deeper than {} levels", what_, max_depth);
    open_.push_back(place(std::move(value)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& what_;
  json root_;
  std::vector<json*> open_;  // a container does not move while one inside it is open
  json* slot_ = nullptr;     // of the key just read
};

struct Range {
  uint32_t first, last;
};
// Code points that act on a terminal instead of being seen: C0 and C1 controls (ESC and CSI among them), line
// and paragraph separators, and the marks that change the direction of writing.
constexpr Range unprintable[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},
                                 {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069},
                                 {0xd800, 0xdfff}, {0xfff9, 0xfffb}, {0x110000, UINT32_MAX}};

// Bytes of the character that `text` begins with; 0 where it is none that may be printed.
size_t printable_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t first = byte(0);
  const size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (length == 0 || length > text.size()) return 0;
  constexpr uint32_t lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07}, smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  uint32_t code = first & lead_bits[length];
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  if (code < smallest[length] || first > 0xf4) return 0;
  const bool acts = std::ranges::any_of(
      unprintable, [&](const Range& range) { return range.first <= code && code <= range.last; });
  return acts ? 0 : length;
}

}  // namespace

json parse_json(std::string_view text, const std::string& what) {
  Builder builder(what);
  json::sax_parse(text, &builder);
  return builder.take();
}

json read_json_file(const std::filesystem::path& path, int64_t max_bytes) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) fail("{}: a folder, expected a file", path.string());
  if (!std::filesystem::is_regular_file(path, error)) fail("{}: no such file", path.string());
  const auto size = std::filesystem::file_size(path, error);
  if (error) fail("{}: {}", path.string(), error.message());
  if (size > static_cast<uintmax_t>(max_bytes)) {
    fail("{}: {} bytes, expected at most {}", path.string(), size, max_bytes);
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) fail("{}: cannot read", path.string());
  refuse_lfs_pointer(text, path);
  return parse_json(text, path.string());
}

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t length = printable_length(text);
    if (length)
      result += text.substr(0, length);
    else
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
    text.remove_prefix(length ? length : 1);
  }
  return result;
}

std::string quote(std::string_view text) {
  constexpr size_t max_length = 120;
  if (text.size() <= max_length) return '"' + printable(text) + '"';
  size_t end = max_length;  // whole characters
  while (end > max_length - 4 && (text[end] & 0xc0) == 0x80) --end;
  return '"' + printable(text.substr(0, end)) + "…\"";
}

JsonFields::JsonFields(const json& object, std::string what, FieldNames shown)
    : object_(&object), what_(std::move(what)), shown_(std::move(shown)) {
  if (!object.is_object()) fail("{}: expected an object, found {}", what_, object.type_name());
}

void JsonFields::reject(const char* field, const std::string& message) const {
  const auto shown = shown_.find(field);
  fail("{}: field {}: {}", what_, quote(shown == shown_.end() ? field : shown->second), message);
}

bool JsonFields::has(const char* field) const {
  const auto found = object_->find(field);
  return found != object_->end() && !found->is_null();
}

const json& JsonFields::at(const char* field) const {
  if (!has(field)) reject(field, "missing");
  return *object_->find(field);
}

int64_t JsonFields::integer(const char* field, int64_t min, int64_t max,
                            std::optional<int64_t> fallback) const {
  if (fallback && !has(field)) return *fallback;
  const json& value = at(field);
  // Numbers above INT64_MAX are kept apart by the parser as unsigned ones.
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() ||
                                                  value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  if (!fits || value.get<int64_t>() < min || value.get<int64_t>() > max) {
    reject(field, fmt::format("expected an integer from {} to {}, found {}", min, max, json_text(value)));
  }
  return value.get<int64_t>();
}

double JsonFields::positive(const char* field, std::optional<double> fallback) const {
  if (fallback && !has(field)) return *fallback;
  const json& value = at(field);
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() <= 0) {
    reject(field, "expected a number above 0, found " + json_text(value));
  }
  return value.get<double>();
}

bool JsonFields::boolean(const char* field, std::optional<bool> fallback) const {
  if (fallback && !has(field)) return *fallback;
  const json& value = at(field);
  if (!value.is_boolean()) reject(field, "expected true or false, found " + json_text(value));
  return value.get<bool>();
}

std::string JsonFields::string(const char* field, std::optional<std::string> fallback) const {
  if (fallback && !has(field)) return *fallback;
  const json& value = at(field);
  if (!value.is_string()) reject(field, "expected a string, found " + json_text(value));
  return value.get<std::string>();
}

JsonFields JsonFields::object(const char* field) const {
  return JsonFields(at(field), fmt::format("{}: field {}", what_, quote(field)));
}

std::string json_text(const json& value) {
  if (value.is_string()) return quote(value.get_ref<const std::string&>());
  if (value.is_structured()) return value.is_array() ? "an array" : "an object";
  return value.dump();
}

}  // namespace whittle
