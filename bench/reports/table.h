#pragma once
// Plain-text tables and readable numbers for every report.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace whittle {

enum class Align : uint8_t { left, right };

struct Column {
  std::string header;
  Align align = Align::right;
};

// Columns of the terminal that every report fits into.
inline constexpr int64_t report_width = 80;

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // One cell a column.
  void add_row(std::vector<std::string> cells);
  // A line of text below the table, wrapped where it is long.
  void add_note(std::string text) { notes_.push_back(std::move(text)); }
  // Header, a rule, rows, notes; every line ends with a newline. No header and no rule where all headers are
  // empty. Where a line would be longer than `widest` columns, the widest left-aligned columns become
  // narrower and their cells take several lines. Control characters are shown as \xNN.
  std::string text(int64_t widest = report_width) const;

 private:
  std::vector<int64_t> widths(int64_t widest) const;  // of the columns

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::string> notes_;
};

// Terminal columns of UTF-8 text: combining marks take none, East Asian wide characters and emoji two, any
// byte that is not UTF-8 one.
int64_t display_width(std::string_view text);

// The front of `text` that takes at most `width` terminal columns.
std::string cut(std::string_view text, int64_t width);

// `text` in lines of at most `width` columns, broken at spaces, else after one of "./_-", else anywhere.
// Lines after the first stand two columns further in than it.
std::vector<std::string> wrap(std::string_view text, int64_t width);

// Three significant digits, never an exponent: "0.0123", "1.20", "12.3", "123", "1234567"; "–" when not
// finite.
std::string format_number(double value);
std::string format_bytes(double bytes);                        // decimal units: "512 B", "1.50 kB", "14.7 MB"
std::string format_seconds(double seconds);                    // "12.3 µs", "4.00 ms", "1.20 s", "2 min 5 s"
std::string format_percent(double fraction);                   // 0.613 is "61.3 %"
std::string format_rate(double value, std::string_view unit);  // "31.4 GB/s"

}  // namespace whittle
