#include "engine/files/open_options.h"

namespace whittle {

static std::set<std::string, std::less<>> allowed;
static bool float_inputs = false;

void allow_field(const std::string& name) { allowed.insert(name); }

const std::set<std::string, std::less<>>& allowed_fields() { return allowed; }

void keep_float_inputs() { float_inputs = true; }

bool float_inputs_kept() { return float_inputs; }

}  // namespace whittle
