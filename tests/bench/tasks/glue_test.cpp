#include "bench/tasks/glue.h"

#include <catch2/catch.hpp>

#include "bench/tasks/task_file.h"
#include "kernels/error.h"

using namespace whittle;

namespace {

// The first lines of each task's dev.tsv as GLUE lays it out, with other words: two items, the second with
// the last of the labels.
struct Sample {
  const char* task;
  const char* text;
  int64_t first, second;
  std::vector<std::string> in_prompt;
};
const std::vector<Sample> samples = {
    {"CoLA", "gj04\t1\t\tThe \"book sold.\ngj04\t0\t*\tSold book the.\n", 1, 0, {"The \"book sold."}},
    {"SST-2", "sentence\tlabel\na dull film \t0\na gem \t1\n", 0, 1, {"a dull film "}},
    {"MRPC",
     "\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n0\t1\t2\tA cat.\t\"A "
     "dog.\r\n1\t3\t4\tB.\tB.\r\n",
     0,
     1,
     {"A cat.", "\"A dog."}},
    {"QQP",
     "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tWho?\tWhen?\t0\n1\t3\t4\ta\tb\t1\n",
     0,
     1,
     {"Who?", "When?"}},
    {"MNLI",
     "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
     "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
     "0\t1\t1n\tfiction\t( )\t( )\t(R)\t(R)\tIt rains.\tIt is dry.\tcontradiction\tcontradiction\n"
     "1\t1\t1n\tfiction\t( )\t( )\t(R)\t(R)\tIt rains.\tIt is wet.\tneutral\tentailment\n",
     2,
     0,
     {"It rains.", "It is dry."}},
    {"QNLI",
     "index\tquestion\tsentence\tlabel\n0\tWhere?\tHere.\tentailment\n1\tWhere?\tNo.\tnot_entailment\n",
     0,
     1,
     {"Where?", "Here."}},
    {"RTE",
     "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tnot_entailment\n1\tC.\tD.\tentailment\n",
     1,
     0,
     {"A.", "B."}},
    {"WNLI", "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t1\n1\tC.\tD.\t0\n", 1, 0, {"A.", "B."}},
};

}  // namespace

TEST_CASE("Every task of GLUE is read by its own columns and labels") {
  CHECK(glue_tasks().size() == samples.size());
  for (const Sample& sample : samples) {
    INFO(sample.task);
    const GlueTask* task = find_glue_task(sample.task);
    REQUIRE(task);
    const Task read = parse_task(sample.text, {"dev.tsv", task});
    CHECK(read.name == sample.task);
    CHECK(read.metric == task->metric);
    REQUIRE(read.items.size() == 2);
    CHECK(read.items[0].answer == sample.first);
    CHECK(read.items[1].answer == sample.second);
    CHECK(read.items[0].line == (task->columns.empty() ? 2 : 1));
    CHECK(read.items[0].choices.size() == task->labels.size());
    for (const std::string& part : sample.in_prompt) CHECK_THAT(read.items[0].context, Catch::Contains(part));
    CHECK(read.items[0].context != read.items[1].context);
  }
  CHECK(find_glue_task("MRPC")->metric == ClassMetric::f1);
  CHECK(find_glue_task("QQP")->metric == ClassMetric::f1);
  CHECK(find_glue_task("CoLA")->metric == ClassMetric::matthews);
  CHECK(find_glue_task("cola2") == nullptr);
  CHECK(find_glue_task("") == nullptr);
}

TEST_CASE("A broken file of GLUE is one error with file, line and column") {
  const auto refused = [](const char* task, const std::string& text, const std::vector<std::string>& names) {
    INFO(text);
    try {
      parse_task(text, {"dev.tsv", find_glue_task(task)});
      FAIL_CHECK("it was read");
    } catch (const Error& error) {
      const std::string message = error.what();
      INFO(message);
      CHECK_THAT(message, Catch::StartsWith("dev.tsv"));
      for (const std::string& name : names) CHECK_THAT(message, Catch::Contains(name));
    }
  };
  refused("SST-2", "", {"no items"});
  refused("SST-2", "sentence\tlabel\n", {"no items"});
  refused("SST-2", "index\tsentence\n0\ta film\n", {"\"label\""});  // a test.tsv
  refused("SST-2", "sentence\tlabel\na film\n", {"line 2", "2 columns", "1"});
  refused("SST-2", "sentence\tlabel\n\na\t0\nb\t1\tc\n", {"line 4", "2 columns", "3"});
  refused("SST-2", "sentence\tlabel\na\t2\n", {"line 2", "\"label\"", "\"2\"", "0 or 1"});
  refused("SST-2", "sentence\tlabel\na\t\n", {"line 2", "\"label\""});
  refused("SST-2", "sentence\tlabel\n\xff\xfe\t0\n", {"UTF-8"});
  refused("MNLI", "sentence1\tsentence2\tgold_label\na\tb\t-\n", {"line 2", "entailment or neutral or"});
  refused("CoLA", "sentence\tlabel\na\t0\n", {"line 1", "4 columns", "2"});
  refused("RTE", "sentence1\tlabel\na\tentailment\n", {"sentence2"});
}
