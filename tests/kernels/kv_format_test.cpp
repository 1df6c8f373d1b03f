#include "kernels/kv_format.h"

#include <catch2/catch.hpp>

using namespace whittle;

TEST_CASE("the table of KV formats is indexed by the enumerator and by name") {
  for (const KvFormatInfo& format : kv_formats()) {
    CHECK(&info(format.format) == &format);
    CHECK(kv_format_named(format.name) == format.format);
    CHECK(format.element_bytes > 0);
  }
  CHECK_FALSE(kv_format_named("int4"));
  CHECK_FALSE(kv_format_named(""));
}
