// The script that completes commands, flags and values in bash, made from the declarations themselves.

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "tools/commands.h"

namespace whittle {
namespace {

// "TEXT:{int8,int4}" and "f16|int8|f32" list what an option takes; of others anything goes.
std::string choices(const CLI::Option& option) {
  std::string type = option.get_type_name();
  const size_t begin = type.find('{'), end = type.find('}');
  if (begin != std::string::npos && end != std::string::npos)
    type = type.substr(begin + 1, end - begin - 1);
  else if (type.find('|') == std::string::npos)
    return "";
  std::ranges::replace_if(
      type, [](char c) { return c == ',' || c == '|'; }, ' ');
  return type;
}

std::vector<const CLI::Option*> shown_options(const CLI::App& app) {
  std::vector<const CLI::Option*> options;
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty()) options.push_back(option);
  for (const CLI::App* group : app.get_subcommands([](const CLI::App*) { return true; }))
    if (group->get_name().empty())
      for (const CLI::Option* option : shown_options(*group)) options.push_back(option);
  return options;
}

// A `case` of the words after COMMAND: the values of a flag, else flags, else what stands without one.
std::string command_case(const CLI::App& command) {
  const std::string name = command.get_name();
  std::string flags, words, values;
  for (const CLI::Option* option : shown_options(command)) {
    if (option->get_positional()) words += choices(*option);
    for (const std::string& flag : option->get_lnames()) {
      flags += " --" + flag;
      if (option->get_items_expected_max() > 0)
        values += fmt::format("    '{} --{}') words='{}' ;;\n", name, flag, choices(*option));
    }
  }
  return values + fmt::format("    '{} '*) words='{}'; [[ $current == -* ]] && words='{}' ;;\n", name, words,
                              flags.substr(1));
}

std::string bash_completion(const CLI::App& app) {
  std::string first, cases;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    first += command->get_name() + " ";
    cases += command_case(*command);
  }
  for (const CLI::Option* option : shown_options(app))
    for (const std::string& flag : option->get_lnames()) first += "--" + flag + " ";
  first.pop_back();
  return fmt::format(
      "# Completion of whittle for bash: source <(whittle completion bash)\n"
      "_whittle() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} words=\n"
      "  case \"${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD - 1]}}\" in\n"
      "{}"
      "  esac\n"
      "  ((COMP_CWORD == 1)) && words='{}'\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
      "}}\n"
      "complete -o default -F _whittle whittle  # default: names of files, where no word fits\n",
      cases, first);
}

}  // namespace

void add_completion(CLI::App& app) {
  CLI::App* command = app.add_subcommand("completion", "Completion of commands and flags, for a shell");
  static std::string shell;
  command->add_option("SHELL", shell, "bash")->required()->check(CLI::IsMember({"bash"}));
  command->footer(
      "Examples:\n  whittle completion bash > ~/.local/share/bash-completion/completions/whittle");
  command->callback([&app] { std::cout << bash_completion(app); });
}

}  // namespace whittle
