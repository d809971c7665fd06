// The library of one cell: CELL names its header. Pointers in, pointers out; no Python, no torch.
#include <atomic>
#include <thread>
#include <type_traits>

#include "backward.hpp"
#include "forward.hpp"
#include "scan.hpp"

namespace {
#include CELL

Pool pool;

#if defined(__x86_64__) || defined(__i386__)
unsigned float_state() { return __builtin_ia32_stmxcsr(); }
void set_float_state(unsigned state) { __builtin_ia32_ldmxcsr(state); }
#elif defined(__aarch64__)
unsigned long float_state() { unsigned long s; asm volatile("mrs %0, fpcr" : "=r"(s)); return s; }
void set_float_state(unsigned long state) { asm volatile("msr fpcr, %0" : : "r"(state)); }
#else
int float_state() { return 0; }
void set_float_state(int) {}
#endif

Unit unit_of(const Scan& s, long index) {
    const long seed = index / s.parts, part = index % s.parts;
    const long first = part * s.B / s.parts, next = (part + 1) * s.B / s.parts;
    return {seed, part, first, next - first};
}

// Runs every unit on `threads` threads, this one among them; flush-to-zero as in the calling thread.
template <class F> int each_unit(const Scan& s, F work) {
    const long units = s.S * s.parts;
    std::atomic<long> next{0};
    std::atomic<int> failed{0};
    auto loop = [&] {
        try {
            for (long i; (i = next.fetch_add(1)) < units;) {
                Workspace* workspace = pool.acquire();
                try {
                    work(unit_of(s, i), *workspace);
                } catch (...) {
                    pool.release(workspace);
                    throw;
                }
                pool.release(workspace);
            }
        } catch (const std::bad_alloc&) {
            failed = 1;
        } catch (...) {
            failed = 2;
        }
    };
    const auto state = float_state();
    auto member = [&] {
        const auto own = float_state();
        set_float_state(state);
        loop();
        set_float_state(own);
    };
    const long threads = std::min<long>(s.threads, units);
    if (s.team != nullptr && threads > 1) {  // torch's own threads: awake, and not in the way of others
        s.team([](void* m) { (*static_cast<decltype(member)*>(m))(); }, &member, threads, 0);
        return failed;
    }
    std::vector<std::thread> others;
    try {
        for (long i = 1; i < threads; ++i) others.emplace_back(member);
    } catch (...) {
        // no more threads to be had: those that run, and this one, do all units
    }
    loop();
    for (auto& thread : others) thread.join();
    return failed;
}
}  // namespace

extern "C" {
int rnn_forward(const Scan* s) {
    return each_unit(*s, [&](const Unit& u, Workspace& w) {
        w.reserve(Forward<Cell>::floats(*s, u.rows), s->poison);
        Forward<Cell>(*s, u, w).run();
    });
}

int rnn_backward(const Scan* s) {
    return each_unit(*s, [&](const Unit& u, Workspace& w) {
        w.reserve(Backward<Cell>::floats(*s, u.rows), s->poison);
        Backward<Cell>(*s, u, w).run();
    });
}

// states, recurrent, inputs, products, add, params, saved, lanes of a vector, bytes of Scan
void rnn_facts(int64_t* to) {
    const int64_t facts[] = {Cell::STATES, Cell::RECURRENT, Cell::INPUTS, Cell::PRODUCTS, Cell::ADD,
                             Cell::PARAMS, Cell::SAVED,     VL,           (int64_t)sizeof(Scan)};
    std::copy_n(facts, 9, to);
}
}
