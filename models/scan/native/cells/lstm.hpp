// State (h, c), gates in the order i, f, g, o, all four saved; tanh(c') is computed again in the backward.
struct Cell {
    static constexpr int STATES = 2, RECURRENT = 1, INPUTS = 4, PRODUCTS = 4, ADD = 1, PARAMS = 0, SAVED = 4;
    explicit Cell(const float*) {}
    INLINE void forward(vf* a, const vf* state, vf* next, const vf*) const {
        a[0] = sigmoid_(a[0]);
        a[1] = sigmoid_(a[1]);
        a[2] = tanh_(a[2]);
        a[3] = sigmoid_(a[3]);
        next[1] = a[1] * state[1] + a[0] * a[2];
        next[0] = a[3] * tanh_(next[1]);
    }
    INLINE void backward(vf* g, const vf* saved, const vf* state, const vf* next, const vf*, vf* ga, vf*) const {
        const vf i = saved[0], f = saved[1], u = saved[2], o = saved[3];
        const vf tc = tanh_(next[1]);
        ga[3] = g[0] * tc * (o * (1.0f - o));
        const vf gc = g[1] + (g[0] * o) * (1.0f - tc * tc);
        ga[0] = gc * u * (i * (1.0f - i));
        ga[1] = gc * state[1] * (f * (1.0f - f));
        ga[2] = gc * i * (1.0f - u * u);
        g[1] = gc * f;
        g[0] = vf{};
    }
};
