#pragma once
// The fields of a protocol buffer, as tokenizer.model is one.

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/error.h"

namespace whittle {

// Views into `bytes`; `file` is for messages. Both must outlive it. Throws Error for what is cut short or
// malformed.
class ProtobufReader {
 public:
  ProtobufReader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  // Goes to the next field; its number, or 0 at the end.
  uint64_t next() {
    if (bytes_.empty()) return 0;
    const uint64_t tag = varint();
    payload_ = {};
    switch (tag & 7) {
      case 0: number_ = varint(); break;
      case 1: payload_ = take(8); break;
      case 2: payload_ = take(varint()); break;
      case 5: payload_ = take(4); break;
      default: fail("{}: not a sentencepiece model: wire type {}", file_, tag & 7);
    }
    return tag >> 3;
  }
  // Of the field: a number, or the bytes of what is not a varint.
  uint64_t number() const { return number_; }
  std::string_view payload() const { return payload_; }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("{}: not a sentencepiece model: a number of more than ten bytes", file_);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size()) fail("{}: not a sentencepiece model: a field ends beyond the file", file_);
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  std::string_view bytes_, payload_;
  uint64_t number_ = 0;
  const std::string& file_;
};

}  // namespace whittle
