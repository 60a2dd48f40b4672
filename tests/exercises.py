"""What learners write in the exercises that tests/mistakes does not have.

VERSIONS: {lesson: {function: (right, wrong)}}, each a list of rows of what
stands in the published solution and what comes in its place.
test_drawn.py grades them.
"""

VERSIONS = {
    "attention": {
        "normalise": (
            [("x / total", "np.divide(x, total)")],
            [("axis=-1", "axis=-2"), ("x / total", "x * total")],
        ),
        "normalise_backward": (
            [("(dout - inner) / total", "dout / total - inner / total")],
            [("(dout - inner) / total", "dout / total"), (") / total", ")")],
        ),
        "multi_query_backward": (
            [("dk.sum(axis=1, keepdims=True)", "dk.sum(1)[:, None]")],
            [("dk.sum", "dk.mean"), ("dv.sum(axis=1,", "dv.sum(axis=0,")],
        ),
    },
    "language_model": {
        "smooth_backward": (
            [("dlogits * keep[:, None]", "np.where(keep[:, None], dlogits, 0"
              " * dlogits)")],
            [("dlogits * keep[:, None]", "dlogits"),
             ("int(keep.sum())", "len(keep)")],
        ),
    },
    "digit_operations": {
        "mean_pool_backward": (
            [("dout[:, None] * cache", "cache * dout[:, None, :]")],
            [("* cache", "+ 0 * cache"), ("* cache", "* cache.sum()")],
        ),
    },
    "experiments": {
        "uniform_attention_backward": (
            [("np.zeros_like(q), np", "0 * q, np")],
            [("weights.swapaxes(-1, -2)", "weights"),
             ("np.zeros_like(q)", "np.ones_like(q)")],
        ),
        "rms_norm_backward": (
            [("dout.sum(axis=rows)", "dout.reshape(-1, len(weight)).sum(0)")],
            [(" - normed * along_normed", ""), ("dout * weight", "dout")],
        ),
    },
    "scale": {
        "light_backward": (
            [("_, full_cache = feed_forward(*cache)",
              "full_cache = feed_forward(*cache)[1]")],
            [("(dout, full_cache)", "(2 * dout, full_cache)"),
             ("(dout, full_cache)", "(dout, cache)")],
        ),
    },
    "llama": {
        "kv_bytes": (
            [("G = config.n_kv_heads or config.n_heads",
              "G = config.n_kv_heads\n    G = G if G else config.n_heads")],
            [("return 2 *", "return"),
             ("config.n_kv_heads or config.n_heads", "config.n_heads")],
        ),
        "geglu": (
            [("opened * value, (", "value * opened, (")],
            [("gelu(gate)", "gelu(value)"), ("opened * value,", "opened,")],
        ),
        "geglu_backward": (
            [("[dgate, dout * opened]", "(dgate, opened * dout)")],
            [("[dgate, dout * opened]", "[dout * opened, dgate]"),
             ("dout * value", "dout")],
        ),
        "complex_rope": (
            [("x[..., 0::2] + 1j * x[..., 1::2]",
              "1j * x[..., 1::2] + x[..., ::2]")],
            [(".astype(z.dtype)", ""), ("1j * rope", "-1j * rope")],
        ),
        "complex_rope_backward": (
            [("cache.conj()", "np.conjugate(cache)")],
            [("cache.conj()", "cache"), ("[dz.real, dz", "[-dz.real, dz")],
        ),
    },
    "assistant": {
        "price": (
            [("np.log(r / p)", "(np.log(r) - np.log(p))")],
            [("return r *", "return p *"), (" + (1 - r)", " - (1 - r)")],
        ),
        "leave_one_out": (
            [(".reshape(-1)", ".ravel()")],
            [(" - groups\n", "\n"), ("(size - 1)", "size")],
        ),
        "thin": (
            [("x @ weight + low @ B", "low @ B + x @ weight")],
            [("x @ weight + low @ B", "low @ B"), ("low @ B,", "low,")],
        ),
        "thin_backward": (
            [("x.T @ dlow", "(dlow.T @ x).T")],
            [("dout @ weight.T + dlow", "dlow"), ("x.T @ dlow", "x.T @ low")],
        ),
    },
}  # fmt: skip
