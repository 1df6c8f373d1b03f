#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/files/json_file.h"
#include "tools/options.h"

namespace whittle {
namespace {

// Letters to insert, remove, replace or swap with their neighbour (Damerau–Levenshtein, each place once).
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before, last(b.size() + 1), now(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], before[j - 2] + 1);
    }
    before = last;
    std::swap(last, now);
  }
  return last[b.size()];
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!command->get_name().empty()) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options())
    if (!option->get_group().empty())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  for (const CLI::App* group : command.get_subcommands([](const CLI::App*) { return true; }))
    if (group->get_name().empty())
      for (const std::string& name : flag_names(*group)) names.push_back(name);
  return names;
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& words) {
  if (word.size() > 64) return "";
  std::string best;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : words) {
    const bool cut_short = word.size() >= 3 && candidate.starts_with(word);
    const size_t found = cut_short ? 1 : distance(word, candidate);
    if (found >= least) continue;
    least = found;
    best = candidate;
  }
  return best;
}

std::string usage_error(const CLI::App& app, const CLI::Error& error) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  const CLI::App& command = parsed.empty() ? app : *parsed.front();
  const std::string name = parsed.empty() ? "whittle" : "whittle " + command.get_name();
  std::string message = error.what();
  if (const std::vector<std::string> before = app.remaining(); !parsed.empty() && !before.empty())
    return fmt::format("whittle: {} stands before the command; flags come after it\n{}",
                       quote(before.front()), "Run whittle --help for more information.\n");
  // A flag that is not known leaves its value over, and others missing: name the flag itself.
  const std::vector<std::string> left = command.remaining(true);
  const auto is_flag = [](const std::string& word) { return word.size() > 1 && word.front() == '-'; };
  const auto flag = std::ranges::find_if(left, is_flag);
  const bool no_command = parsed.empty() && !left.empty() && !is_flag(left.front());
  if (no_command || flag != left.end()) {
    std::string word = no_command ? left.front() : *flag;
    if (!no_command) word = word.substr(0, word.find('='));
    const std::string near = nearest(word, no_command ? command_names(app) : flag_names(command));
    message = fmt::format("no {} {}{}", no_command ? "command" : "flag", quote(word),
                          near.empty() ? "" : fmt::format("; did you mean {}?", near));
  }
  return fmt::format("{}: {}\nRun {} --help for more information.\n", name, message, name);
}

std::string flag_error(const CLI::App& app, const OptionError& error) {
  const std::string message = error.what();
  std::string flag = "--" + error.option();
  std::ranges::replace(flag, '_', '-');
  for (const CLI::App* command : app.get_subcommands())
    if (std::ranges::count(flag_names(*command), flag)) return flag + message.substr(error.option().size());
  return message;
}

}  // namespace whittle
