// h' = h + epsilon tanh(a); tanh(a) is saved.
struct Cell {
    static constexpr int STATES = 1, RECURRENT = 1, INPUTS = 1, PRODUCTS = 1, ADD = 1, PARAMS = 0, SAVED = 1;
    float epsilon;
    explicit Cell(const float* c) : epsilon(c[0]) {}
    INLINE void forward(vf* a, const vf* state, vf* next, const vf*) const {
        a[0] = tanh_(a[0]);
        next[0] = state[0] + epsilon * a[0];
    }
    INLINE void backward(vf* g, const vf* saved, const vf*, const vf*, const vf*, vf* ga, vf*) const {
        ga[0] = epsilon * g[0] * (1.0f - saved[0] * saved[0]);
    }
};
