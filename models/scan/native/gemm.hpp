// Register tiles of matrix products: ROWS x PANEL accumulators, the right side packed in panels.
#pragma once

#include <algorithm>

#include "vector.hpp"

// A run of the inner dimension on the left side: rows of `a`, `count` columns.
struct Segment {
    const float* a;
    long stride;  // between the rows of the tile (ROW order) or between inner steps (INNER order)
    long count;
};

enum Order { BY_ROW, BY_INNER };  // BY_ROW: a[r * stride + k]; BY_INNER: a[k * stride + r]
enum Start { ZERO, BIAS, SUM };   // c = the product, row vector + product, c + product (added last: long sums stay exact)

template <int MR, int NV, Order ORDER, Start START>
static void tile(const Segment* segments, int count, const float* panel, const float* bias, float* c, long ldc) {
    vf acc[MR][NV];
    for (int r = 0; r < MR; ++r)
        for (int v = 0; v < NV; ++v)
            acc[r][v] = START == BIAS ? load(bias + v * VL) : vf{};
    for (int s = 0; s < count; ++s) {
        const long stride = segments[s].stride;
        const float* a = segments[s].a;
        const float* row[MR];
        for (int r = 0; r < MR; ++r) row[r] = a + r * (ORDER == BY_ROW ? stride : 1);
        const float* const end = panel + segments[s].count * PANEL;
        for (long k = 0; panel != end; panel += PANEL, ++k) {
            vf b[NV];
            for (int v = 0; v < NV; ++v) b[v] = load(panel + v * VL);
            for (int r = 0; r < MR; ++r) {
                vf x = splat(ORDER == BY_ROW ? row[r][k] : a[r]);
                asm("" : "+v"(x));  // one broadcast for all NV products, not one a product
                for (int v = 0; v < NV; ++v) acc[r][v] += x * b[v];
            }
            if (ORDER == BY_INNER) a += stride;
        }
    }
    for (int r = 0; r < MR; ++r)
        for (int v = 0; v < NV; ++v) {
            float* to = c + r * ldc + v * VL;
            store(to, START == SUM ? load(to) + acc[r][v] : acc[r][v]);
        }
}

using Tile = void (*)(const Segment*, int, const float*, const float*, float*, long);

template <Order ORDER, Start START, int MR = ROWS> struct Tiles {
    static void fill(Tile (*table)[2]) {
        table[MR][0] = tile<MR, 1, ORDER, START>;
        table[MR][1] = tile<MR, 2, ORDER, START>;
        Tiles<ORDER, START, MR - 1>::fill(table);
    }
};
template <Order ORDER, Start START> struct Tiles<ORDER, START, 0> {
    static void fill(Tile (*)[2]) {}
};

// table[rows][vectors - 1]
template <Order ORDER, Start START> struct Table {
    Tile entry[ROWS + 1][2];
    Table() { Tiles<ORDER, START>::fill(entry); }
    Tile at(long rows, long columns) const { return entry[rows][columns > VL]; }
};

// `total` rows in tiles of at most ROWS, as even as they can be: f(first, rows).
template <class F> static INLINE void each_tile(long total, F f) {
    const long tiles = (total + ROWS - 1) / ROWS;
    for (long i = 0, at = 0; i < tiles; ++i) {
        const long rows = total / tiles + (i < total % tiles);
        f(at, rows);
        at += rows;
    }
}

static INLINE long panels(long columns) { return (columns + PANEL - 1) / PANEL; }
static INLINE long round_up(long n, long to) { return (n + to - 1) / to * to; }

// Packs columns [0, columns) of the matrix right[k, j] = from[k * sk + j * sj] into panels of `depth` rows that lie
// `apart` rows from one another, starting at row `first`; missing columns are 0.
static void pack(float* to, long apart, long first, const float* from, long sk, long sj, long depth, long columns) {
    for (long p = 0; p < panels(columns); ++p) {
        float* panel = to + (p * apart + first) * PANEL;
        const long n = std::min<long>(PANEL, columns - p * PANEL);
        for (long k = 0; k < depth; ++k)
            for (long j = 0; j < PANEL; ++j)
                panel[k * PANEL + j] = j < n ? from[k * sk + (p * PANEL + j) * sj] : 0.0f;
    }
}
