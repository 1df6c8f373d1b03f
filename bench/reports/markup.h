#pragma once
// Text from files and users within markup: nothing of it is markup, and control characters and bytes that are
// not UTF-8 are shown as \xNN.

#include <string>
#include <string_view>

namespace whittle {

// In HTML, SVG and other XML, attributes too.
std::string html(std::string_view text);
// In Markdown as GitHub and others read it, tables too.
std::string markdown(std::string_view text);

}  // namespace whittle
