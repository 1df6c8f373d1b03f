#include "bench/reports/table.h"

#include <catch2/catch.hpp>
#include <limits>
#include <sstream>
#include <vector>

#include "engine/files/json_file.h"
#include "tests/support/lines.h"

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
  const std::vector<std::string> names = {"a", "größe", "模型", "e\u0301te\u0301", "🙂🙂🙂", "\xff"};
  for (const auto& name : names) table.add_row({name, "|"});
  std::istringstream lines(table.text());
  std::string line;
  std::getline(lines, line);
  std::getline(lines, line);
  for (const auto& name : names) {
    REQUIRE(std::getline(lines, line));
    INFO(name);
    CHECK(display_width(line) == 6 + 2 + 1);
    CHECK(line.ends_with(printable(name) + "  |"));
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

TEST_CASE("text is wrapped at spaces, else after a mark, else anywhere, and loses nothing but spaces") {
  using Lines = std::vector<std::string>;
  CHECK(wrap("", 10) == Lines{""});
  CHECK(wrap("one two", 10) == Lines{"one two"});
  CHECK(wrap("one two three four", 10) == Lines{"one two", "  three", "  four"});
  CHECK(wrap("exactly ten", 7) == Lines{"exactly", "  ten"});
  CHECK(wrap("  indented twice over", 12) == Lines{"  indented", "    twice", "    over"});
  CHECK(wrap("model.layers.0.weight", 14) == Lines{"model.layers.", "  0.weight"});
  CHECK(wrap("0123456789", 6) == Lines{"012345", "  6789"});
  CHECK(wrap("漢字漢字", 5) == Lines{"漢字", "  漢", "  字"});
  CHECK(wrap("漢字", 1) == Lines{"漢字"});  // not even one fits
  CHECK(wrap("trailing   ", 9) == Lines{"trailing"});
  CHECK(cut("漢字abc", 5) == "漢字a");
  CHECK(cut("漢字abc", 3) == "漢");
}

TEST_CASE("a table that is too wide folds the widest left-aligned cells, and every line fits") {
  Table table({{"tensor", Align::left}, {"shape", Align::left}, {"size"}});
  const std::string name = "model.language_model.layers.11.post_attention_layernorm.weight";
  table.add_row({name, "[2048, 5632]", "12.3 MB"});
  table.add_row({"short", "[1]", "4 B"});
  table.add_note("a note that is long enough to need more than the sixty columns that are to be had here");
  std::string joined;
  for (const std::string& line : test::lines_of(table.text(60))) {
    INFO(line);
    CHECK(display_width(line) <= 60);
    for (const char c : line.substr(0, line.find("  [")))
      if (c != ' ') joined += c;
  }
  CHECK(joined.find(name) != std::string::npos);
  CHECK(test::lines_of(table.text(200)).size() == 5);
}

TEST_CASE("what a cell holds cannot move the cursor") {
  Table table({{"name\x1b", Align::left}});
  table.add_row({"a\r\n\x1b[2Jb"});
  CHECK(table.text().find_first_of("\r\x1b") == std::string::npos);
  CHECK(test::lines_of(table.text()).size() == 3);
  CHECK(printable("é\t") == "é\\x09");
}
