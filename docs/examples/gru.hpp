// GRU: a = [u_r | u_z | u_n | m_r | m_z | m_n], p = (c); saved: r, z, n and q = m_n + c.
struct Cell {
    static constexpr int STATES = 1, RECURRENT = 1, INPUTS = 3, PRODUCTS = 3, ADD = 0, PARAMS = 1, SAVED = 4;
    explicit Cell(const float*) {}
    INLINE void forward(vf* a, const vf* state, vf* next, const vf* p) const {
        a[0] = sigmoid_(a[0] + a[3]);
        a[1] = sigmoid_(a[1] + a[4]);
        a[3] = a[5] + p[0];
        a[2] = tanh_(a[2] + a[0] * a[3]);
        next[0] = a[2] + a[1] * (state[0] - a[2]);
    }
    INLINE void backward(vf* g, const vf* saved, const vf* state, const vf*, const vf*, vf* ga, vf* gp) const {
        const vf r = saved[0], z = saved[1], n = saved[2], q = saved[3];
        const vf an = g[0] * (1.0f - z) * (1.0f - n * n);
        const vf ar = an * q * (r * (1.0f - r));
        const vf az = g[0] * (state[0] - n) * (z * (1.0f - z));
        ga[0] = ar;
        ga[1] = az;
        ga[2] = an;
        ga[3] = ar;
        ga[4] = az;
        ga[5] = an * r;
        gp[0] += an * r;
        g[0] = g[0] * z;
    }
};
