#include "engine/files/code_layout.h"

#include "engine/files/awq.h"
#include "engine/files/compressed_tensors.h"
#include "engine/files/gptq.h"

namespace whittle {

namespace {

constexpr std::string_view compressed_parts[] = {"weight",       "weight_packed",     "weight_scale",
                                                 "weight_shape", "weight_zero_point", "weight_g_idx"};
constexpr std::string_view bitmask_parts[] = {"weight_bitmask", "weight_codes", "weight_scale",
                                              "weight_shape", "weight_zero_point"};
constexpr std::string_view gptq_parts[] = {"qweight", "qzeros", "scales", "g_idx"};
constexpr std::string_view awq_parts[] = {"qweight", "qzeros", "scales"};

// Indexed by the enumerator.
constexpr CodeLayoutInfo layouts[] = {
    {CodeLayout::native, compressed_parts, false, read_compressed_tensors},
    {CodeLayout::words, compressed_parts, false, read_compressed_tensors},
    {CodeLayout::gptq_v1, gptq_parts, true, read_gptq},
    {CodeLayout::gptqmodel_v1, gptq_parts, true, read_gptq},
    {CodeLayout::gptq_v2, gptq_parts, true, read_gptq},
    {CodeLayout::awq, awq_parts, true, read_awq},
    {CodeLayout::bitmask, bitmask_parts, false, read_compressed_tensors},
};

}  // namespace

const CodeLayoutInfo& info(CodeLayout layout) { return layouts[static_cast<size_t>(layout)]; }

}  // namespace whittle
