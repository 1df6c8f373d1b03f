// The rules of the tree, each checked on the tree itself and shown to fail on a bad example.

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/program.h"

namespace fs = std::filesystem;
using namespace whittle::test;

namespace {

using Violations = std::vector<std::string>;

// What a folder's files may include.
const std::map<std::string, std::set<std::string>> may_include = {
    {"kernels", {"kernels"}},
    {"engine", {"engine", "kernels"}},
    {"quant", {"quant", "bench", "engine", "kernels"}},
    {"bench", {"bench", "engine", "kernels"}},
    {"tools", {"tools", "quant", "bench", "engine", "kernels"}},
};

std::string top_of(const std::string& path) { return path.substr(0, path.find('/')); }

// Our headers are named from the root, so the first part of the name tells the folder.
Violations include_violations(const std::string& path, const std::string& text) {
  const auto rule = may_include.find(top_of(path));
  if (rule == may_include.end()) return {};
  static const std::regex include(R"(^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">])");
  Violations found;
  std::istringstream lines(text);
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_search(line, match, include)) continue;
    const std::string name = match[2], folder = top_of(name);
    const bool ours = match[1] == "\"" || may_include.count(folder) || folder == "tests";
    if (ours && !rule->second.count(folder)) found.push_back(path + " includes " + name);
  }
  return found;
}

bool is_code(const std::string& path, const std::string& text) {
  static const std::set<std::string> extensions = {".cpp", ".h", ".inl", ".py", ".sh", ".cmake"};
  return extensions.count(fs::path(path).extension()) || fs::path(path).filename() == "CMakeLists.txt" ||
         text.starts_with("#!");
}

Violations length_violations(const std::string& path, const std::string& text) {
  const auto lines = std::count(text.begin(), text.end(), '\n');
  if (!is_code(path, text) || lines <= 500) return {};
  return {path + " has " + std::to_string(lines) + " lines"};
}

// `listing` is the output of nm --format=posix: name, type, and for what is defined its value and size. A
// weak or unique symbol is one of which the linker keeps any copy: an inline function compiled for AVX-512
// could be the one that runs on a CPU without it.
Violations symbol_violations(const std::string& object, const std::string& listing) {
  static const std::set<std::string> harmless = {
      "DW.ref.__gxx_personality_v0",  // a pointer to the exception handler, the same in every object
  };
  Violations found;
  std::istringstream lines(listing);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name, type;
    words >> name >> type;
    if (type.size() == 1 && std::string("WVwvu").find(type) != std::string::npos && !harmless.count(name))
      found.push_back(object + ": " + type + " " + name);
  }
  return found;
}

Violations top_level_violations(const std::string& path) {
  static const std::set<std::string> allowed = {"CMakeLists.txt", "CMakePresets.json",
                                                "README.md",      "engine",
                                                "quant",          "kernels",
                                                "tools",          "tests",
                                                "bench",          "LICENSE"};
  if (path.starts_with(".") || allowed.count(top_of(path))) return {};
  return {path + ": not one of the top-level entries"};
}

// A path that exists on one machine only. (Split, so that this file passes.)
Violations machine_path_violations(const std::string& path, const std::string& text) {
  static const std::regex machine_path(
      "(^|[^A-Za-z0-9._~-])/(ho"
      "me|ro"
      "ot|wo"
      "rk|Us"
      "ers|tm"
      "p/w)/");
  Violations found;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    // Long lines are data, which std::regex must not be given: it recurses.
    if (line.size() < 2000 && std::regex_search(line, machine_path))
      found.push_back(path + ":" + std::to_string(number) + ": " + line);
  }
  return found;
}

struct Code {
  std::string bare;                  // without comments, preprocessor lines and the contents of literals
  std::vector<std::string> strings;  // its string literals, quotes included
};

Code split_code(const std::string& text) {
  static const std::regex skipped(
      R"--(//[^\n]*|/\*|^[ \t]*#[^\n]*|R"[A-Za-z-]*\(|"(\\.|[^"\\\n])*"|\b[0-9][0-9a-zA-Z.']*|'(\\.|[^'\\\n])+')--",
      std::regex::ECMAScript | std::regex::multiline);
  Code code;
  std::smatch match;
  for (auto at = text.begin(); at != text.end();) {
    if (!std::regex_search(at, text.end(), match, skipped)) {
      code.bare.append(at, text.end());
      break;
    }
    code.bare.append(at, match[0].first).append(" ");
    at = match[0].second;
    const auto start = match[0].first;
    const std::string begin = match[0];
    std::string end;
    if (begin == "/*") end = "*/";
    if (begin.starts_with("R\"")) end = ")" + begin.substr(2, begin.size() - 3) + "\"";
    if (!end.empty()) {
      at = std::search(at, text.end(), end.begin(), end.end());
      at += std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(end.size()), text.end() - at);
    }
    if (begin.starts_with("\"") || begin.starts_with("R\"")) code.strings.emplace_back(start, at);
  }
  return code;
}

// A library does not know what a program calls its options: messages about them are OptionError's.
Violations flag_violations(const std::string& path, const std::string& text) {
  static const std::set<std::string> libraries = {"engine", "kernels", "quant", "bench"};
  const std::string extension = fs::path(path).extension();
  if (!libraries.count(top_of(path)) || path.starts_with("bench/peers/")) return {};
  if (extension != ".h" && extension != ".cpp" && extension != ".inl") return {};
  static const std::regex flag(R"((^|[^A-Za-z0-9-])--[A-Za-z])");
  Violations found;
  for (const std::string& literal : split_code(text).strings)
    if (std::regex_search(literal, flag)) found.push_back(path + " names a flag: " + literal);
  return found;
}

// The classes, structs, unions and enums that a file defines for the whole program: not within functions,
// other types or anonymous namespaces.
std::vector<std::string> shared_types(const std::string& text) {
  static const std::regex space(R"(\bnamespace\s*([A-Za-z0-9_:]*)\s*$)");
  static const std::regex type(
      R"((?:^|[\s>])(?:class|struct|union|enum)\s+(?:class\s+)?(?:alignas\s*\([^)]*\)\s*)?(\w+)\s*(?:final\s*)?(?::[^:][^]*)?$)");
  std::vector<std::string> found;
  std::vector<std::string> scopes;  // of the open braces: "A::" of namespace A, "" where nothing is shared
  std::string head;                 // what stands before the next brace
  for (const char c : split_code(text).bare) {
    if (c == '{') {
      std::smatch match;
      std::string scope;
      if (std::regex_search(head, match, space)) {
        if (match[1].length()) scope = match[1].str() + "::";
      } else if (std::regex_search(head, match, type) &&
                 std::find(scopes.begin(), scopes.end(), "") == scopes.end()) {
        std::string name;
        for (const std::string& outer : scopes) name += outer;
        found.push_back(name + match[1].str());
      }
      scopes.push_back(scope);
    }
    if (c == '}' && !scopes.empty()) scopes.pop_back();
    if (c == '{' || c == '}' || c == ';')
      head.clear();
    else
      head += c;
  }
  return found;
}

// Two types of one name are undefined behaviour, which no compiler or linker reports: of their functions,
// the linker takes either.
Violations type_violations(const std::map<std::string, std::string>& files) {
  std::map<std::string, std::string> defined_in;
  Violations found;
  for (const auto& [path, text] : files) {
    const fs::path extension = fs::path(path).extension();
    if (extension != ".h" && extension != ".cpp") continue;
    for (const std::string& type : shared_types(text)) {
      const auto [first, added] = defined_in.emplace(type, path);
      if (!added) found.push_back(type + " is defined in " + first->second + " and " + path);
    }
  }
  return found;
}

// Characters (code points), not bytes.
int64_t width_of(const std::string& line) {
  return std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

// Prose has at most 110 columns; tables and code have what they need. A file that is named in backticks, by
// its path from the root or from the README, exists (NAME stands for any).
Violations readme_violations(const std::string& path, const std::string& text,
                             const std::function<bool(const fs::path&)>& exists) {
  if (fs::path(path).filename() != "README.md") return {};
  static const std::regex named("`([A-Za-z0-9_./-]+\\.(cpp|h|inl|md))`");
  Violations found;
  std::istringstream lines(text);
  bool code = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) code = !code;
    if (!code && !line.starts_with("|") && width_of(line) > 110) found.push_back(path + ": wider: " + line);
    for (std::sregex_iterator match(line.begin(), line.end(), named), end; match != end; ++match) {
      const std::string name = (*match)[1];
      const bool is_path = name.find('/') != std::string::npos && name.find("NAME") == std::string::npos;
      if (is_path && !exists(name) && !exists(fs::path(path).parent_path() / name))
        found.push_back(path + " names " + name + ", which is not there");
    }
  }
  return found;
}

bool is_text(const std::string& bytes) { return bytes.substr(0, 8192).find('\0') == std::string::npos; }

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Path to contents of all that git tracks; empty in a tree without git.
const std::map<std::string, std::string>& tracked_files() {
  static const std::map<std::string, std::string> files = [] {
    std::map<std::string, std::string> result;
    const Outcome git = run({"git", "-c", "safe.directory=*", "-C", source_dir(), "ls-files", "-z"});
    if (git.exit_code != 0) return result;
    std::istringstream names(git.out);
    for (std::string name; std::getline(names, name, '\0');)
      if (fs::is_regular_file(source_dir() / name)) result[name] = read(source_dir() / name);
    return result;
  }();
  return files;
}

std::string symbols_of(const fs::path& object) {
  const Outcome nm = run({"nm", "--format=posix", object});
  INFO(nm.err);
  REQUIRE(nm.exit_code == 0);
  return nm.out;
}

template <typename Check>
void check_tree(const Check& check) {
  if (tracked_files().empty()) WARN("skipped: not a git checkout");
  for (const auto& [path, text] : tracked_files())
    for (const std::string& violation : check(path, text)) FAIL_CHECK(violation);
}

}  // namespace

TEST_CASE("Includes point from tools to quant, to bench, to engine, to kernels") {
  check_tree(include_violations);
  CHECK(include_violations("quant/a.cpp", "#include \"engine/b.h\"\n#include <vector>\n").empty());
  CHECK(include_violations("tests/a.cpp", "#include \"tools/b.h\"\n").empty());
  CHECK(include_violations("kernels/a.h", "#include \"engine/b.h\"\n").size() == 1);
  CHECK(include_violations("kernels/isa/a.inl", "  #  include <engine/b.h>\n").size() == 1);
  CHECK(
      include_violations("engine/a.cpp", "int x;\n#include \"quant/b.h\"\n#include \"bench/c.h\"\n").size() ==
      2);
  CHECK(include_violations("quant/gguf/a.cpp", "#include \"bench/b.h\"\n").empty());
  CHECK(include_violations("bench/a.cpp", "#include \"quant/b.h\"\n").size() == 1);
  CHECK(include_violations("bench/a.cpp", "#include \"tools/b.h\"\n").size() == 1);
  CHECK(include_violations("tools/a.cpp", "#include \"tests/b.h\"\n").size() == 1);
  CHECK(include_violations("engine/a.cpp", "#include \"../kernels/b.h\"\n").size() == 1);
}

TEST_CASE("No file of code is longer than 500 lines") {
  check_tree(length_violations);
  const std::string lines500(500, '\n'), lines501(501, '\n');
  CHECK(length_violations("engine/a.cpp", lines500).empty());
  CHECK(length_violations("bench/reference_model/tokenizer.json", lines501).empty());
  for (const char* path : {"engine/a.cpp", "engine/a.h", "kernels/isa/a.inl", "tests/a.py", "CMakeLists.txt"})
    CHECK(length_violations(path, lines501).size() == 1);
  CHECK(length_violations("tools/demo", "#!/bin/bash" + lines501).size() == 1);
}

TEST_CASE("Libraries name no flag of a command line") {
  check_tree(flag_violations);
  const std::string bad = "void f() { fail(\"--top-p: expected 1\"); }\n";
  for (const char* path : {"engine/a.cpp", "kernels/isa/a.inl", "quant/gguf/a.cpp", "bench/a.h"})
    CHECK(flag_violations(path, bad).size() == 1);
  CHECK(flag_violations("bench/a.cpp", "f(\"a\", \"choose a shorter --context\");").size() == 1);
  CHECK(flag_violations("bench/a.cpp", "f(R\"x(--text)x\", 1'000, '\"');").size() == 1);
  for (const char* path : {"tools/a.cpp", "tests/a.cpp", "bench/peers/a.cpp", "bench/README.md"})
    CHECK(flag_violations(path, bad).empty());
  CHECK(flag_violations("engine/a.cpp", "// \"--text\"\nint x = y --z; f(\"a--b\", \"-- a\");").empty());
}

TEST_CASE("READMEs are wrapped, and name files that exist") {
  const auto tracked = [](const fs::path& path) { return tracked_files().count(path) > 0; };
  check_tree([&](const std::string& path, const std::string& text) {
    return readme_violations(path, text, tracked);
  });
  const auto only_one = [](const fs::path& path) { return path == "engine/files/a.h"; };
  const auto violations = [&](const std::string& text) {
    return readme_violations("engine/README.md", text, only_one).size();
  };
  const std::string wide(111, 'x');
  CHECK(violations(wide) == 1);
  CHECK(violations("| " + wide + " |\n```\n" + wide + "\n```\n") == 0);
  std::string umlauts;
  for (int i = 0; i < 110; ++i) umlauts += "ü";
  CHECK(violations(umlauts) == 0);
  CHECK(violations("`files/a.h`, `engine/files/a.h`, `isa/NAME.cpp`, `a.h`") == 0);
  CHECK(violations("see `files/b.h` and `engine/a.h`") == 2);
}

TEST_CASE("One name is one type in the whole program") {
  for (const std::string& violation : type_violations(tracked_files())) FAIL_CHECK(violation);

  const auto twice = [](const std::string& a, const std::string& b) {
    return type_violations({{"engine/a.h", a}, {"bench/b.cpp", b}}).size();
  };
  const std::string first = "namespace whittle {\nclass Decoder {\n  int x_;\n};\n}\n";
  CHECK(twice(first, first) == 1);
  CHECK(twice(first,
              "namespace whittle {\ntemplate <class T>\nstruct Decoder final : Base<T> { int x; };\n}") == 1);
  CHECK(twice(first, "namespace whittle { int f() { return '{'; } enum class Decoder : uint8_t { a }; }") ==
        1);
  CHECK(twice(first, "// {\nnamespace whittle { const char* x = \"{\"; /* { */ struct Decoder {}; }") == 1);
  CHECK(twice(first, "namespace whittle { const char* x = R\"y({)y\"; int n = 1'000; struct Decoder {}; }") ==
        1);
  CHECK(twice("namespace whittle::test { struct A {}; }",
              "namespace whittle { namespace test { struct A {}; } }") == 1);
  CHECK(twice(first, "namespace whittle { namespace { struct Decoder { int x; }; } }") == 0);
  CHECK(twice(first, "namespace whittle { struct Model { struct Decoder {}; }; }") == 0);
  CHECK(twice(first, "namespace whittle { void f() { struct Decoder {}; } }") == 0);
  CHECK(twice(first, "namespace whittle { class Decoder; void f(class Decoder& d) {} }") == 0);
  CHECK(twice(first, "namespace whittle::test { struct Decoder {}; }") == 0);
  CHECK(twice(first, "namespace whittle { /* class Decoder { */ }") == 0);
}

TEST_CASE("Objects of one instruction set hold no symbol that the linker could share with others") {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(source_dir() / "kernels" / "isa"))
    if (entry.path().extension() == ".cpp") names.insert(entry.path().filename());
  REQUIRE(names.count("scalar.cpp") == 1);

  std::set<std::string> checked;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(WHITTLE_BUILD_DIR) / "kernels")) {
    const fs::path& object = entry.path();
    const std::string source = object.stem();
    if (object.extension() != ".o" || object.parent_path().filename() != "isa" || !names.count(source))
      continue;
    checked.insert(source);
    for (const std::string& violation : symbol_violations(object, symbols_of(object))) FAIL_CHECK(violation);
  }
  CHECK(checked == names);
}

TEST_CASE(
    "The check of symbols finds an inline function and a template's static that were left out of line") {
  const TemporaryFolder folder;
  const fs::path source = folder.path() / "bad.cpp", object = folder.path() / "bad.o";
  std::ofstream(source) << "inline float twice(float x) { return x + x; }\n"
                           "template <typename T> struct Table { static T value; };\n"
                           "template <typename T> T Table<T>::value = 1;\n"
                           "namespace { float local(float x) { return x * 2; } }\n"
                           "float four(float x) { return twice(local(x)) * Table<float>::value; }\n";
  const Outcome compiler = run({WHITTLE_COMPILER, "-O0", "-c", source, "-o", object});
  INFO(compiler.err);
  REQUIRE(compiler.exit_code == 0);
  const Violations found = symbol_violations("bad.o", symbols_of(object));
  CHECK(found.size() == 2);
  CHECK(symbol_violations("a.o", "x W 0 8\nDW.ref.__gxx_personality_v0 V 0 8\ny T 0 8\nz U\n").size() == 1);
  for (const char* type : {"W", "V", "w", "v", "u"})
    CHECK(symbol_violations("a.o", std::string("x ") + type + " 0 8\n").size() == 1);
}

TEST_CASE("The root of the tree holds the parts of the design and nothing else") {
  check_tree([](const std::string& path, const std::string&) { return top_level_violations(path); });
  for (const char* path :
       {"README.md", "LICENSE", ".ci/run", ".gitignore", "engine/a.cpp", "tests/tools/a.cpp"})
    CHECK(top_level_violations(path).empty());
  for (const char* path : {"utils/a.h", "docs/a.md", "Makefile", "enginex/a.h"})
    CHECK(top_level_violations(path).size() == 1);
}

TEST_CASE("No tracked text names a path of somebody's machine") {
  check_tree([](const std::string& path, const std::string& text) {
    return is_text(text) ? machine_path_violations(path, text) : Violations{};
  });
  const std::string slash = "/";
  for (const char* folder : {"home", "work", "root", "Users"})
    CHECK(machine_path_violations("a", "x\npath = \"" + slash + folder + "/me/model\"").size() == 1);
  CHECK(machine_path_violations("a", slash + "tmp/w/me").size() == 1);
  CHECK(machine_path_violations("a", "bench/home/x, https://host.org/home/x, /tmp/out, /proc/self").empty());
}
