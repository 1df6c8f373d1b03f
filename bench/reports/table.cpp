#include "bench/reports/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <span>

#include "engine/files/json_file.h"

namespace whittle {

namespace {

struct CodePoints {
  char32_t first, last;
  int width;
};

// Enough of Unicode's widths for names of models, people's file names and units.
constexpr CodePoints special_widths[] = {
    {0x0300, 0x036F, 0},   {0x1100, 0x115F, 2},   {0x200B, 0x200F, 0}, {0x20D0, 0x20FF, 0},
    {0x2E80, 0xA4CF, 2},   {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2}, {0xFE00, 0xFE0F, 0},
    {0xFE30, 0xFE6F, 2},   {0xFF00, 0xFF60, 2},   {0xFFE0, 0xFFE6, 2}, {0xFEFF, 0xFEFF, 0},
    {0x1F300, 0x1FAFF, 2}, {0x20000, 0x3FFFD, 2},
};

int code_point_width(char32_t code) {
  for (const CodePoints& range : special_widths)
    if (code >= range.first && code <= range.last) return range.width;
  return 1;
}

// The character at the front of `text`, which becomes shorter by its bytes; a malformed byte stands for
// itself.
char32_t take_code_point(std::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  const size_t length = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
  char32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size() || (byte(i) & 0xC0) != 0x80) {
      text.remove_prefix(1);
      return lead;
    }
    code = code << 6 | (byte(i) & 0x3F);
  }
  text.remove_prefix(length);
  return code;
}

std::string padded(std::string_view cell, int64_t width, Align align) {
  const std::string space(static_cast<size_t>(std::max<int64_t>(0, width - display_width(cell))), ' ');
  return align == Align::left ? std::string(cell) + space : space + std::string(cell);
}

struct Unit {
  double size;
  std::string_view name;
};

// The value in the largest unit of which there is at least one. A value that rounding lifts to the next unit
// goes there.
std::string in_units(double value, std::span<const Unit> largest_first) {
  for (const Unit& unit : largest_first)
    if (std::abs(value) >= unit.size * 0.9995)
      return fmt::format("{} {}", format_number(value / unit.size), unit.name);
  return fmt::format("{} {}", format_number(value / largest_first.back().size), largest_first.back().name);
}

}  // namespace

int64_t display_width(std::string_view text) {
  int64_t width = 0;
  while (!text.empty()) width += code_point_width(take_code_point(text));
  return width;
}

std::string cut(std::string_view text, int64_t width) {
  std::string_view rest = text;
  for (std::string_view before = rest; !rest.empty(); before = rest)
    if ((width -= code_point_width(take_code_point(rest))) < 0)
      return std::string(text.substr(0, text.size() - before.size()));
  return std::string(text);
}

std::vector<std::string> wrap(std::string_view text, int64_t width) {
  std::string indent(std::min(text.find_first_not_of(' '), text.size()), ' ');
  if (static_cast<int64_t>(indent.size()) + 2 < width) indent += "  ";
  std::vector<std::string> lines;
  std::string left(text);
  while (display_width(left) > width) {
    std::string line = cut(left, width);
    const size_t begin = left.find_first_not_of(' ');
    if (line.size() <= begin) break;  // not even one character fits
    // A break after the last space, also the one that did not fit any more, else after a mark.
    size_t end = left[line.size()] == ' ' ? line.size() : line.find_last_of(' ') + 1;
    if (end == 0 || end <= begin) end = line.find_last_of("./_-") + 1;
    if (end == 0 || end <= begin) end = line.size();
    line.resize(end);
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(line);
    left.erase(0, std::min(left.find_first_not_of(' ', end), left.size()));
    if (left.empty()) return lines;
    left.insert(0, indent);
  }
  lines.push_back(left);
  return lines;
}

void Table::add_row(std::vector<std::string> cells) {
  assert(cells.size() == columns_.size());
  for (std::string& cell : cells) cell = printable(cell);  // names come from files and folders
  rows_.push_back(std::move(cells));
}

std::vector<int64_t> Table::widths(int64_t widest) const {
  std::vector<int64_t> widths;
  int64_t excess = -2 - widest;
  for (size_t c = 0; c < columns_.size(); ++c) {
    int64_t width = display_width(columns_[c].header);
    for (const auto& row : rows_) width = std::max(width, display_width(row[c]));
    widths.push_back(width);
    excess += width + 2;
  }
  constexpr int64_t narrowest = 12;
  while (excess > 0) {
    size_t chosen = columns_.size();
    for (size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c].align == Align::left && widths[c] > narrowest &&
          (chosen == columns_.size() || widths[c] > widths[chosen]))
        chosen = c;
    if (chosen == columns_.size()) break;
    const int64_t less = std::min(excess, widths[chosen] - narrowest);
    widths[chosen] -= less;
    excess -= less;
  }
  return widths;
}

std::string Table::text(int64_t widest) const {
  const std::vector<int64_t> widths = this->widths(widest);
  std::string out;
  const auto add_row = [&](const std::vector<std::string>& cells) {
    std::vector<std::vector<std::string>> folded;
    size_t height = 1;
    for (size_t c = 0; c < cells.size(); ++c) {
      folded.push_back(wrap(cells[c], widths[c]));
      height = std::max(height, folded[c].size());
    }
    for (size_t i = 0; i < height; ++i) {
      std::string line;
      for (size_t c = 0; c < cells.size(); ++c)
        line +=
            (c ? "  " : "") + padded(i < folded[c].size() ? folded[c][i] : "", widths[c], columns_[c].align);
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + '\n';
    }
  };

  std::vector<std::string> headers;
  for (const Column& column : columns_) headers.push_back(printable(column.header));
  if (std::ranges::any_of(headers, [](const std::string& header) { return !header.empty(); })) {
    add_row(headers);
    for (size_t c = 0; c < widths.size(); ++c) {
      if (c) out += "  ";
      for (int64_t i = 0; i < widths[c]; ++i) out += "─";
    }
    out += '\n';
  }
  for (const auto& row : rows_) add_row(row);
  for (const auto& note : notes_)
    for (const std::string& line : wrap(printable(note), widest)) out += line + '\n';
  return out;
}

std::string format_number(double value) {
  if (!std::isfinite(value)) return "–";
  if (value == 0) return "0";
  // The exponent after rounding to three digits: 9.996 is "10.0".
  const std::string scientific = fmt::format("{:.2e}", value);
  const int exponent = std::stoi(scientific.substr(scientific.find('e') + 1));
  return fmt::format("{:.{}f}", value, std::clamp(2 - exponent, 0, 12));
}

std::string format_bytes(double bytes) {
  static constexpr Unit units[] = {{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}};
  if (std::isfinite(bytes) && std::abs(bytes) < 1000) return fmt::format("{:.0f} B", bytes);
  return in_units(bytes, units);
}

std::string format_seconds(double seconds) {
  static constexpr Unit units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}};
  if (std::isfinite(seconds) && seconds >= 99.5) {
    const int64_t whole = std::llround(seconds);
    return fmt::format("{} min {} s", whole / 60, whole % 60);
  }
  return in_units(seconds, units);
}

std::string format_percent(double fraction) { return format_number(100 * fraction) + " %"; }

std::string format_rate(double value, std::string_view unit) {
  return fmt::format("{} {}", format_number(value), unit);
}

}  // namespace whittle
