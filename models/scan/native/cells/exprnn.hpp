// modReLU, p = (b): h' = sign(a) max(|a| + b, 0); nothing is saved, the sign of h' is what the derivative needs.
struct Cell {
    static constexpr int STATES = 1, RECURRENT = 1, INPUTS = 1, PRODUCTS = 1, ADD = 1, PARAMS = 1, SAVED = 0;
    explicit Cell(const float*) {}
    INLINE void forward(vf* a, const vf*, vf* next, const vf* p) const {
        const vi sign = bits(a[0]) & (int32_t)0x80000000;
        const vf size = real(bits(a[0]) ^ sign) + p[0];
        const vf kept = real(bits(size) | sign);
        next[0] = (size <= 0.0f) | (a[0] == 0.0f) ? vf{} : kept;  // NaN compares false, and stays
    }
    INLINE void backward(vf* g, const vf*, const vf*, const vf* next, const vf*, vf* ga, vf* gp) const {
        const vi sign = bits(next[0]) & (int32_t)0x80000000;
        const vf signed_g = real(bits(g[0]) ^ sign);
        ga[0] = next[0] == 0.0f ? vf{} : g[0];
        gp[0] += next[0] == 0.0f ? vf{} : (next[0] != next[0] ? next[0] : signed_g);
        g[0] = vf{};
    }
};
