#pragma once
// Byte-pair encoding: a word starts as its characters (or bytes), and the adjacent pair that stands first in
// the list of merges becomes one token, again and again, until no pair of neighbours is in the list.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/vocabulary.h"

namespace whittle {

// Pairs of ids to rank and result: a flat hash table, because a lookup a pair is most of the work.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;  // −1: not in the table
    int32_t result = 0;
  };
  bool insert(int32_t left, int32_t right,
              int32_t result);  // false where the pair is there already; ranks count up
  Merge find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t pair = 0;
    Merge merge;
  };
  size_t slot_of(uint64_t pair) const;
  void grow();

  std::vector<Slot> slots_ = std::vector<Slot>(1024);  // a power of two, at most half full
  int32_t count_ = 0;
};

class Bpe {
 public:
  struct Options {
    bool byte_level = false;  // symbols are bytes, written in the byte-level alphabet, and not characters
    bool byte_fallback =
        false;  // an unknown character becomes its bytes' tokens "<0x00>" to "<0xFF>" where all exist
    bool fuse_unknown = false;       // neighbouring unknown characters become one unknown token
    bool ignore_merges = false;      // a word that is a token stays whole
    std::optional<int32_t> unknown;  // without one, unknown characters are left out
  };
  Bpe(std::shared_ptr<const Vocabulary> vocabulary, const Options& options);

  // Adds the next merge in rank. `where` names file and field in the Error for a token that does not exist
  // and for a pair given before.
  void add_merge(std::string_view left, std::string_view right, const std::string& where);

  struct Symbol {
    int32_t id, previous,
        next;  // neighbours by index, −1 at the ends; id −1 when merged into its left neighbour
  };
  struct Candidate {
    uint64_t order;  // rank, then position
    int32_t left, right;
  };
  // Memory that a thread keeps between words.
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::string word;
  };
  // Appends the tokens of `word`, valid UTF-8 unless byte_level, to `ids`. O(n log n).
  void encode(std::string_view word, std::vector<int32_t>& ids, Scratch& scratch) const;

 private:
  void append_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge(std::vector<Symbol>& symbols, std::vector<Candidate>& heap) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  Options options_;
  std::array<int32_t, 256>
      byte_ids_;  // of the bytes in the byte-level alphabet; of ASCII characters otherwise
  std::array<int32_t, 256> fallback_ids_;  // of "<0x00>" to "<0xFF>"
  MergeTable merges_;
};

}  // namespace whittle
