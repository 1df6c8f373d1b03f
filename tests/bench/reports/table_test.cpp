#include "bench/reports/table.h"

#include <catch2/catch.hpp>
#include <limits>
#include <sstream>
#include <vector>

using namespace whittle;

TEST_CASE("a table aligns its columns below a rule") {
  Table table({{"model", Align::left}, {"speed"}, {"unit", Align::left}});
  table.add_row({"small", "1.0", "tok/s"});
  table.add_row({"naïve", "123.4", "a"});
  table.add_note("measured beside the probe");
  CHECK(table.text() ==
        "model  speed  unit\n"
        "─────  ─────  ─────\n"
        "small    1.0  tok/s\n"
        "naïve  123.4  a\n"
        "measured beside the probe\n");
}

TEST_CASE("a table without headers has no rule") {
  Table table({{"", Align::left}, {"", Align::left}});
  table.add_row({"CPU", "any"});
  table.add_row({"memory", "24 GB"});
  CHECK(table.text() == "CPU     any\nmemory  24 GB\n");
}

TEST_CASE("right-aligned cells end in one column whatever their script") {
  Table table({{"name", Align::right}, {"x", Align::left}});
  const std::vector<std::string> names = {"a",       "größe", "模型", "e\u0301te\u0301", "🙂🙂🙂",
                                          "\xff\xfe"};
  for (const auto& name : names) table.add_row({name, "|"});
  std::istringstream lines(table.text());
  std::string line;
  std::getline(lines, line);
  std::getline(lines, line);
  for (const auto& name : names) {
    REQUIRE(std::getline(lines, line));
    INFO(name);
    CHECK(display_width(line) == 6 + 2 + 1);
    CHECK(line.ends_with(name + "  |"));
  }
}

TEST_CASE("the width of text on a terminal") {
  CHECK(display_width("") == 0);
  CHECK(display_width("plain") == 5);
  CHECK(display_width("µ–é") == 3);
  CHECK(display_width("e\u0301") == 1);
  CHECK(display_width("漢字") == 4);
  CHECK(display_width("\xe2\x80") == 2);  // cut off in the middle of a character
}

TEST_CASE("numbers keep three digits and no exponent") {
  CHECK(format_number(0) == "0");
  CHECK(format_number(1.2) == "1.20");
  CHECK(format_number(9.996) == "10.0");
  CHECK(format_number(99.96) == "100");
  CHECK(format_number(-12.34) == "-12.3");
  CHECK(format_number(0.000123) == "0.000123");
  CHECK(format_number(1234567) == "1234567");
  CHECK(format_number(std::numeric_limits<double>::infinity()) == "–");
}

TEST_CASE("bytes, seconds and rates come in the unit that fits") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(999) == "999 B");
  CHECK(format_bytes(1500) == "1.50 kB");
  CHECK(format_bytes(999'999) == "1.00 MB");
  CHECK(format_bytes(14.7e6) == "14.7 MB");
  CHECK(format_bytes(24e9) == "24.0 GB");
  CHECK(format_seconds(0.000'012'3) == "12.3 µs");
  CHECK(format_seconds(0.004) == "4.00 ms");
  CHECK(format_seconds(1.2) == "1.20 s");
  CHECK(format_seconds(125) == "2 min 5 s");
  CHECK(format_percent(0.613) == "61.3 %");
  CHECK(format_rate(31.42, "GB/s") == "31.4 GB/s");
}
