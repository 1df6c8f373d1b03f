#include "engine/files/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "engine/files/json_file.h"
#include "engine/files/lfs_pointer.h"
#include "kernels/error.h"

namespace whittle {

static_assert(std::endian::native == std::endian::little,
              "tensors are stored little-endian and used in place");

namespace {

constexpr uint64_t max_header_bytes = 100'000'000;
constexpr int64_t max_bytes = int64_t{1} << 62;

struct DTypeInfo {
  std::string_view name;
  int bits;
};

// In the order of the enumerators.
constexpr DTypeInfo dtypes[] = {
    {"F64", 64},        {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32},
    {"I16", 16},        {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},
    {"BOOL", 8},        {"C64", 64},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
};
static_assert(std::size(dtypes) == static_cast<size_t>(DType::F4) + 1);

// What the header says of one tensor.
struct Entry {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // in the buffer
};

std::vector<int64_t> integers(const JsonFields& fields, const char* field) {
  const nlohmann::json& values = fields.at(field);
  if (!values.is_array()) fields.reject(field, "expected an array, found " + json_text(values));
  std::vector<int64_t> result;
  for (const auto& value : values) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(max_bytes)) {
      fields.reject(field, "expected integers from 0 to 2^62, found " + json_text(value));
    }
    result.push_back(value.get<int64_t>());
  }
  return result;
}

Entry read_entry(const std::string& tensor, const nlohmann::json& value, const std::string& file,
                 int64_t buffer_bytes) {
  const JsonFields fields(value, fmt::format("{}: tensor {}", file, quote(tensor)));
  for (const auto& [key, unused] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      fail("{}: unknown field {}", fields.what(), quote(key));
    }
  }
  Entry entry;
  entry.name = tensor;
  const std::string dtype = fields.string("dtype");
  const auto known = dtype_named(dtype);
  if (!known) fields.reject("dtype", "unknown element type " + quote(dtype));
  entry.dtype = *known;
  entry.shape = integers(fields, "shape");
  const auto offsets = integers(fields, "data_offsets");
  if (offsets.size() != 2)
    fields.reject("data_offsets", fmt::format("expected 2 numbers, found {}", offsets.size()));
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.begin > entry.end || entry.end > buffer_bytes) {
    fields.reject("data_offsets", fmt::format("[{}, {}] does not lie in the {} bytes that follow the header",
                                              entry.begin, entry.end, buffer_bytes));
  }
  const auto size = tensor_bytes(entry.dtype, entry.shape);
  if (!size) fields.reject("shape", fmt::format("{} of {} has no size", shape_text(entry.shape), dtype));
  if (*size != entry.end - entry.begin) {
    fail("{}: dtype {} and shape {} take {} bytes, but data_offsets hold {}", fields.what(), dtype,
         shape_text(entry.shape), *size, entry.end - entry.begin);
  }
  return entry;
}

void check_no_holes(std::vector<Entry>& entries, const std::string& file, int64_t buffer_bytes) {
  std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
  int64_t position = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != position) {
      fail(
          "{}: tensor {}: field \"data_offsets\": begins at {}, expected {}: tensors may not leave a hole or "
          "overlap",
          file, quote(entry.name), entry.begin, position);
    }
    position = entry.end;
  }
  if (position != buffer_bytes) {
    fail("{}: field \"data_offsets\": tensors end at byte {} of the buffer, expected {}", file, position,
         buffer_bytes);
  }
}

}  // namespace

std::string_view name(DType dtype) { return dtypes[static_cast<size_t>(dtype)].name; }

int bits(DType dtype) { return dtypes[static_cast<size_t>(dtype)].bits; }

std::optional<DType> dtype_named(std::string_view name) {
  const auto found = std::ranges::find(dtypes, name, &DTypeInfo::name);
  if (found == std::end(dtypes)) return {};
  return static_cast<DType>(found - std::begin(dtypes));
}

std::optional<int64_t> tensor_bytes(DType dtype, std::span<const int64_t> shape) {
  // A zero anywhere makes an empty tensor, however large the rest.
  if (std::ranges::any_of(shape, [](int64_t size) { return size < 0; })) return {};
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  const int64_t max_elements = max_bytes / bits(dtype);
  int64_t elements = 1;
  for (const int64_t size : shape) {
    if (size > max_elements / elements) return {};
    elements *= size;
  }
  if (elements * bits(dtype) % 8 != 0) return {};
  return elements * bits(dtype) / 8;
}

std::string shape_text(std::span<const int64_t> shape) {
  constexpr size_t most = 8;
  return fmt::format("[{}{}]", fmt::join(shape.subspan(0, std::min(shape.size(), most)), ", "),
                     shape.size() > most ? ", …" : "");
}

int64_t TensorView::elements() const { return static_cast<int64_t>(bytes.size()) * 8 / bits(dtype); }

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_unique<MappedFile>(path)) {
  const std::string file = path.string();
  const auto bytes = file_->bytes();
  refuse_lfs_pointer({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  if (bytes.size() < 8)
    fail("{}: {} bytes, expected at least the 8 of the header's length", file, bytes.size());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  if (header_bytes > max_header_bytes) {
    fail("{}: header length {}, expected at most {}", file, header_bytes, max_header_bytes);
  }
  if (header_bytes > bytes.size() - 8) {
    fail("{}: header length {}, but only {} bytes follow it", file, header_bytes, bytes.size() - 8);
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  if (!header.starts_with('{')) fail("{}: header: expected it to start with '{{'", file);
  const auto buffer = bytes.subspan(8 + header_bytes);

  const nlohmann::json fields = parse_json(header, file + ": header");
  std::vector<Entry> entries;
  for (const auto& [key, value] : fields.items()) {
    if (key != "__metadata__") {
      entries.push_back(read_entry(key, value, file, static_cast<int64_t>(buffer.size())));
      continue;
    }
    const JsonFields metadata(value, file + ": field \"__metadata__\"");
    for (const auto& [name, text] : value.items()) metadata_[name] = metadata.string(name.c_str());
  }
  check_no_holes(entries, file, static_cast<int64_t>(buffer.size()));
  std::ranges::sort(entries, {}, &Entry::name);
  for (Entry& entry : entries) {
    tensors_.push_back(
        {std::move(entry.name), entry.dtype, std::move(entry.shape),
         buffer.subspan(static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin)),
         &file_->path()});
  }
}

}  // namespace whittle
