#include "engine/files/cut_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <mutex>
#include <string>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

// Notes stay in their list for ever and are used again, so that the handler of a signal can walk through it
// without a lock.
struct FaultNote {
  std::atomic<bool> in_use = true;
  std::span<const std::byte> mapping;  // empty: an output
  std::string text;                    // the message, or the output's path
  FaultNote* next = nullptr;
};

namespace {

std::atomic<FaultNote*> first_note = nullptr;

FaultNote* take_note(std::span<const std::byte> mapping, const std::string& text) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  for (FaultNote* note = first_note; note; note = note->next) {
    if (note->in_use) continue;
    note->mapping = mapping;
    note->text = text;
    note->in_use = true;
    return note;
  }
  auto* note = new FaultNote;
  note->mapping = mapping;
  note->text = text;
  note->next = first_note;
  first_note = note;
  return note;
}

// From here to the handler: only what POSIX allows in the handler of a signal, and plain system calls.

void print(const char* text, size_t size) {
  if (write(STDERR_FILENO, text, size) < 0) return;  // nobody is left to be told
}

void remove_output(const char* path) {
  const int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) {
    unlink(path);
    return;
  }
  alignas(dirent64) char entries[4096];
  for (int64_t size; (size = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0;)
    for (int64_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      unlinkat(folder, entry->d_name, 0);
      at += entry->d_reclen;
    }
  close(folder);
  rmdir(path);
}

[[noreturn]] void end_program(const FaultNote& cut) {
  static std::atomic_flag ending = ATOMIC_FLAG_INIT;
  if (ending.test_and_set())
    for (;;) pause();  // another thread is at it
  constexpr char clear_progress[] = "\r\033[K";
  termios unused;
  if (tcgetattr(STDERR_FILENO, &unused) == 0) print(clear_progress, sizeof clear_progress - 1);
  print(cut.text.data(), cut.text.size());
  for (const FaultNote* note = first_note; note; note = note->next)
    if (note->in_use && note->mapping.empty()) remove_output(note->text.c_str());
  _exit(1);
}

void on_bus_error(int, siginfo_t* info, void*) {
  const auto* address = static_cast<const std::byte*>(info->si_addr);
  const std::less<> before;
  for (const FaultNote* note = first_note; note; note = note->next) {
    if (!note->in_use || note->mapping.empty()) continue;
    const std::byte* begin = note->mapping.data();
    if (!before(address, begin) && before(address, begin + note->mapping.size())) end_program(*note);
  }
  signal(SIGBUS, SIG_DFL);  // nothing of ours: the same instruction now ends the program
}

}  // namespace

void catch_cut_files() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

NotedMapping::NotedMapping(std::span<const std::byte> bytes, const std::filesystem::path& file)
    : note_(bytes.empty() ? nullptr
                          : take_note(bytes, fmt::format("whittle: {}: cut short by another program while it "
                                                         "was read, or no longer readable\n",
                                                         printable(file.string())))) {}
NotedMapping::~NotedMapping() {
  if (note_) note_->in_use = false;
}

NotedOutput::NotedOutput(const std::filesystem::path& path) : note_(take_note({}, path.string())) {}
NotedOutput::~NotedOutput() { note_->in_use = false; }

}  // namespace whittle
