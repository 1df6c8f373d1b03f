#include "engine/files/json_file.h"

#include <catch2/catch.hpp>

#include "kernels/error.h"

using namespace whittle;
using Catch::Matchers::Contains;

TEST_CASE("what a terminal would act on is not printed") {
  for (const std::string text : {"model.layers.0", "naïve café 日本 🙂", "a\"b\\c", ""})
    CHECK(printable(text) == text);
  CHECK(printable("\x1b[2J") == "\\x1b[2J");
  CHECK(printable("a\nb\r\t\x7f") == "a\\x0ab\\x0d\\x09\\x7f");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\xc2\\x9b31m");                     // CSI as one character
  CHECK(printable("\u202etxt.exe") == "\\xe2\\x80\\xaetxt.exe");  // turns the writing round
  CHECK(printable("\u2028") == "\\xe2\\x80\\xa8");
  CHECK(printable(std::string("\0", 1)) == "\\x00");
  for (const std::string bad :
       {"\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x80", "\x80"})
    for (const char c : printable(bad)) CHECK((c >= 0x20 && c < 0x7f));
}

TEST_CASE("a quotation is short, and cut between characters") {
  CHECK(quote("a\n") == "\"a\\x0a\"");
  std::string text;
  for (int i = 0; i < 100; ++i) text += "ü";
  for (const std::string start : {"", "x"}) {
    const std::string quoted = quote(start + text);
    CHECK(quoted.size() < 130);
    CHECK(quoted.find("\\x") == std::string::npos);
    CHECK(quoted.ends_with("…\""));
  }
}

TEST_CASE("names of fields are quoted in errors") {
  const auto object = parse_json("{\"a\\u001b[2J\": 1}", "file");
  const JsonFields fields(object, "file");
  CHECK_THROWS_WITH(fields.reject("a\x1b[2J", "no"), Contains("\\x1b") && !Contains("\x1b"));
  CHECK_THROWS_WITH(fields.object("a\x1b[2J"), Contains("\\x1b") && !Contains("\x1b"));
}
