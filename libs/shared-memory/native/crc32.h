// CRC-32 (that of zlib, reflected polynomial 0xedb88320) by carry-less multiplication, 256 bytes at a
// time where the processor has VPCLMULQDQ. After V. Gopal et al., "Fast CRC Computation for Generic
// Polynomials Using PCLMULQDQ Instruction", Intel 2009.
//
// Folding: with the stream's bits as a polynomial, A(x) * x^n + B(x) has the remainder of
// (A mod P times x^n mod P) + B; a constant is x^n mod P, bit-reflected. The 128 bits that are left are
// finished by a table.

#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>

namespace crc32 {

constexpr uint32_t polynomial = 0xedb88320u;

struct Tables {
  uint32_t byte[256];
  // Pairs of x^(n+32), x^(n-32) mod P for a fold over n bits, as the reflected multiplication wants them.
  uint64_t over2048[2], over512[2], over128[2];
};

// x^n mod P, reflected, shifted by one for the reflected product.
inline uint64_t power(unsigned n) {
  uint32_t value = 0x80000000u;  // x^0
  for (unsigned i = 0; i < n; i++) value = (value >> 1) ^ (value & 1 ? polynomial : 0);
  return static_cast<uint64_t>(value) << 1;
}

inline Tables build() {
  Tables tables;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? polynomial : 0);
    tables.byte[i] = value;
  }
  auto pair = [](uint64_t* out, unsigned bits) {
    out[0] = power(bits + 32);
    out[1] = power(bits - 32);
  };
  pair(tables.over2048, 2048);
  pair(tables.over512, 512);
  pair(tables.over128, 128);
  return tables;
}

inline const Tables& tables() {
  static const Tables built = build();
  return built;
}

inline uint32_t byBytes(const uint8_t* data, size_t size, uint32_t crc) {
  const uint32_t* table = tables().byte;
  for (size_t i = 0; i < size; i++) crc = (crc >> 8) ^ table[(crc ^ data[i]) & 255];
  return crc;
}

inline bool isFast() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("pclmul");
}

#define COXSWAIN_WIDE __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.1")))

COXSWAIN_WIDE static inline __m512i fold(__m512i sum, __m512i by, __m512i next) {
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, by, 0x00), _mm512_clmulepi64_epi128(sum, by, 0x11), next, 0x96);
}

COXSWAIN_WIDE static inline __m128i fold(__m128i sum, __m128i by, __m128i next) {
  return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(sum, by, 0x00), _mm_clmulepi64_si128(sum, by, 0x11)), next);
}

// `size` is at least 256.
COXSWAIN_WIDE inline uint32_t byFolding(const uint8_t* data, size_t size, uint32_t crc) {
  const Tables& t = tables();
  auto load = [](const uint8_t* from) COXSWAIN_WIDE { return _mm512_loadu_si512(from); };
  auto pair = [](const uint64_t* of) COXSWAIN_WIDE { return _mm_set_epi64x(of[1], of[0]); };
  __m512i a = _mm512_xor_si512(load(data), _mm512_zextsi128_si512(_mm_cvtsi32_si128(crc)));
  __m512i b = load(data + 64), c = load(data + 128), d = load(data + 192);
  data += 256;
  size -= 256;
  __m512i by = _mm512_broadcast_i32x4(pair(t.over2048));
  for (; size >= 256; data += 256, size -= 256) {
    a = fold(a, by, load(data));
    b = fold(b, by, load(data + 64));
    c = fold(c, by, load(data + 128));
    d = fold(d, by, load(data + 192));
  }
  by = _mm512_broadcast_i32x4(pair(t.over512));
  a = fold(a, by, b);
  a = fold(a, by, c);
  a = fold(a, by, d);
  for (; size >= 64; data += 64, size -= 64) a = fold(a, by, load(data));
  __m128i one = pair(t.over128);
  __m128i sum = _mm512_extracti32x4_epi32(a, 0);
  sum = fold(sum, one, _mm512_extracti32x4_epi32(a, 1));
  sum = fold(sum, one, _mm512_extracti32x4_epi32(a, 2));
  sum = fold(sum, one, _mm512_extracti32x4_epi32(a, 3));
  for (; size >= 16; data += 16, size -= 16) sum = fold(sum, one, _mm_loadu_si128(reinterpret_cast<const __m128i*>(data)));
  alignas(16) uint8_t rest[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(rest), sum);
  return byBytes(data, size, byBytes(rest, 16, 0));
}

inline uint32_t of(const uint8_t* data, size_t size, uint32_t before) {
  uint32_t crc = ~before;
  return ~(size >= 256 ? byFolding(data, size, crc) : byBytes(data, size, crc));
}

}  // namespace crc32

#else

namespace crc32 {
inline bool isFast() { return false; }
inline uint32_t of(const uint8_t*, size_t, uint32_t) { return 0; }
}  // namespace crc32

#endif
