#pragma once
// Values of a report by JSON pointer (RFC 6901): what is not there, or is of another type, is no error but
// nothing, as earlier builds did not write every key.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/statistics.h"

namespace whittle {

// null where there is nothing.
const nlohmann::json& value_at(const nlohmann::json& json, const std::string& pointer);
double number_at(const nlohmann::json& json, const std::string& pointer);  // NaN where there is none
// A string as it is, a number or a truth as text; "" where there is nothing.
std::string text_at(const nlohmann::json& json, const std::string& pointer);
// The numbers of an array, NaN for what is none; empty where there is no array.
std::vector<double> numbers_at(const nlohmann::json& json, const std::string& pointer);
// An array of two, with `mean`; its ends are NaN where there is none.
Interval interval_at(const nlohmann::json& json, const std::string& pointer, double mean);
// The elements of an array; an object is an array of itself.
std::vector<const nlohmann::json*> items_at(const nlohmann::json& json, const std::string& pointer);

}  // namespace whittle
