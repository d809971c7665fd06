// The forward direction of one unit.
#pragma once

#include "scan.hpp"

template <class C> class Forward : Shape<C> {
    using Z = Shape<C>;
    using Z::G, Z::K, Z::M, Z::N, Z::P, Z::R, Z::WIDTH;
    static const Table<BY_ROW, BIAS> table;

    const Scan& s;
    const Unit u;
    const C cell;
    const long H, RH, NH, count, depth;  // count: panels a block; depth: rows of a panel
    const bool streams;  // what is kept goes past the caches: it is read again after the whole sequence
    const bool near;     // then, or where nothing is kept, this step's state and the next lie in the workspace
    const long lds;      // stride of the rows of states
    float *packed, *bias, *a, *p, *now[2];

    static constexpr long LARGE = 4l << 20;  // floats: less than this stays in a cache until the backward reads it
    static bool aligned(const float* to) { return reinterpret_cast<uintptr_t>(to) % (4 * VL) == 0; }
    static long depth_of(const Scan& s) { return Z::R * s.H + (s.V ? s.I : 0); }

  public:
    static size_t floats(const Scan& s, long rows) {
        const long count = panels(s.H), depth = depth_of(s);
        return Workspace::padded(WIDTH * count * depth * PANEL) + Workspace::padded(WIDTH * count * PANEL) +
               WIDTH * ROWS * PANEL + P * Workspace::padded(count * PANEL) + 2 * rows * odd_lines(Z::N * s.H);
    }

    Forward(const Scan& s, const Unit& u, Workspace& w)
        : s(s), u(u), cell(s.constants), H(s.H), RH(R * s.H), NH(N * s.H), count(panels(s.H)), depth(depth_of(s)),
          streams(s.keep && H % VL == 0 && aligned(s.saved) && aligned(s.states) &&
                  s.T * s.S * s.B * (N + K) * H > LARGE),
          near(streams || !s.keep), lds(near ? odd_lines(NH) : NH) {
        packed = w.take(WIDTH * count * depth * PANEL);
        bias = w.take(WIDTH * count * PANEL);
        a = w.take(WIDTH * ROWS * PANEL);
        p = w.take(P * count * PANEL);
        for (float*& buffer : now) buffer = w.take(u.rows * lds);
        std::fill(bias, bias + WIDTH * count * PANEL, 0.0f);
        for (int q = 0; q < WIDTH; ++q) {
            float* to = packed + q * count * depth * PANEL;
            if (M && Z::is_product(q)) {
                const long row = q - Z::FIRST_M;
                pack(to, depth, 0, s.W + (u.seed * M * H + row * H) * RH, 1, RH, RH, H);
            }
            if (q >= G) continue;
            if (s.V) pack(to, depth, product(q), s.V + (u.seed * G * H + q * H) * s.I, 1, s.I, s.I, H);
            if (s.b) std::copy_n(s.b + u.seed * G * H + q * H, H, bias + q * count * PANEL);
        }
        for (int i = 0; i < P; ++i) {
            std::fill_n(p + i * count * PANEL, count * PANEL, 0.0f);
            std::copy_n(s.p + (u.seed * P + i) * H, H, p + i * count * PANEL);
        }
    }

    void run() {
        const long mine = (u.seed * s.B + u.first) * NH;
        for (long b = 0; b < u.rows; ++b) {
            if (near) std::copy_n(s.s0 + mine + b * NH, NH, now[0] + b * lds);
            if (s.keep) std::copy_n(s.s0 + mine + b * NH, NH, kept(0) + b * NH);
        }
        for (long t = 0; t < s.T; ++t)
            for (long j = 0; j < count; ++j)
                each_tile(u.rows, [&](long first, long rows) { one(t, j, first, rows); });
        for (long b = 0; b < u.rows; ++b) std::copy_n(state_at(s.T) + b * lds, NH, s.final + mine + b * NH);
        if (streams) end_streams();
    }

  private:
    float* kept(long t) const { return s.states + ((t * s.S + u.seed) * s.B + u.first) * NH; }
    float* state_at(long t) const { return near ? now[t % 2] : kept(t); }
    long product(int q) const { return M && Z::is_product(q) ? RH : 0; }

    // Step t of the columns of panel j, of a few rows.
    void one(long t, long j, long first, long rows) {
        const float* state = state_at(t) + first * lds;
        float* next = state_at(t + 1) + first * lds;
        float* far = streams ? kept(t + 1) + first * NH : nullptr;
        const long columns = std::min<long>(PANEL, H - j * PANEL);
        const Tile go = table.at(rows, columns);
        const float* x = s.x + t * s.x_t + u.seed * s.x_s + (u.first + first) * s.x_b;
        for (int q = 0; q < WIDTH; ++q) {
            Segment segments[2];
            int n = 0;
            if (M && Z::is_product(q)) segments[n++] = {state, lds, RH};
            if (q < G && s.V) segments[n++] = {x, s.x_b, s.I};
            const long at = q * count + j;
            go(segments, n, packed + at * depth * PANEL, bias + at * PANEL, a + q * ROWS * PANEL, PANEL);
        }
        const long here = (t * s.S + u.seed) * s.B + u.first + first;
        each_vector(columns, [&](auto full, long c, long n) {
            const long column = j * PANEL + c;
            vf vectors[some(P)];
            for (int i = 0; i < P; ++i) vectors[i] = load(p + i * count * PANEL + column);
            for (long r = 0; r < rows; ++r)
                point<full.value>(r, c, column, n, x + r * s.x_b, state + r * lds, next + r * lds,
                                  far ? far + r * NH : nullptr, s.saved + (here + r) * K * H,
                                  s.h + (here + r) * H, vectors);
        });
    }

    template <bool FULL>
    INLINE void point(long r, long c, long column, long n, const float* x, const float* state, float* next,
                      float* far, float* saved, float* h, const vf* vectors) {
        vf pre[WIDTH], old[N], out[N];
        for (int q = 0; q < WIDTH; ++q) pre[q] = load(a + (q * ROWS + r) * PANEL + c);
        if (!s.V)
            for (int q = 0; q < G; ++q) pre[q] += fetch<FULL>(x + q * H + column, n);
        for (int i = 0; i < N; ++i) old[i] = fetch<FULL>(state + i * H + column, n);
        cell.forward(pre, old, out, vectors);
        for (int i = 0; i < N; ++i) put<FULL>(next + i * H + column, out[i], n);
        if (!s.keep) return put<FULL>(h + column, out[0], n);
        if (!FULL || !streams) {
            for (int i = 0; i < K; ++i) put<FULL>(saved + i * H + column, pre[i], n);
            return;
        }
        for (int i = 0; i < K; ++i) stream(saved + i * H + column, pre[i]);
        for (int i = 0; i < N; ++i) stream(far + i * H + column, out[i]);
    }
};

template <class C> const Table<BY_ROW, BIAS> Forward<C>::table;
