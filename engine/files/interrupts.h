#pragma once
// SIGINT, SIGTERM and SIGHUP end the program at once, as they end any other. Only what would leave something
// behind holds them back: an output folder, a report half written, a child process.

namespace whittle {

// While one of these lives, such a signal sets a flag. The destructor of the last one ends the program by the
// signal that came, so that whoever waits for it sees that; a second signal does not wait. What is to be
// tidied up must be destroyed before: make this the first member. A signal that is ignored, as nohup asks,
// stays ignored. For the main thread.
class HeldInterrupts {
 public:
  HeldInterrupts();
  ~HeldInterrupts();
  HeldInterrupts(const HeldInterrupts&) = delete;
  HeldInterrupts& operator=(const HeldInterrupts&) = delete;
};

// Whether a signal is being held back. For any thread.
bool interrupted();
// Throws Error where one is, which unwinds to where it was held. Long loops call it at least once a second.
void check_interrupted();

}  // namespace whittle
