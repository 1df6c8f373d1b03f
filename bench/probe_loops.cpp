#include "bench/probe_loops.h"

#include "bench/cpu_features.h"

namespace whittle {

namespace {

// Fourteen accumulators cover the longest latency times the highest throughput of today's cores (4 cycles × 2
// a cycle and 6 × 2); two registers hold the operands. Sequences with a temporary add one cycle to a chain:
// seven are enough.
#define FOURTEEN ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13\n"
#define SEVEN ".irp r,0,1,2,3,4,5,6\n"
#define ALL_VECTOR_REGISTERS                                                                                 \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "xmm15"

// Operands with about as many bits set as real ones: multiplying zeros takes less power and could run faster.
// As floats they are near 1, and their sums never become denormal.
alignas(64) constexpr uint32_t left_operand[16] = {
    0x3f8d3f91, 0x3f5b3f77, 0x3f833f6d, 0x3f7a3f95, 0x3f8d3f11, 0x3f5b3f37, 0x3f833f2d, 0x3f7a3f55,
    0x3f2d3f91, 0x3f5b3f77, 0x3f833f6d, 0x3f7a3f95, 0x3f8d3f91, 0x3f5b3f77, 0x3f833f6d, 0x3f7a3f95};
alignas(64) constexpr uint32_t right_operand[16] = {
    0x3f67bf3d, 0xbf51bf88, 0x3f9abf61, 0xbf743f5e, 0x3f27bf3d, 0xbf11bf48, 0x3f5abf21, 0xbf343f1e,
    0x3f673f3d, 0xbf513f88, 0x3f9a3f61, 0xbf74bf5e, 0x3f67bf3d, 0xbf51bf88, 0x3f9abf61, 0xbf743f5e};
alignas(64) constexpr uint32_t int16_ones[8] = {0x10001, 0x10001, 0x10001, 0x10001,
                                                0x10001, 0x10001, 0x10001, 0x10001};

// Clears the accumulators, then runs `body` once for each of them, `iterations` times. (The assembler repeats
// what stands between .irp and .endr for every \r. %0 counts down; %1 and %2 are the operands.)
#define LOOP(name, extensions, move, registers, clear, accumulators, body, leave)                    \
  __attribute__((target(extensions))) void name(int64_t iterations) {                                \
    asm volatile(move " %1, %%" registers "14\n " move " %2, %%" registers "15\n" accumulators clear \
                      "\n .endr\n"                                                                   \
                      "1:\n" accumulators body                                                       \
                      "\n .endr\n"                                                                   \
                      "dec %0\n jnz 1b\n " leave                                                     \
                 : "+r"(iterations)                                                                  \
                 : "m"(left_operand), "m"(right_operand), "m"(int16_ones)                            \
                 : "cc", ALL_VECTOR_REGISTERS);                                                      \
  }
#define AVX512_LOOP(name, extensions, body)                                                        \
  LOOP(name, extensions, "vmovdqa64", "zmm", "vpxor %%xmm\\r, %%xmm\\r, %%xmm\\r", FOURTEEN, body, \
       "vzeroupper")
#define AVX_LOOP(name, extensions, accumulators, body)                                               \
  LOOP(name, extensions, "vmovdqa", "ymm", "vpxor %%xmm\\r, %%xmm\\r, %%xmm\\r", accumulators, body, \
       "vzeroupper")
#define SSE_LOOP(name, body) LOOP(name, "sse2", "movdqa", "xmm", "pxor %%xmm\\r, %%xmm\\r", SEVEN, body, "")

AVX512_LOOP(vpdpbusd_zmm, "avx512f,avx512vnni", "vpdpbusd %%zmm14, %%zmm15, %%zmm\\r")
AVX512_LOOP(vdpbf16ps_zmm, "avx512f,avx512bf16", "vdpbf16ps %%zmm14, %%zmm15, %%zmm\\r")
AVX512_LOOP(vfmadd_zmm, "avx512f", "vfmadd231ps %%zmm14, %%zmm15, %%zmm\\r")
AVX_LOOP(vpdpbusd_ymm, "avx2,avxvnni", FOURTEEN, "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm\\r")
AVX_LOOP(vpmaddubsw_ymm, "avx2", SEVEN,
         "vpmaddubsw %%ymm14, %%ymm15, %%ymm12\n vpmaddwd %3, %%ymm12, %%ymm12\n vpaddd %%ymm12, %%ymm\\r, "
         "%%ymm\\r")
AVX_LOOP(vpmaddwd_ymm, "avx2", SEVEN,
         "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n vpaddd %%ymm12, %%ymm\\r, %%ymm\\r")
AVX_LOOP(vfmadd_ymm, "avx2,fma", FOURTEEN, "vfmadd231ps %%ymm14, %%ymm15, %%ymm\\r")
SSE_LOOP(pmaddwd_xmm, "movdqa %%xmm14, %%xmm12\n pmaddwd %%xmm15, %%xmm12\n paddd %%xmm12, %%xmm\\r")
SSE_LOOP(mulps_xmm, "movaps %%xmm14, %%xmm12\n mulps %%xmm15, %%xmm12\n addps %%xmm12, %%xmm\\r")

constexpr ComputeLoop all_loops[] = {
    {Arithmetic::int8, 3, "avx512_vnni", "vpdpbusd (512-bit)", 14 * 128, vpdpbusd_zmm},
    {Arithmetic::int8, 2, "avx_vnni", "vpdpbusd (256-bit)", 14 * 64, vpdpbusd_ymm},
    {Arithmetic::int8, 1, "avx2", "vpmaddubsw + vpmaddwd + vpaddd (256-bit)", 7 * 64, vpmaddubsw_ymm},
    {Arithmetic::int8, 1, "avx2", "vpmaddwd + vpaddd (256-bit, int16)", 7 * 32, vpmaddwd_ymm},
    {Arithmetic::int8, 0, "", "pmaddwd + paddd (128-bit, int16)", 7 * 16, pmaddwd_xmm},
    {Arithmetic::bf16, 1, "avx512_bf16", "vdpbf16ps (512-bit)", 14 * 64, vdpbf16ps_zmm},
    {Arithmetic::fp32, 2, "avx512f", "vfmadd231ps (512-bit)", 14 * 32, vfmadd_zmm},
    {Arithmetic::fp32, 1, "fma", "vfmadd231ps (256-bit)", 14 * 16, vfmadd_ymm},
    {Arithmetic::fp32, 0, "", "mulps + addps (128-bit)", 7 * 8, mulps_xmm},
};

// Loads alone, whose results nobody waits for: 512 bytes an iteration. (%0 is the address, %1 the end.)

__attribute__((target("avx512f"))) void read_zmm(const std::byte* data, const std::byte* end) {
  asm volatile(
      "1:\n .irp r,0,1,2,3,4,5,6,7\n vmovdqa64 64*\\r(%0), %%zmm\\r\n .endr\n"
      "add $512, %0\n cmp %1, %0\n jb 1b\n vzeroupper"
      : "+r"(data)
      : "r"(end)
      : "cc", "memory", ALL_VECTOR_REGISTERS);
}

__attribute__((target("avx"))) void read_ymm(const std::byte* data, const std::byte* end) {
  asm volatile(
      "1:\n .irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqa 32*\\r(%0), %%ymm\\r\n .endr\n"
      "add $512, %0\n cmp %1, %0\n jb 1b\n vzeroupper"
      : "+r"(data)
      : "r"(end)
      : "cc", "memory", ALL_VECTOR_REGISTERS);
}

void read_xmm(const std::byte* data, const std::byte* end) {
  asm volatile(
      "1:\n .irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
      "movdqa 32*\\r(%0), %%xmm\\r\n movdqa 32*\\r+16(%0), %%xmm\\r\n .endr\n"
      "add $512, %0\n cmp %1, %0\n jb 1b"
      : "+r"(data)
      : "r"(end)
      : "cc", "memory", ALL_VECTOR_REGISTERS);
}

}  // namespace

std::vector<ComputeLoop> compute_loops(Arithmetic arithmetic) {
  std::vector<ComputeLoop> newest;
  for (const ComputeLoop& loop : all_loops) {
    if (loop.arithmetic != arithmetic || (!loop.extension.empty() && !cpu_has(loop.extension))) continue;
    if (newest.empty() || loop.generation == newest.front().generation) newest.push_back(loop);
  }
  return newest;
}

void read_memory(const std::byte* data, int64_t bytes) {
  static const auto widest = cpu_has("avx512f") ? read_zmm : cpu_has("avx") ? read_ymm : read_xmm;
  widest(data, data + bytes);
}

}  // namespace whittle
