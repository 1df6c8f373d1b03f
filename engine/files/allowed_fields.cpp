#include "engine/files/allowed_fields.h"

namespace whittle {

static std::set<std::string, std::less<>> allowed;

void allow_field(const std::string& name) { allowed.insert(name); }

const std::set<std::string, std::less<>>& allowed_fields() { return allowed; }

}  // namespace whittle
