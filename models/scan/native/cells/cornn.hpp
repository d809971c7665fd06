// State (y, z): z' = keep z + force tanh(a) - spring y, y' = y + dt z'; tanh(a) is saved.
struct Cell {
    static constexpr int STATES = 2, RECURRENT = 2, INPUTS = 1, PRODUCTS = 1, ADD = 1, PARAMS = 0, SAVED = 1;
    float dt, keep, force, spring;
    explicit Cell(const float* c) : dt(c[0]), keep(c[1]), force(c[2]), spring(c[3]) {}
    INLINE void forward(vf* a, const vf* state, vf* next, const vf*) const {
        a[0] = tanh_(a[0]);
        next[1] = keep * state[1] + force * a[0] - spring * state[0];
        next[0] = state[0] + dt * next[1];
    }
    INLINE void backward(vf* g, const vf* saved, const vf*, const vf*, const vf*, vf* ga, vf*) const {
        const vf gz = g[1] + dt * g[0];
        ga[0] = force * gz * (1.0f - saved[0] * saved[0]);
        g[0] = g[0] - spring * gz;
        g[1] = keep * gz;
    }
};
