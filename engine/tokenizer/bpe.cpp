#include "engine/tokenizer/bpe.h"

#include <algorithm>

#include "engine/files/json_file.h"
#include "engine/tokenizer/unicode.h"
#include "kernels/error.h"

namespace whittle {

namespace {

uint64_t pair_of(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right)) + 1;  // 0 is an empty slot
}

}  // namespace

size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  size_t i = (pair * 0x9E3779B97F4A7C15u >> 20) & mask;
  while (slots_[i].pair != pair && slots_[i].pair != 0) i = (i + 1) & mask;
  return i;
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(pair_of(left, right))].merge;
}

bool MergeTable::insert(int32_t left, int32_t right, int32_t result) {
  if (2 * static_cast<size_t>(count_) >= slots_.size()) grow();
  const uint64_t pair = pair_of(left, right);
  Slot& slot = slots_[slot_of(pair)];
  if (slot.pair == pair) return false;
  slot = {pair, {count_++, result}};
  return true;
}

void MergeTable::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.pair) slots_[slot_of(slot.pair)] = slot;
  }
}

Bpe::Bpe(std::shared_ptr<const Vocabulary> vocabulary, const Options& options)
    : vocabulary_(std::move(vocabulary)), options_(options) {
  for (int byte = 0; byte < 256; byte++) {
    const auto i = static_cast<size_t>(byte);
    const std::string symbol =
        options.byte_level ? byte_level_alphabet()[i] : std::string(1, static_cast<char>(byte));
    byte_ids_[i] = vocabulary_->find(symbol).value_or(-1);
    fallback_ids_[i] = vocabulary_->find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

void Bpe::add_merge(std::string_view left, std::string_view right, const std::string& where) {
  const auto id = [&](std::string_view token) {
    const auto found = vocabulary_->find(token);
    if (!found)
      fail("{}: the merge of {} and {} needs the token {}, which is not in the vocabulary", where,
           quote(left), quote(right), quote(token));
    return *found;
  };
  const std::string result = std::string(left).append(right);
  if (!merges_.insert(id(left), id(right), id(result))) {
    fail("{}: the merge of {} and {} is given twice", where, quote(left), quote(right));
  }
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids, Scratch& scratch) const {
  if (options_.ignore_merges) {
    std::string_view written = word;
    if (options_.byte_level) {
      scratch.word.clear();
      for (const char c : word) scratch.word += byte_level_alphabet()[static_cast<unsigned char>(c)];
      written = scratch.word;
    }
    if (const auto id = vocabulary_->find(written)) return ids.push_back(*id);
  }
  scratch.symbols.clear();
  append_symbols(word, scratch.symbols);
  if (scratch.symbols.empty()) return;
  merge(scratch.symbols, scratch.heap);
  for (int32_t i = 0; i >= 0; i = scratch.symbols[static_cast<size_t>(i)].next) {
    ids.push_back(scratch.symbols[static_cast<size_t>(i)].id);
  }
}

void Bpe::append_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  const auto append = [&](int32_t id) {
    const auto i = static_cast<int32_t>(symbols.size());
    if (i > 0) symbols.back().next = i;
    symbols.push_back({id, i - 1, -1});
  };
  bool after_unknown = false;
  for (size_t i = 0, length = 1; i < word.size(); i += length) {
    length = options_.byte_level ? 1 : utf8_length(word[i]);
    const std::string_view symbol = word.substr(i, length);
    const auto byte = [](char c) { return static_cast<unsigned char>(c); };
    const int32_t id = length == 1 ? byte_ids_[byte(symbol[0])] : vocabulary_->find(symbol).value_or(-1);
    const auto has_fallback = [&](char c) { return fallback_ids_[byte(c)] >= 0; };
    bool unknown = false;
    if (id >= 0) {
      append(id);
    } else if (options_.byte_fallback && std::all_of(symbol.begin(), symbol.end(), has_fallback)) {
      for (const char c : symbol) append(fallback_ids_[byte(c)]);
    } else if (options_.unknown) {
      unknown = true;
      if (!after_unknown || !options_.fuse_unknown) append(*options_.unknown);
    }
    after_unknown = unknown;
  }
}

void Bpe::merge(std::vector<Symbol>& symbols, std::vector<Candidate>& heap) const {
  const auto last = [](const Candidate& a, const Candidate& b) { return a.order > b.order; };
  const auto symbol = [&](int32_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  // Whether `left` and its right neighbour merge: then a candidate is at the back of the heap's storage.
  const auto propose = [&](int32_t left) {
    if (left < 0 || symbol(left).next < 0) return false;
    const int32_t left_id = symbol(left).id, right_id = symbol(symbol(left).next).id;
    const int32_t rank = merges_.find(left_id, right_id).rank;
    if (rank >= 0)
      heap.push_back({static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(left), left_id, right_id});
    return rank >= 0;
  };

  heap.clear();
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); i++) propose(i);
  std::make_heap(heap.begin(), heap.end(), last);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), last);
    const Candidate best = heap.back();
    heap.pop_back();
    const auto position = static_cast<int32_t>(best.order);
    Symbol& left = symbol(position);
    // A neighbour may have been merged away since the pair was proposed.
    if (left.id != best.left || left.next < 0 || symbol(left.next).id != best.right) continue;
    Symbol& right = symbol(left.next);
    left.id = merges_.find(best.left, best.right).result;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbol(left.next).previous = position;
    if (propose(left.previous)) std::push_heap(heap.begin(), heap.end(), last);
    if (propose(position)) std::push_heap(heap.begin(), heap.end(), last);
  }
}

}  // namespace whittle
