#pragma once
// A task: questions with known answers, as plain data.

#include <cstdint>
#include <string>
#include <vector>

namespace whittle {

// What counts as a model's answer.
enum class Scoring : uint8_t {
  choices,      // the choice that is likeliest after the context
  last_word,    // the word that greedy decoding gives (LAMBADA)
  exact_match,  // the line of text that greedy decoding gives
};

// What a task reports beside its accuracy.
enum class ClassMetric : uint8_t { none, f1, matthews };

struct TaskItem {
  int64_t line = 0;  // of the file, from 1: what names the item
  std::string context;
  // Between the context and its continuation stands a space. Of last_word and exact_match: the answer alone.
  std::vector<std::string> choices;
  int64_t answer = 0;  // which choice is right
};

struct Task {
  std::string name;    // "SST-2", or the name of the file
  std::string file;    // as it was given
  std::string format;  // "multiple choice", "classification", "exact match", "LAMBADA" or "GLUE"
  Scoring scoring = Scoring::choices;
  ClassMetric metric = ClassMetric::none;
  std::vector<TaskItem> items;
};

}  // namespace whittle
