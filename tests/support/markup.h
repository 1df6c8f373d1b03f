#pragma once
// Strict looks at HTML and SVG, no more of them than pages of ours may use.

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace whittle::test {

inline int64_t count(const std::string& text, const std::string& part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// A tag's attributes are name="value" with nothing else between them.
inline bool has_plain_attributes(const std::string& tag) {
  size_t at = tag.find(' ');
  while (at != tag.npos) {
    const size_t name = tag.find_first_not_of(" \n", at);
    if (name == tag.npos) return true;
    const size_t equals = tag.find('=', name);
    if (equals == tag.npos || equals == name || equals + 1 >= tag.size() || tag[equals + 1] != '"')
      return false;
    if (tag.find_first_of(" \n\"", name) < equals) return false;
    const size_t end = tag.find('"', equals + 2);
    if (end == tag.npos) return false;
    at = end + 1;
    if (at < tag.size() && tag[at] != ' ' && tag[at] != '\n' && tag[at] != '/') return false;
    if (at < tag.size() && tag[at] == '/') return at + 1 == tag.size();
  }
  return true;
}

// Every & begins one of the five references that a page of ours writes.
inline bool has_known_references(const std::string& html) {
  for (size_t at = html.find('&'); at != html.npos; at = html.find('&', at + 1)) {
    bool known = false;
    for (const char* reference : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&ensp;"})
      known = known || html.compare(at, std::string(reference).size(), reference) == 0;
    if (!known) return false;
  }
  return true;
}

// Every element that is opened is closed in turn; nothing is left outside; no id stands twice.
inline bool is_well_formed(const std::string& html) {
  std::vector<std::string> open;
  std::set<std::string> ids;
  for (size_t at = html.find('<'); at != html.npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    if (end == html.npos) return false;
    std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.starts_with('!')) continue;
    if (!has_plain_attributes(tag)) return false;
    if (const size_t id = tag.find(" id=\""); id != tag.npos)
      if (!ids.insert(tag.substr(id, tag.find('"', id + 5) - id)).second) return false;
    if (tag.ends_with('/')) continue;
    const bool closes = tag.starts_with('/');
    tag = tag.substr(closes, tag.find_first_of(" \n") - closes);
    if (tag == "meta" || tag == "br") continue;
    if (!closes) {
      open.push_back(tag);
    } else {
      if (open.empty() || open.back() != tag) return false;
      open.pop_back();
    }
  }
  return open.empty() && has_known_references(html);
}

// What stands in the cells of all tables, names of rows too, without what is in small letters.
inline std::vector<std::string> table_cells(const std::string& html) {
  std::vector<std::string> cells;
  for (const char* tag : {"td", "th scope=\"row\""})
    for (size_t at = html.find(std::string("<") + tag); at != html.npos;
         at = html.find(std::string("<") + tag, at + 1)) {
      const size_t begin = html.find('>', at) + 1;
      cells.push_back(
          html.substr(begin, std::min(html.find("</t", begin), html.find("<br>", begin)) - begin));
    }
  return cells;
}

}  // namespace whittle::test
