#include "bench/reports/markup.h"

#include "engine/files/json_file.h"

namespace whittle {

std::string html(std::string_view text) {
  std::string escaped;
  for (const char character : printable(text)) switch (character) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += character;
    }
  return escaped;
}

std::string markdown(std::string_view text) {
  std::string escaped;
  for (const char character : printable(text)) {
    if (std::string_view("\\`*_{}[]<>|#&").find(character) != std::string_view::npos) escaped += '\\';
    escaped += character;
  }
  return escaped;
}

}  // namespace whittle
