// a = [u_z | u_h | m]: h' = h + epsilon sigmoid(u_z + m) tanh(u_h + m); the gate and the tanh are saved.
struct Cell {
    static constexpr int STATES = 1, RECURRENT = 1, INPUTS = 2, PRODUCTS = 1, ADD = 0, PARAMS = 0, SAVED = 2;
    float epsilon;
    explicit Cell(const float* c) : epsilon(c[0]) {}
    INLINE void forward(vf* a, const vf* state, vf* next, const vf*) const {
        a[0] = sigmoid_(a[0] + a[2]);
        a[1] = tanh_(a[1] + a[2]);
        next[0] = state[0] + epsilon * (a[0] * a[1]);
    }
    INLINE void backward(vf* g, const vf* saved, const vf*, const vf*, const vf*, vf* ga, vf*) const {
        const vf q = epsilon * (g[0] * saved[0]);
        ga[0] = q * (1.0f - saved[0]) * saved[1];
        ga[1] = q * (1.0f - saved[1] * saved[1]);
        ga[2] = ga[0] + ga[1];
    }
};
