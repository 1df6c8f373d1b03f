#pragma once
// Fields of config.json that are unknown to us and that the user vouches for.

#include <functional>
#include <set>
#include <string>

namespace whittle {

// For every model that this process opens from now on: a field of this name that no list of ours knows does
// not change the computation. Not for fields that are known to change it. To be called before threads open
// models.
void allow_field(const std::string& name);
const std::set<std::string, std::less<>>& allowed_fields();

}  // namespace whittle
