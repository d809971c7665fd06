// What the library and its caller share, and what the two directions of a scan share.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

#include "gemm.hpp"

extern "C" {
// One scan. Shapes as in models/scan/cell.py; everything is float32 and contiguous unless strides are given.
struct Scan {
    int64_t T, S, B, I, H;
    int64_t threads, parts;        // parts: shards of the batch, a seed; seeds * parts units of work
    int64_t keep;                  // forward: 1 keeps states (T+1,S,B,N*H) and saved (T,S,B,SAVED*H)
    int64_t poison;                // tests: 1 fills workspaces with NaN first
    int64_t x_t, x_s, x_b;         // strides of x (T,S,B,I), the last being 1
    int64_t gh_t, gh_s, gh_b;      // strides of g_h (T,S,B,H), the last being 1
    const float *x, *V, *b, *W, *p, *s0, *constants;  // V, b, W, p may be null
    float *states, *saved, *h, *final;  // without keep: h (T,S,B,H) is written instead
    const float *g_h, *g_final;         // backward; either may be null
    float *grad_x;                      // (T,S,B,I)
    float *grad_V, *grad_b, *grad_W, *grad_p;  // a leading axis of parts, then S
    float *grad_s0;                     // (S,B,N*H)
    double *profile;                    // (parts,S,N,T): sums of squares
    void (*team)(void (*)(void*), void*, unsigned, unsigned);  // GOMP_parallel of torch's OpenMP, or null
};
}

// A block of memory that is used again: page faults on fresh memory cost more than the products of a small scan.
class Workspace {
    float* memory = nullptr;
    size_t size = 0, used = 0;

  public:
    ~Workspace() { std::free(memory); }
    void reserve(size_t floats, bool poison) {
        if (floats > size) {
            std::free(memory);
            memory = nullptr;
            size = 0;
            const size_t bytes = (floats * sizeof(float) + 63) / 64 * 64;
            memory = static_cast<float*>(std::aligned_alloc(64, bytes));
            if (memory == nullptr) throw std::bad_alloc();
            size = floats;
        }
        used = 0;
        if (poison) std::fill(memory, memory + floats, std::numeric_limits<float>::quiet_NaN());
    }
    float* take(size_t floats) {
        float* here = memory + used;
        used += padded(floats);
        return here;
    }
    static size_t padded(size_t floats) { return (floats + 15) / 16 * 16; }
};

// Workspaces at rest; at most as many as units ever ran at once.
class Pool {
    std::mutex mutex;
    std::vector<Workspace*> idle;

  public:
    Workspace* acquire() {
        std::lock_guard<std::mutex> lock(mutex);
        if (idle.empty()) return new Workspace();
        Workspace* last = idle.back();
        idle.pop_back();
        return last;
    }
    void release(Workspace* workspace) {
        std::lock_guard<std::mutex> lock(mutex);
        idle.push_back(workspace);
    }
};

// Brings memory near the processor in equal shares, one at each call of some().
class Ahead {
    const char *at, *end;
    long share;

  public:
    Ahead(const float* from, long floats, long calls)
        : at(reinterpret_cast<const char*>(from)), end(from ? at + floats * sizeof(float) : at),
          share((floats * sizeof(float) / calls + 63) / 64 * 64) {}
    INLINE void some() {
        const char* const stop = std::min(end, at + share);
        for (; at < stop; at += 64) __builtin_prefetch(at, 0, 2);
    }
};

struct Unit {  // the rows [first, first + rows) of one seed
    long seed, part, first, rows;
};

template <class C> struct Shape {
    static constexpr int N = C::STATES, R = C::RECURRENT, G = C::INPUTS, M = C::PRODUCTS, P = C::PARAMS;
    static constexpr int K = C::SAVED, WIDTH = C::ADD ? G : G + M;
    static constexpr int FIRST_M = C::ADD ? 0 : G;  // the first block of a that the product adds to
    static_assert(!C::ADD || M == 0 || G == M, "add: as many products as inputs");
    static constexpr bool is_product(int q) { return q >= FIRST_M && q < FIRST_M + M; }
};

// A stride of rows, in floats: an odd number of cache lines, so that rows fall on different sets of a cache.
static INLINE long odd_lines(long floats) { return (floats + 15) / 16 * 16 | 16; }

constexpr int some(int n) { return n > 0 ? n : 1; }  // an array's length, which may not be 0

// f(column, lanes) for the columns [0, count): whole vectors with FULL = true, the rest with FULL = false.
template <class F> static INLINE void each_vector(long count, F f) {
    long j = 0;
    for (; j + VL <= count; j += VL) f(std::true_type{}, j, (long)VL);
    if (j < count) f(std::false_type{}, j, count - j);
}
