// Vectors of the processor's own width, through the compiler's vector extensions: no fast-math.
// tanh and sigmoid are good to a few units in the last place; NaN and infinity pass through them.
#pragma once

#include <cstdint>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
constexpr int VL = 16;
constexpr int ROWS = 12;  // rows of a register tile: ROWS * 2 accumulators, of 32 registers
#elif defined(__AVX__)
constexpr int VL = 8;
constexpr int ROWS = 6;  // 12 accumulators, of 16 registers
#else
constexpr int VL = 4;
#if defined(__aarch64__)
constexpr int ROWS = 12;
#else
constexpr int ROWS = 6;
#endif
#endif
constexpr int PANEL = 2 * VL;  // columns of a register tile

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef float vf_any __attribute__((vector_size(VL * 4), aligned(4), may_alias));

static INLINE vf load(const float* from) { return *reinterpret_cast<const vf_any*>(from); }
static INLINE void store(float* to, vf value) { *reinterpret_cast<vf_any*>(to) = value; }
static INLINE vf splat(float value) { return value - vf{}; }  // x - 0 is x, for -0 and NaN too: a plain broadcast

// The first n lanes; the others are 0.
static INLINE vf load_some(const float* from, long n) {
    float lanes[VL] __attribute__((aligned(64))) = {};
    for (long i = 0; i < n; ++i) lanes[i] = from[i];
    return load(lanes);
}
static INLINE void store_some(float* to, vf value, long n) {
    float lanes[VL] __attribute__((aligned(64)));
    store(lanes, value);
    for (long i = 0; i < n; ++i) to[i] = lanes[i];
}
template <bool FULL> static INLINE vf fetch(const float* from, long n) {
    return FULL ? load(from) : load_some(from, n);
}
template <bool FULL> static INLINE void put(float* to, vf value, long n) {
    if (FULL) store(to, value);
    else store_some(to, value, n);
}

// A store past the caches, to an address that is a multiple of the vector's size; end_streams() orders such stores.
static INLINE void stream(float* to, vf value) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, (__m512)value);
#elif defined(__AVX__)
    _mm256_stream_ps(to, (__m256)value);
#else
    store(to, value);
#endif
}
static INLINE void end_streams() {
#if defined(__AVX__)
    _mm_sfence();
#endif
}

static INLINE vi bits(vf value) { return (vi)value; }
static INLINE vf real(vi value) { return (vf)value; }

// Splits e^y = scale * (1 + m): scale a power of two, m = e^r - 1 with |r| <= ln(2)/2. For |y| <= 88.
// The polynomial is a weighted least-squares (Lawson) fit of (e^r - 1 - r) / r^2, relative error 1.4e-8.
static INLINE void exponential(vf y, vf& scale, vf& m) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    vf shifted = y * 1.44269504f + magic;
    vf n = shifted - magic;
    vf r = y - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf q = 0.001394758466631174f * r + 0.008367239497601986f;
    q = q * r + 0.041666265577077866f;
    q = q * r + 0.16666537523269653f;
    q = q * r + 0.5f;
    m = q * (r * r) + r;
    scale = real((bits(shifted) << 23) + 0x3f800000);
}

static INLINE vf tanh_(vf x) {
    const vi sign = bits(x) & (int32_t)0x80000000;
    vf y = 2.0f * real(bits(x) ^ sign);
    y = y > 20.0f ? splat(20.0f) : y;  // NaN is not greater, and stays
    vf scale, m;
    exponential(y, scale, m);
    vf e = scale * m + (scale - 1.0f);  // e^y - 1, exact near 0
    return real(bits(e / (e + 2.0f)) | sign);
}

static INLINE vf sigmoid_(vf x) {
    vf y = x > 88.0f ? splat(-88.0f) : -x;
    y = y > 88.0f ? splat(88.0f) : y;
    vf scale, m;
    exponential(y, scale, m);
    return 1.0f / (scale * m + (scale + 1.0f));
}
