// p = (sigmoid(alpha), sigmoid(beta)): h' = p1 h + p0 tanh(a); tanh(a) is saved.
struct Cell {
    static constexpr int STATES = 1, RECURRENT = 1, INPUTS = 1, PRODUCTS = 1, ADD = 1, PARAMS = 2, SAVED = 1;
    explicit Cell(const float*) {}
    INLINE void forward(vf* a, const vf* state, vf* next, const vf* p) const {
        a[0] = tanh_(a[0]);
        next[0] = p[1] * state[0] + p[0] * a[0];
    }
    INLINE void backward(vf* g, const vf* saved, const vf* state, const vf*, const vf* p, vf* ga, vf* gp) const {
        gp[0] += g[0] * saved[0];
        gp[1] += g[0] * state[0];
        ga[0] = p[0] * g[0] * (1.0f - saved[0] * saved[0]);
        g[0] = p[1] * g[0];
    }
};
