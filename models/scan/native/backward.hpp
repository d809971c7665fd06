// The backward direction of one unit: back-propagation through time, weight gradients over chunks of time.
#pragma once

#include "scan.hpp"

template <class C> class Backward : Shape<C> {
    using Z = Shape<C>;
    using Z::G, Z::K, Z::M, Z::N, Z::P, Z::R, Z::WIDTH;
    static constexpr long CHUNK = 240;  // rows of a weight gradient's product: a panel of them fits the first cache
    static const Table<BY_ROW, SUM> add;
    static const Table<BY_ROW, ZERO> set;
    static const Table<BY_INNER, SUM> outer;

    const Scan& s;
    const Unit u;
    const C cell;
    const long H, RH, NH, I, count, ldg;
    const long steps, depth;       // a chunk: time steps, and their rows
    const long left, ldl;          // rows of the weight gradient, transposed: states, inputs, one
    const bool weights;            // is any weight gradient wanted
    float *Wp, *Vp, *g, *ga, *rows_of, *sums, *p, *gp, *gx;
    double* total_p;

    static long chunk_steps(const Scan& s, long rows) { return std::max<long>(1, std::min<long>(s.T, CHUNK / rows)); }
    static long left_of(const Scan& s) { return Z::R * s.H + (s.V ? s.I : 0) + 1; }
    static size_t packed_V(const Scan& s) { return s.V && s.grad_x ? G * s.H * panels(s.I) * PANEL : 0; }

  public:
    static size_t floats(const Scan& s, long rows) {
        const long count = panels(s.H), depth = chunk_steps(s, rows) * rows;
        auto padded = Workspace::padded;
        return padded(M * s.H * Z::R * count * PANEL) + padded(packed_V(s)) +
               padded(rows * N * count * PANEL) + padded(WIDTH * count * depth * PANEL) +
               padded(depth * odd_lines(left_of(s))) + padded(left_of(s) * WIDTH * count * PANEL) +
               2 * padded(P * count * PANEL) + padded(2 * P * s.H) + padded(ROWS * PANEL);
    }

    Backward(const Scan& s, const Unit& u, Workspace& w)
        : s(s), u(u), cell(s.constants), H(s.H), RH(R * s.H), NH(N * s.H), I(s.I), count(panels(s.H)),
          ldg(N * count * PANEL), steps(chunk_steps(s, u.rows)), depth(steps * u.rows), left(left_of(s)),
          ldl(odd_lines(left)), weights(s.grad_V || s.grad_b || s.grad_W) {
        Wp = w.take(M * H * R * count * PANEL);
        Vp = w.take(packed_V(s));
        g = w.take(u.rows * ldg);
        ga = w.take(WIDTH * count * depth * PANEL);
        rows_of = w.take(depth * ldl);
        sums = w.take(left * WIDTH * count * PANEL);
        p = w.take(P * count * PANEL);
        gp = w.take(P * count * PANEL);
        total_p = reinterpret_cast<double*>(w.take(2 * P * H));
        gx = w.take(ROWS * PANEL);
        // a block of the state at a time: g's blocks are padded to whole panels, W's are not
        for (int r = 0; r < R && M; ++r)
            pack(Wp + r * count * M * H * PANEL, M * H, 0, s.W + u.seed * M * H * RH + r * H, RH, 1, M * H, H);
        if (s.grad_x && s.V) pack(Vp, G * H, 0, s.V + u.seed * G * H * I, I, 1, G * H, I);
        std::fill_n(sums, left * WIDTH * count * PANEL, 0.0f);
        std::fill_n(total_p, P * H, 0.0);
        std::fill_n(g, u.rows * ldg, 0.0f);
        for (int i = 0; i < P; ++i) {
            std::fill_n(p + i * count * PANEL, count * PANEL, 0.0f);
            std::copy_n(s.p + (u.seed * P + i) * H, H, p + i * count * PANEL);
        }
        if (s.g_final)
            for (long b = 0; b < u.rows; ++b)
                for (int i = 0; i < N; ++i)
                    std::copy_n(s.g_final + (u.seed * s.B + u.first + b) * NH + i * H, H, g_row(b, i));
    }

    void run() {
        for (long end = s.T; end > 0; end -= steps) {
            const long begin = std::max<long>(0, end - steps);
            for (long t = end - 1; t >= begin; --t) {
                const long at = (t - begin) * u.rows;  // the step's first row in the chunk
                if (s.profile) measure(t);
                points(t, at);
                if (weights) gather(t, at);
                if (M) spread(t, at);
                if (s.grad_x) inputs(t, at);
            }
            if (weights) accumulate((end - begin) * u.rows);
        }
        finish();
    }

  private:
    float* g_row(long b, int i) const { return g + b * ldg + i * count * PANEL; }
    float* ga_at(int q, long j, long row) const { return ga + ((q * count + j) * depth + row) * PANEL; }
    long row_of(long t, long b) const { return (t * s.S + u.seed) * s.B + u.first + b; }
    const float* gh(long t, long b) const {
        return s.g_h + t * s.gh_t + u.seed * s.gh_s + (u.first + b) * s.gh_b;
    }

    // The sums of squares of the total gradient of each state block.
    void measure(long t) {
        for (int i = 0; i < N; ++i) {
            double sum = 0;
            for (long b = 0; b < u.rows; ++b)
                for (long j = 0; j < H; ++j) {
                    const double value = g_row(b, i)[j] + (i == 0 && s.g_h ? gh(t, b)[j] : 0.0f);
                    sum += value * value;
                }
            s.profile[((u.part * s.S + u.seed) * N + i) * s.T + t] = sum;
        }
    }

    // The cell's own derivatives: g becomes the direct part of the previous step's gradient, ga is filled.
    void points(long t, long at) {
        if (P) std::fill_n(gp, P * count * PANEL, 0.0f);
        const float* state = s.states + row_of(t, 0) * NH;
        const float* next = state + s.S * s.B * NH;
        const float* saved = s.saved + row_of(t, 0) * K * H;
        each_vector(H, [&](auto full, long column, long n) {
            vf vectors[some(P)], sums_p[some(P)];
            for (int i = 0; i < P; ++i) vectors[i] = load(p + i * count * PANEL + column), sums_p[i] = vf{};
            for (long b = 0; b < u.rows; ++b)
                point<full.value>(column, n, b, at + b, state + b * NH, next + b * NH, saved + b * K * H,
                                  s.g_h ? gh(t, b) : nullptr, vectors, sums_p);
            for (int i = 0; i < P; ++i) store(gp + i * count * PANEL + column, sums_p[i]);
        });
        for (int i = 0; i < P; ++i)
            for (long j = 0; j < H; ++j) total_p[i * H + j] += gp[i * count * PANEL + j];
    }

    template <bool FULL>
    INLINE void point(long column, long n, long b, long row, const float* state, const float* next,
                      const float* saved, const float* g_h, const vf* vectors, vf* sums_p) {
        vf gs[N], kept[some(K)], old[N], out[N], pre[WIDTH];
        for (int i = 0; i < N; ++i) {
            gs[i] = load(g_row(b, i) + column);
            old[i] = fetch<FULL>(state + i * H + column, n);
            out[i] = fetch<FULL>(next + i * H + column, n);
        }
        for (int i = 0; i < K; ++i) kept[i] = fetch<FULL>(saved + i * H + column, n);
        if (g_h) gs[0] += fetch<FULL>(g_h + column, n);
        cell.backward(gs, kept, old, out, vectors, pre, sums_p);
        for (int i = 0; i < N; ++i) store(g_row(b, i) + column, gs[i]);
        for (int q = 0; q < WIDTH; ++q) store(ga_at(q, column / PANEL, row) + column % PANEL, pre[q]);
    }

    // The left side of the weight gradients: (state, x, 1), a row each.
    void gather(long t, long at) {
        for (long b = 0; b < u.rows; ++b) {
            float* to = rows_of + (at + b) * ldl;
            std::copy_n(s.states + row_of(t, b) * NH, RH, to);
            if (s.V) std::copy_n(s.x + t * s.x_t + u.seed * s.x_s + (u.first + b) * s.x_b, I, to + RH);
            to[left - 1] = 1.0f;
        }
    }

    // The columns of blocks [first, first + blocks) of ga as segments of an inner dimension.
    int segments_of(Segment* to, int first, int blocks, long row) const {
        int n = 0;
        for (int q = first; q < first + blocks; ++q)
            for (long j = 0; j < count; ++j)
                to[n++] = {ga_at(q, j, row), PANEL, std::min<long>(PANEL, H - j * PANEL)};
        return n;
    }

    // g[:, :RH] += grad_m @ W; meanwhile what step t - 1 will read comes near, a few lines a tile
    void spread(long t, long at) {
        std::vector<Segment>& list = scratch(M * count);
        const long tiles = R * count * ((u.rows + ROWS - 1) / ROWS);
        Ahead states(t ? s.states + row_of(t - 1, 0) * NH : nullptr, u.rows * NH, tiles);
        Ahead saved(t ? s.saved + row_of(t - 1, 0) * K * H : nullptr, u.rows * K * H, tiles);
        for (int i = 0; i < R; ++i)
            for (long j = 0; j < count; ++j)
                each_tile(u.rows, [&](long first, long rows) {
                    states.some();
                    saved.some();
                    const int n = segments_of(list.data(), Z::FIRST_M, M, at + first);
                    add.at(rows, std::min<long>(PANEL, H - j * PANEL))(
                        list.data(), n, Wp + (i * count + j) * M * H * PANEL, nullptr,
                        g_row(first, i) + j * PANEL, ldg);
                });
    }

    // grad_x = grad_u @ V, or grad_u itself
    void inputs(long t, long at) {
        std::vector<Segment>& list = scratch(G * count);
        const long wide = s.V ? I : G * H;
        for (long b = 0; b < u.rows && !s.V; ++b)
            for (int q = 0; q < G; ++q)
                for (long j = 0; j < count; ++j)
                    std::copy_n(ga_at(q, j, at + b), std::min<long>(PANEL, H - j * PANEL),
                                s.grad_x + row_of(t, b) * wide + q * H + j * PANEL);
        for (long j = 0; j < panels(I) && s.V; ++j)
            each_tile(u.rows, [&](long first, long rows) {
                const long columns = std::min<long>(PANEL, I - j * PANEL);
                const int n = segments_of(list.data(), 0, G, at + first);
                set.at(rows, columns)(list.data(), n, Vp + j * G * H * PANEL, nullptr, gx, PANEL);
                for (long r = 0; r < rows; ++r)
                    std::copy_n(gx + r * PANEL, columns, s.grad_x + row_of(t, first + r) * wide + j * PANEL);
            });
    }

    // sums (left x WIDTH*H), the weight gradients transposed, += (state, x, 1)^T @ grad_a over a chunk
    void accumulate(long rows) {
        const long ld = WIDTH * count * PANEL;
        for (int q = 0; q < WIDTH; ++q) {
            const long from = M && Z::is_product(q) ? 0 : RH, to = q < G ? left : RH;
            for (long j = 0; j < count; ++j)
                each_tile(to - from, [&](long first, long n) {
                    const Segment segment = {rows_of + from + first, ldl, rows};
                    float* c = sums + (from + first) * ld + (q * count + j) * PANEL;
                    outer.at(n, std::min<long>(PANEL, H - j * PANEL))(&segment, 1, ga_at(q, j, 0), nullptr, c, ld);
                });
        }
    }

    void finish() {
        const long ld = WIDTH * count * PANEL, at = u.part * s.S + u.seed;
        auto sum = [&](long row, int q, long j) { return sums[row * ld + q * count * PANEL + j]; };
        for (int q = 0; q < G; ++q)
            for (long j = 0; j < H; ++j) {
                const long to = (at * G + q) * H + j;
                if (s.grad_b) s.grad_b[to] = sum(left - 1, q, j);
                for (long i = 0; i < I && s.grad_V; ++i) s.grad_V[to * I + i] = sum(RH + i, q, j);
            }
        for (int m = 0; m < M && s.grad_W; ++m)
            for (long j = 0; j < H; ++j)
                for (long i = 0; i < RH; ++i)
                    s.grad_W[((at * M + m) * H + j) * RH + i] = sum(i, Z::FIRST_M + m, j);
        for (int i = 0; i < P && s.grad_p; ++i)
            for (long j = 0; j < H; ++j) s.grad_p[(at * P + i) * H + j] = (float)total_p[i * H + j];
        for (long b = 0; b < u.rows && s.grad_s0; ++b)
            for (int i = 0; i < N; ++i)
                std::copy_n(g_row(b, i), H, s.grad_s0 + (u.seed * s.B + u.first + b) * NH + i * H);
    }

    static std::vector<Segment>& scratch(size_t count) {
        static thread_local std::vector<Segment> list;
        if (list.size() < count) list.resize(count);
        return list;
    }
};

template <class C> const Table<BY_ROW, SUM> Backward<C>::add;
template <class C> const Table<BY_ROW, ZERO> Backward<C>::set;
template <class C> const Table<BY_INNER, SUM> Backward<C>::outer;
