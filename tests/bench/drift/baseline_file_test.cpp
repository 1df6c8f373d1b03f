#include "bench/drift/baseline_file.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "bench/drift/baseline_writer.h"
#include "bench/drift/drift_set.h"
#include "tests/support/two_models.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

constexpr int64_t vocabulary = 32;

// Two texts, what a baseline predicts of them, stored, and a model to judge.
struct StoredModels : TwoModels {
  Team team{1};
  Tokenizer tokenizer = Tokenizer::open(baseline);
  std::vector<DriftText> texts = {text_to_score("one", letters(50), tokenizer, 8, "windows", 0),
                                  text_to_score("two", letters(21), tokenizer, 8, "strided", 3)};

  fs::path save(int64_t top) const {
    const fs::path file = folder.path() / fmt::format("baseline-{}", top);
    save_baseline(file, baseline, team, texts, {top, "test", tokenizer_hash(tokenizer)}, {});
    return file;
  }
  std::vector<DriftReport> beside() const {
    return measure_drift_set({.models = {model}, .baseline = baseline, .texts = texts}, team, {})[0].texts;
  }
  ModelDrift stored(const fs::path& file) const {
    DriftSet set{.models = {model}, .stored = std::make_shared<BaselineFile>(file)};
    set.texts.assign(set.stored->texts().begin(), set.stored->texts().end());
    return measure_drift_set(set, team, {})[0];
  }
};

// A stored baseline taken apart with code of the tests' own, to be put together again with something changed.
struct TakenApart {
  nlohmann::json header;
  std::string buffer;

  explicit TakenApart(const fs::path& file) {
    const std::string bytes = read_text(file);
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    header = nlohmann::json::parse(bytes.substr(8, length));
    buffer = bytes.substr(8 + length);
  }
  nlohmann::json fields() const {
    return nlohmann::json::parse(header["__metadata__"]["whittle.baseline"].get<std::string>());
  }
  void set_fields(const nlohmann::json& fields) {
    header["__metadata__"]["whittle.baseline"] = fields.dump();
  }
  template <class T>
  void set(const std::string& tensor, size_t index, T value) {
    const size_t begin = header.at(tensor)["data_offsets"][0];
    std::memcpy(buffer.data() + begin + index * sizeof value, &value, sizeof value);
  }
  void write(const fs::path& file) const { write_text(file, safetensors_bytes(header.dump(), buffer)); }
};

}  // namespace

TEST_CASE("A stored baseline judges as one that runs beside, within the bounds that it gives") {
  const StoredModels models;
  const std::vector<DriftReport> beside = models.beside();
  for (const int64_t top : {int64_t{0}, int64_t{1}, int64_t{5}, vocabulary - 1, vocabulary, 2 * vocabulary}) {
    INFO("top " << top);
    const fs::path file = models.save(top);
    const ModelDrift found = models.stored(file);
    for (size_t t = 0; t < beside.size(); ++t) {
      const DriftReport &exact = beside[t], &stored = found.texts[t];
      REQUIRE(stored.kl_exact.has_value());
      CHECK_FALSE(exact.kl_exact.has_value());
      CHECK(stored.kl_exact->low <= exact.kl.mean);
      CHECK(exact.kl.mean <= stored.kl_exact->high);
      CHECK(stored.kl_exact->low <= stored.kl.mean);
      CHECK(stored.kl.mean <= stored.kl_exact->high);
      if (top == 0) CHECK(stored.storage_error() < 1e-3 * exact.kl.mean + 1e-6);
      CHECK(stored.baseline_window_nll == exact.baseline_window_nll);
      CHECK(stored.model_window_nll == exact.model_window_nll);
      CHECK(stored.same_top == exact.same_top);
      CHECK(stored.bytes_scored == exact.bytes_scored);
      CHECK(stored.tokens_scored == exact.tokens_scored);
    }
    const int64_t header = static_cast<int64_t>(TakenApart(file).header.dump().size()) + 64;
    CHECK(std::abs(static_cast<int64_t>(fs::file_size(file)) -
                   baseline_bytes(models.texts, vocabulary, top)) < header);
  }
}

TEST_CASE("The bounds of a stored baseline move a gate's interval, not its mean") {
  DriftReport report;
  report.kl = {0.5, 0.4, 0.6};
  CHECK(report.kl_for_gate().high == 0.6);
  report.kl_exact = Interval{0.5, 0.45, 0.7};
  CHECK(report.kl_for_gate().mean == 0.5);
  CHECK(report.kl_for_gate().low == Approx(0.35));
  CHECK(report.kl_for_gate().high == Approx(0.8));
  CHECK(report.storage_error() == Approx(0.2));
}

TEST_CASE("A stored baseline is the same for any number of threads, and says what it is of") {
  const StoredModels models;
  const std::string one = read_text(models.save(5));
  const Team two(2);
  const fs::path file = models.folder.path() / "two-threads";
  save_baseline(file, models.baseline, two, models.texts, {5, "test", tokenizer_hash(models.tokenizer)}, {});
  CHECK(read_text(file) == one);
  const BaselineFile opened(file);
  CHECK(opened.baseline()["name"] == "baseline");
  CHECK(opened.texts()[1].name == "two");
  CHECK(opened.texts()[1].windows.protocol == "strided by 3");
  for (size_t t = 0; t < 2; ++t) CHECK(opened.texts()[t].windows.ids == models.texts[t].windows.ids);
}

TEST_CASE("A file that exists is not written over, and a save that fails leaves nothing") {
  const StoredModels models;
  const fs::path file = models.folder.path() / "kept";
  write_text(file, "kept");
  const auto entries = [&] { return std::distance(fs::directory_iterator(models.folder.path()), {}); };
  const auto before = entries();
  const auto save = [&](const fs::path& path, const BaselineProgress& progress) {
    save_baseline(path, models.baseline, models.team, models.texts, {}, progress);
  };
  CHECK_THROWS_WITH(save(file, {}), Catch::Contains("exists already"));
  CHECK(read_text(file) == "kept");
  CHECK_THROWS_WITH(save(models.folder.path() / "no" / "folder", {}), Catch::Contains("no"));
  CHECK_THROWS_WITH(save(models.folder.path() / "new", [](int64_t, int64_t) { throw Error("stopped"); }),
                    Catch::Contains("stopped"));
  CHECK(entries() == before);
}

TEST_CASE("A model of another vocabulary or tokenizer, and another text, are refused by the field's name") {
  const StoredModels models;
  const BaselineFile file(models.save(5));
  const ModelSpec spec = read_model_spec(ModelFile(models.model));
  CHECK_NOTHROW(file.check_model(models.model, spec));
  ModelSpec larger = spec;
  larger.vocab_size = 33;
  CHECK_THROWS_WITH(file.check_model(models.model, larger), Catch::Contains("\"vocab_size\""));
  CHECK_NOTHROW(file.check_text(0, "again", letters(50)));
  CHECK_THROWS_WITH(file.check_text(0, "other", letters(51)), Catch::Contains("\"hash\""));
  std::vector<std::string> tokens;
  for (char c = 'A'; c <= 'Z'; ++c) tokens.emplace_back(1, c);
  write_text(models.model / "tokenizer.json", bpe_tokenizer(tokens).dump());
  CHECK_THROWS_WITH(file.check_model(models.model, spec), Catch::Contains("\"tokenizer\""));
  // A tokenizer in another spelling is the same one.
  write_text(models.model / "tokenizer.json",
             nlohmann::json::parse(read_text(models.baseline / "tokenizer.json")).dump(4));
  CHECK_NOTHROW(file.check_model(models.model, spec));
}

TEST_CASE("Stored baselines that cannot be are refused, naming file and tensor or field") {
  const StoredModels models;
  const TakenApart good(models.save(5));
  const fs::path file = models.folder.path() / "hostile";
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  using Change = std::function<void(TakenApart&)>;
  const auto field = [](const char* name, const nlohmann::json& content) -> Change {
    return [=](TakenApart& parts) {
      nlohmann::json fields = parts.fields();
      fields[name] = content;
      parts.set_fields(fields);
    };
  };
  const auto value = [](const char* tensor, size_t index, auto found) -> Change {
    return [=](TakenApart& parts) { parts.set(tensor, index, found); };
  };
  const std::vector<std::pair<std::string, Change>> changes = {
      {"whittle.baseline", [](TakenApart& parts) { parts.header.erase("__metadata__"); }},
      {"whittle.baseline", [](TakenApart& parts) { parts.header["__metadata__"]["whittle.baseline"] = "{"; }},
      {"whittle.baseline",
       [](TakenApart& parts) { parts.header["__metadata__"]["whittle.baseline"] = "[]"; }},
      {"version", field("version", 2)},
      {"vocab_size", field("vocab_size", 0)},
      {"of the vocabulary", field("vocab_size", 20)},
      {"top", field("top", 33)},
      {"0.codes", field("top", 6)},
      {"0.codes", field("top", 32)},
      {"texts", field("texts", nlohmann::json::array())},
      {"text 0", field("texts", nlohmann::json::array({1}))},
      {"tensors", field("texts", nlohmann::json::array({good.fields()["texts"][0]}))},
      {"tokenizer", field("tokenizer", 7)},
      {"baseline", field("baseline", "name")},
      {"0.lengths", value("0.lengths", 0, int32_t{-1})},
      {"0.lengths", value("0.lengths", 0, int32_t{1})},
      {"0.lengths", value("0.lengths", 0, int32_t{1} << 30)},
      {"0.ids", value("0.lengths", 5, int32_t{7})},
      {"0.ids", value("0.ids", 3, int32_t{32})},
      {"0.ids", value("0.ids", 3, int32_t{-1})},
      {"0.first_scored", value("0.first_scored", 1, int32_t{0})},
      {"0.first_scored", value("0.first_scored", 1, int32_t{8})},
      {"0.codes", value("0.first_scored", 1, int32_t{2})},
      {"0.scale", value("0.scale", 2, static_cast<float>(nan))},
      {"0.scale", value("0.scale", 2, -1.0f)},
      {"0.rest", value("0.rest", 2, nan)},
      {"0.rest", value("0.rest", 2, 1.5)},
      {"0.rest", value("0.rest", 2, -0.5)},
      {"0.target", value("0.target", 2, 0.25)},
      {"0.target", value("0.target", 2, nan)},
      {"0.top", value("0.top", 2, int32_t{32})},
      // What is looked at when a model is judged.
      {"indices", value("0.indices", 11, int32_t{-1})},
      {"indices", value("0.indices", 11, int32_t{32})},
      {"twice",
       [](TakenApart& parts) {
         parts.set("0.indices", 11, int32_t{4}), parts.set("0.indices", 12, int32_t{4});
       }},
      {"codes", value("0.codes", 11, uint16_t{0})},
      {"codes", value("0.scale", 2, 500.0f)},
      {"scale", value("0.scale", 2, 1e30f)},
      {"rest", value("0.rest", 2, 0.999)},
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    const auto& [named, change] = changes[i];
    TakenApart parts = good;
    change(parts);
    parts.write(file);
    INFO("change " << i << ": " << named);
    try {
      models.stored(file);
      FAIL_CHECK("it was believed");
    } catch (const Error& error) {
      const std::string message = error.what();
      INFO(message);
      CHECK(message.size() < 600);
      CHECK_THAT(message, Catch::Contains("hostile") && Catch::Contains(named));
    }
  }
  const std::string bytes = read_text(models.folder.path() / "baseline-5");
  for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 40) {
    write_text(file, bytes.substr(0, size));
    CHECK_THROWS_WITH(BaselineFile(file), Catch::Contains("hostile"));
  }
}
