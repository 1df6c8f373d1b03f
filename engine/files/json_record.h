#pragma once
// Records of figures as JSON: tables of keys and members write them and read them back.

#include <cstddef>
#include <vector>

#include "engine/files/json_file.h"

namespace whittle {

// A row of such a table.
template <class Record, class Value>
struct RecordField {
  const char* key;
  Value Record::*value;
};

// An array of finite numbers of 0 or more, `least` to `most` of them. Throws Error that names the field.
std::vector<double> read_numbers(const JsonFields& fields, const char* key, size_t least, size_t most);

}  // namespace whittle
