#pragma once
// Memory straight from the system: page aligned, zero until written, resident only where touched.

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "kernels/error.h"

namespace whittle {

template <typename T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  // huge_pages: ask for 2 MB pages, for what is read in long streams.
  explicit Buffer(int64_t size, bool huge_pages = false) : size_(size) {
    if (size == 0) return;
    void* memory = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("out of memory: {} bytes were asked of the system and refused", bytes());
    data_ = static_cast<T*>(memory);
    if (huge_pages) madvise(memory, bytes(), MADV_HUGEPAGE);
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_) munmap(data_, bytes());
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  std::span<T> span() { return {data_, static_cast<size_t>(size_)}; }
  std::span<const T> span() const { return {data_, static_cast<size_t>(size_)}; }
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(T); }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace whittle
