#include "engine/files/interrupts.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>

#include "kernels/error.h"

namespace whittle {
namespace {

constexpr std::array signals = {SIGINT, SIGTERM, SIGHUP};

std::atomic<int> received = 0;  // a signal's number
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may store only this");
int holders = 0;
std::array<struct sigaction, signals.size()> before;

}  // namespace

HeldInterrupts::HeldInterrupts() {
  if (holders++ > 0) return;
  struct sigaction hold {};
  hold.sa_handler = [](int signal) { received = signal; };
  hold.sa_flags = SA_RESETHAND | SA_RESTART;  // the second one ends the program
  for (size_t i = 0; i < signals.size(); ++i) {
    sigaction(signals[i], nullptr, &before[i]);
    if (before[i].sa_handler != SIG_IGN) sigaction(signals[i], &hold, nullptr);
  }
}

HeldInterrupts::~HeldInterrupts() {
  if (--holders > 0) return;
  for (size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &before[i], nullptr);
  const int signal = received.exchange(0);
  if (!signal) return;
  std::raise(signal);
  std::_Exit(128 + signal);  // the first process of a container does not die of it
}

bool interrupted() { return received != 0; }

void check_interrupted() {
  if (interrupted()) fail("interrupted");
}

}  // namespace whittle
