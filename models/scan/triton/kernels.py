# What follows is Triton's language: tuples grow by `+`, and a condition known when compiling is an `if`.
# mypy: ignore-errors
# ruff: noqa: RUF005
"""The two persistent kernels, forward and backward, for every cell; ``products`` has how they multiply.

A program owns ROWS batch rows of one seed (of a tile of TILE rows: the rest of the tile is padding) and walks through
time; states are tuples of (TILE, HB) tensors, HB the next power of two of H, at least 16. Columns past H hold zeros.
Buffers are seed first: u (S,T,B,G*H), states (S,T+1,B,N*H), saved (S,T,B,saved*H), grad_a (S,T,B,A*H), row-major. The
input projection comes in as u; the weight gradients are products of grad_a that the caller makes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from models.scan.triton.products import load_matrix, multiply_resident, multiply_streamed


@triton.jit
def load_blocks(base, offsets, mask, H: tl.constexpr, COUNT: tl.constexpr):
    """COUNT tiles that stand H columns apart."""
    out = ()
    for i in tl.static_range(COUNT):
        out = out + (tl.load(base + i * H + offsets, mask, 0.0),)
    return out


@triton.jit
def store_blocks(base, offsets, mask, values, H: tl.constexpr, COUNT: tl.constexpr):
    """The reverse of ``load_blocks``."""
    for i in tl.static_range(COUNT):
        tl.store(base + i * H + offsets, values[i], mask)


@triton.jit
def parameter_rows(p, seed, col, H: tl.constexpr, PARAMS: tl.constexpr):
    """The rows of p (S,P,H) of a seed, (1, HB) each."""
    rows = ()
    for i in tl.static_range(PARAMS):
        rows = rows + (tl.load(p + (seed * PARAMS + i) * H + col, col < H, 0.0)[None, :],)
    return rows


@triton.jit
def inside_only(values, mask, COUNT: tl.constexpr):
    """Zeros in the padding, so that what a cell makes of it (0 * inf) never reaches a product."""
    out = ()
    for i in tl.static_range(COUNT):
        out = out + (tl.where(mask, values[i], 0.0),)
    return out


@triton.jit
def concatenate(left, right, LEFT: tl.constexpr, RIGHT: tl.constexpr, FROM: tl.constexpr):
    """The first LEFT of left and RIGHT of right from FROM on."""
    out = ()
    for i in tl.static_range(LEFT):
        out = out + (left[i],)
    for i in tl.static_range(RIGHT):
        out = out + (right[FROM + i],)
    return out


@triton.jit
def zero_tiles(TILE: tl.constexpr, HB: tl.constexpr, COUNT: tl.constexpr):
    """COUNT tiles of zeros."""
    out = ()
    for _ in tl.static_range(COUNT):
        out = out + (tl.zeros((TILE, HB), tl.float32),)
    return out


@triton.jit(do_not_specialize=["T", "B", "c0", "c1", "c2", "c3"])
def forward_kernel(
    u, matrix, p, states, saved, h, T, B, c0, c1, c2, c3,
    FORWARD: tl.constexpr, H: tl.constexpr, HB: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    STATES: tl.constexpr, RECURRENT: tl.constexpr, INPUTS: tl.constexpr, PRODUCTS: tl.constexpr, ADD: tl.constexpr,
    PARAMS: tl.constexpr, SAVED: tl.constexpr, KEEP: tl.constexpr, PRECISION: tl.constexpr,
    DOT: tl.constexpr, STREAM: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Walk through time. KEEP: every state and the saved blocks are written; else ``states`` has two slots and h is."""
    seed = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * ROWS
    batch = B.to(tl.int64)
    row = tl.arange(0, TILE)
    row_mask = (row < ROWS) & (first + row < batch)
    col = tl.arange(0, HB)
    mask = row_mask[:, None] & (col < H)[None, :]
    at_u = row[:, None] * (INPUTS * H) + col[None, :]
    at_state = row[:, None] * (STATES * H) + col[None, :]
    at_saved = row[:, None] * (SAVED * H) + col[None, :]
    at_h = row[:, None] * H + col[None, :]
    slots = T.to(tl.int64) + 1 if KEEP else 2
    u_t = u + (seed * T * batch + first) * (INPUTS * H)
    state_t = states + (seed * slots * batch + first) * (STATES * H)
    saved_t = saved + (seed * T * batch + first) * (SAVED * H)
    h_t = h + (seed * T * batch + first) * H
    next_slot = batch * (STATES * H)
    own = matrix + seed * (RECURRENT * H * PRODUCTS * H)
    vectors = parameter_rows(p, seed, col, H, PARAMS)
    c = (c0, c1, c2, c3)
    if PRODUCTS > 0 and not STREAM:
        tiles = load_matrix(own, H, HB, RECURRENT, PRODUCTS)
    state = load_blocks(state_t, at_state, mask, H, STATES)
    ahead = load_blocks(u_t, at_u, mask, H, INPUTS)
    for t in range(T):
        a = ahead
        u_t += tl.where(t + 1 < T, batch, 0) * (INPUTS * H)  # the last step loads its own input again
        ahead = load_blocks(u_t, at_u, mask, H, INPUTS)
        if PRODUCTS > 0:
            m = a if ADD else zero_tiles(TILE, HB, PRODUCTS)
            if STREAM:
                m = multiply_streamed(
                    m, state_t, STATES * H, row, row_mask, own, H, HB, RECURRENT, PRODUCTS, DOT, PRECISION, BK, STAGES
                )
            else:
                m = multiply_resident(m, state, tiles, RECURRENT, PRODUCTS, DOT, PRECISION)
            a = m if ADD else concatenate(a, m, INPUTS, PRODUCTS, 0)
        new, kept = FORWARD(a, state, vectors, c)
        state = inside_only(new, mask, STATES)
        state_t += next_slot
        if KEEP:
            store_blocks(state_t, at_state, mask, state, H, STATES)
            store_blocks(saved_t, at_saved, mask, kept, H, SAVED)
            saved_t += batch * (SAVED * H)
        else:
            tl.store(h_t + at_h, state[0], mask)
            h_t += batch * H
            store_blocks(state_t, at_state, mask, state, H, STATES)
            next_slot = -next_slot
        if STREAM:
            tl.debug_barrier()  # the next product reads what other threads of this program have just written


@triton.jit(do_not_specialize=["T", "B", "c0", "c1", "c2", "c3"])
def backward_kernel(
    matrix, p, states, saved, g_h, g_state, grad_a, grad_p, squares, T, B, c0, c1, c2, c3,
    BACKWARD: tl.constexpr, H: tl.constexpr, HB: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    STATES: tl.constexpr, RECURRENT: tl.constexpr, INPUTS: tl.constexpr, PRODUCTS: tl.constexpr, ADD: tl.constexpr,
    PARAMS: tl.constexpr, SAVED: tl.constexpr, HAS_H: tl.constexpr, PROFILE: tl.constexpr, PRECISION: tl.constexpr,
    DOT: tl.constexpr, STREAM: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Back through time. g_state (S,B,N*H) holds dL/d(final), then dL/ds0; grad_p (S,B,P*H) is unreduced.

    With PROFILE, squares (S, programs, N, T) float64 gets each program's sum of squares of dL/d(state_t).
    """
    WIDTH: tl.constexpr = INPUTS if ADD else INPUTS + PRODUCTS
    SKIP: tl.constexpr = 0 if ADD else INPUTS  # blocks of a before the products'
    seed = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * ROWS
    batch = B.to(tl.int64)
    row = tl.arange(0, TILE)
    row_mask = (row < ROWS) & (first + row < batch)
    col = tl.arange(0, HB)
    mask = row_mask[:, None] & (col < H)[None, :]
    at_state = row[:, None] * (STATES * H) + col[None, :]
    at_saved = row[:, None] * (SAVED * H) + col[None, :]
    at_a = row[:, None] * (WIDTH * H) + col[None, :]
    at_h = row[:, None] * H + col[None, :]
    at_p = row[:, None] * (PARAMS * H) + col[None, :]
    end = (seed + 1) * T * batch + first  # a row past the last time step
    state_t = states + (end + seed * batch) * (STATES * H)
    saved_t = saved + (end - batch) * (SAVED * H)
    g_h_t = g_h + (end - batch) * H
    grad_a_t = grad_a + (end - batch) * (WIDTH * H)
    g_own = g_state + (seed * batch + first) * (STATES * H)
    own = matrix + seed * (RECURRENT * H * PRODUCTS * H)
    squares_t = squares + (seed * tl.num_programs(0) + tl.program_id(0)) * STATES * T + T - 1
    vectors = parameter_rows(p, seed, col, H, PARAMS)
    c = (c0, c1, c2, c3)
    if PRODUCTS > 0 and not STREAM:
        tiles = load_matrix(own, H, HB, PRODUCTS, RECURRENT)
    g = load_blocks(g_own, at_state, mask, H, STATES)
    total_p = zero_tiles(TILE, HB, PARAMS)
    state = load_blocks(state_t, at_state, mask, H, STATES)
    state_t -= batch * (STATES * H)
    state_ahead = load_blocks(state_t, at_state, mask, H, STATES)
    saved_ahead = load_blocks(saved_t, at_saved, mask, H, SAVED)
    if HAS_H:
        h_ahead = tl.load(g_h_t + at_h, mask, 0.0)
    for t in range(T):  # t counts from the end
        back = tl.where(t + 1 < T, batch, 0)  # what lies before the first step is not loaded
        new = state
        state = state_ahead
        kept = saved_ahead
        state_t -= back * (STATES * H)
        saved_t -= back * (SAVED * H)
        state_ahead = load_blocks(state_t, at_state, mask, H, STATES)
        saved_ahead = load_blocks(saved_t, at_saved, mask, H, SAVED)
        if HAS_H:
            g = concatenate((g[0] + h_ahead,), g, 1, STATES - 1, 1)
            g_h_t -= back * H
            h_ahead = tl.load(g_h_t + at_h, mask, 0.0)
        if PROFILE:
            for i in tl.static_range(STATES):
                wide = tl.where(mask, g[i], 0.0).to(tl.float64)
                tl.store(squares_t + i * T - t, tl.sum(wide * wide))
        direct, grads, grads_p = BACKWARD(g, kept, state, new, vectors, c)
        g = inside_only(direct, mask, STATES)
        grads = inside_only(grads, mask, WIDTH)
        store_blocks(grad_a_t, at_a, mask, grads, H, WIDTH)
        if PARAMS > 0:
            sums = ()
            for i in tl.static_range(PARAMS):
                sums = sums + (total_p[i] + grads_p[i],)
            total_p = sums
        if PRODUCTS > 0:
            if STREAM:
                tl.debug_barrier()  # the product reads what other threads of this program have just written
                m = multiply_streamed(
                    g, grad_a_t + SKIP * H, WIDTH * H, row, row_mask, own,
                    H, HB, PRODUCTS, RECURRENT, DOT, PRECISION, BK, STAGES,
                )  # fmt: skip
            else:
                m = multiply_resident(
                    g, concatenate(grads, grads, 0, PRODUCTS, SKIP), tiles, PRODUCTS, RECURRENT, DOT, PRECISION
                )
            g = concatenate(m, g, RECURRENT, STATES - RECURRENT, RECURRENT)
        grad_a_t -= batch * (WIDTH * H)
    store_blocks(g_own, at_state, mask, g, H, STATES)
    store_blocks(grad_p + (seed * batch + first) * (PARAMS * H), at_p, mask, total_p, H, PARAMS)
