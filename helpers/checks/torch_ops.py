"""The operations of the lessons once more, as PyTorch has them.

Support code: what check_backward compares with. Names, arguments and trees
of parameters are those of the lessons, with tensors in place of arrays.
PyTorch keeps a weight as (out, in) and ours are (in, out), hence the `.T`.
"""

import importlib
import math


class _WhenNeeded:
    """Load PyTorch, which takes two seconds, when a check first calls it."""

    def __getattr__(self, name):
        return getattr(importlib.import_module("torch"), name)


torch = _WhenNeeded()


# lesson 01


def linear(x, weight, bias=None):
    """Call torch.nn.functional.linear."""
    return torch.nn.functional.linear(x, weight.T, bias)


def softmax(x):
    """Call torch.softmax over the last axis."""
    return torch.softmax(x, dim=-1)


def scaled_dot_product_attention(q, k, v, mask=None):
    """Call torch.nn.functional.scaled_dot_product_attention."""
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q, k, v, attn_mask=mask)


def multi_query_attention(q, k, v):
    """Call that with enable_gqa: one k and v serve all heads of q."""
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(q, k, v, enable_gqa=True)


def split_heads(x, n_heads):
    """Call torch's unflatten and transpose."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def merge_heads(x):
    """Call torch's transpose and flatten."""
    return x.transpose(1, 2).flatten(2)


def multi_head_attention(x, params, n_heads, mask=None):
    """Call torch.nn.functional.multi_head_attention_forward.

    It wants positions first, and masks with True = may not attend.
    """
    B, T, C = x.shape
    if mask is not None:
        mask = ~mask.expand(B, n_heads, T, T).reshape(-1, T, T)
    x = x.transpose(0, 1)  # (T, B, C)
    attended, _ = torch.nn.functional.multi_head_attention_forward(
        query=x,
        key=x,
        value=x,
        embed_dim_to_check=C,
        num_heads=n_heads,
        in_proj_weight=params["qkv"]["weight"].T,
        in_proj_bias=params["qkv"].get("bias"),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=params["out"]["weight"].T,
        out_proj_bias=params["out"].get("bias"),
        need_weights=False,
        attn_mask=mask,
    )
    return attended.transpose(0, 1)


# lesson 02


def embedding(ids, weight):
    """Call torch.nn.functional.embedding."""
    return torch.nn.functional.embedding(ids, weight)


def learned_positions(x, weight):
    """Add torch.nn.functional.embedding of the positions 0, 1, 2, ..."""
    return x + embedding(torch.arange(x.shape[-2]), weight)


def sinusoidal_positions(T, C):
    """Compute section 3.5 of Vaswani et al. 2017, one number at a time."""
    table = torch.empty(T, C, dtype=torch.float64)
    for position in range(T):
        for column in range(C):
            even = column - column % 2
            wave = math.cos if column % 2 else math.sin
            angle = position / 10000 ** (even / C)
            table[position, column] = wave(angle)
    return table


# lesson 03


def layer_norm(x, weight, bias, eps=1e-5):
    """Call torch.nn.functional.layer_norm."""
    return torch.nn.functional.layer_norm(x, weight.shape, weight, bias, eps)


def rms_norm(x, weight, eps=1e-5):
    """Call torch.nn.functional.rms_norm."""
    return torch.nn.functional.rms_norm(x, weight.shape, weight, eps)


def relu(x):
    """Call torch.relu."""
    return torch.relu(x)


def gelu(x):
    """Call torch.nn.functional.gelu in its tanh form."""
    return torch.nn.functional.gelu(x, approximate="tanh")


def silu(x):
    """Call torch.nn.functional.silu."""
    return torch.nn.functional.silu(x)


def swiglu(x):
    """Multiply the second half of the channels by silu of the first."""
    gate, value = x.chunk(2, dim=-1)
    return silu(gate) * value


ACTIVATIONS = {"gelu": gelu, "relu": relu, "swiglu": swiglu}
NORMS = {"pre": layer_norm, "post": layer_norm, "rms": rms_norm}


def dropout(x, p, rng):
    """Multiply by 0 or 1 / (1 - p), drawn as in our dropout.

    torch.nn.functional.dropout would draw other numbers.
    """
    if rng is None or p == 0.0:
        return x
    keep = torch.tensor(rng.random(tuple(x.shape), dtype="float32") >= p)
    return x * keep / (1 - p)


def feed_forward(x, params, activation):
    """Call torch's linear, its activation, and linear again."""
    hidden = ACTIVATIONS[activation](linear(x, **params["up"]))
    return linear(hidden, **params["down"])


def gated(x, params):
    """Gate one of torch's linear maps by the gelu of another."""
    gate = gelu(linear(x, **params["gate"]))
    return linear(gate * linear(x, **params["up"]), **params["down"])


def residual(x, sublayer, norm_params, config, rng=None):
    """Add what a function of tensors returns, and call torch's norm."""
    norm = NORMS[config.norm]
    if config.norm != "post":
        h = sublayer(norm(x, **norm_params))
        return x + dropout(h, config.dropout, rng)
    h = dropout(sublayer(x), config.dropout, rng)
    return norm(x + h, **norm_params)


def transformer_block(x, params, config, mask=None, rng=None):
    """Put a block together from the functions above, dropout included."""

    attention = ATTENTIONS[config.attention]

    def attend(h):
        return attention(h, params["attention"], config.n_heads, mask)

    def feed(h):
        return feed_forward(h, params["feed_forward"], config.activation)

    x = residual(x, attend, params["norm1"], config, rng)
    return residual(x, feed, params["norm2"], config, rng)


def encoder_layer(x, params, config, mask=None):
    """Call torch.nn.TransformerEncoderLayer with our parameters.

    It shares nothing with transformer_block above, and has no dropout.
    """
    layer = torch.nn.TransformerEncoderLayer(
        d_model=x.shape[-1],
        nhead=config.n_heads,
        dim_feedforward=params["feed_forward"]["up"]["weight"].shape[1],
        dropout=0.0,
        activation=ACTIVATIONS[config.activation],
        norm_first=config.norm == "pre",
        batch_first=True,
        dtype=x.dtype,
    )
    tensors = encoder_layer_tensors(params)
    inputs = {"src_mask": None if mask is None else ~mask}
    return torch.func.functional_call(layer, tensors, (x,), inputs)


def encoder_layer_tensors(params):
    """Return the parameters of a block under the names torch gives them.

    torch has a bias on all linear maps or on none: one we lack is zero.
    """
    linears = {
        "self_attn.in_proj_": params["attention"]["qkv"],
        "self_attn.out_proj.": params["attention"]["out"],
        "linear1.": params["feed_forward"]["up"],
        "linear2.": params["feed_forward"]["down"],
    }
    tensors = {}
    for name, ours in linears.items():
        weight = ours["weight"].T
        tensors[f"{name}weight"] = weight
        tensors[f"{name}bias"] = ours.get(
            "bias", weight.new_zeros(len(weight))
        )
    for norm in ("norm1", "norm2"):
        for key, tensor in params[norm].items():
            tensors[f"{norm}.{key}"] = tensor
    return tensors


# lesson 04


def embed(ids, params, config, rng=None):
    """Add torch's embedding and positions of either kind, then dropout."""
    x = embedding(ids, **params["token_embedding"])
    if config.positions == "learned":
        x = learned_positions(x, **params["position_embedding"])
    elif config.positions == "sinusoidal":
        x = x + sinusoidal_positions(x.shape[-2], x.shape[-1])
    return dropout(x, config.dropout, rng)


def head(x, params):
    """Call torch's linear with the head's matrix or the tied one."""
    if "head" in params:
        return linear(x, **params["head"])
    return linear(x, params["token_embedding"]["weight"].T)


def causal(T):
    """Return torch's lower triangle of True, (T, T)."""
    return torch.ones(T, T, dtype=torch.bool).tril()


def language_model(ids, params, config, mask=None, rng=None):
    """Put any model together from the functions above."""
    if mask is None:
        mask = causal(ids.shape[1])
    x = embed(ids, params, config, rng)
    for block in params["blocks"]:
        x = transformer_block(x, block, config, mask, rng)
    if config.norm != "post":
        x = NORMS[config.norm](x, **params["final_norm"])
    return head(x, params)


def gpt2(ids, params, config):
    """Stack torch.nn.TransformerEncoderLayer between a table and a norm.

    GPT-2 is pre-norm, with GELU, learned positions and a tied head. It
    shares nothing with language_model. Source: Radford et al. 2019.
    """
    table = params["token_embedding"]["weight"]
    x = table[ids] + params["position_embedding"]["weight"][: ids.shape[1]]
    for block in params["blocks"]:
        x = encoder_layer(x, block, config, causal(ids.shape[1]))
    return layer_norm(x, **params["final_norm"]) @ table.T


def cross_entropy(logits, targets, ignore_index=-100):
    """Call torch.nn.functional.cross_entropy."""
    rows = logits.flatten(0, -2)  # (R, V)
    return torch.nn.functional.cross_entropy(
        rows, targets.flatten(), ignore_index=ignore_index
    )


def smooth(logits, targets, epsilon):
    """Call torch.nn.functional.cross_entropy with label_smoothing."""
    return torch.nn.functional.cross_entropy(
        logits, targets, label_smoothing=epsilon
    )


def loss(ids, targets, params, config, rng=None):
    """Call cross_entropy on what language_model returns."""
    logits = language_model(ids, params, config, rng=rng)
    return cross_entropy(logits, targets)


# lesson 06


def SGD(params, grads, **settings):
    """Take a step of torch.optim.SGD for each of grads; see take_steps."""
    return take_steps(torch.optim.SGD, params, grads, settings)


def Adam(params, grads, **settings):
    """Take a step of torch.optim.Adam for each of grads; see take_steps."""
    return take_steps(torch.optim.Adam, params, grads, settings)


def AdamW(params, grads, **settings):
    """Take a step of torch.optim.AdamW for each of grads; see take_steps."""
    return take_steps(torch.optim.AdamW, params, grads, settings)


def take_steps(kind, params, grads, settings):
    """Return all parameters after each step, (steps, numbers).

    params and each of grads are {name: tensor}. Vectors do not decay.
    """
    params = {name: p.detach().clone() for name, p in params.items()}
    decay = settings.get("weight_decay", 0.0)
    groups = [
        {"params": [p], "weight_decay": decay * (p.ndim >= 2)}
        for p in params.values()
    ]
    optimizer, rows = kind(groups, **settings), []
    for grad in grads:
        for name, tensor in params.items():
            tensor.grad = grad[name].detach()
        optimizer.step()
        rows.append(torch.cat([p.flatten() for p in params.values()]))
    return torch.stack(rows)


# appendix A4


def rope(x, positions, layout="pairs"):
    """Multiply pairs of channels by complex numbers, as Llama's code does."""
    if layout == "halves":
        x = x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    n = pairs.shape[-1]
    frequency = torch.exp(-math.log(10000) * torch.arange(n).double() / n)
    angles = positions[..., None] * frequency
    if angles.ndim == 3:
        angles = angles[:, None]
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    out = torch.view_as_real(turned.to(pairs.dtype))  # (..., D / 2, 2)
    if layout == "halves":
        out = out.transpose(-1, -2)
    return out.flatten(-2)


def repeat_heads(x, times):
    """Call torch.repeat_interleave."""
    return torch.repeat_interleave(x, times, dim=1)


def grouped_attention(x, params, n_heads, mask=None, positions=None):
    """Call torch.nn.functional.scaled_dot_product_attention for groups."""
    D = x.shape[-1] // n_heads
    parts = linear(x, **params["qkv"]).unflatten(-1, (-1, D)).transpose(1, 2)
    G = (parts.shape[1] - n_heads) // 2
    q, k, v = parts.split([n_heads, G, G], dim=1)
    if positions is not None:
        q, k = rope(q, positions), rope(k, positions)
    attend = torch.nn.functional.scaled_dot_product_attention
    heads = attend(q, k, v, attn_mask=mask, enable_gqa=True)
    return linear(merge_heads(heads), **params["out"])


def rope_attention(x, params, n_heads, mask=None):
    """Call grouped_attention with the positions 0, 1, 2, ..."""
    positions = torch.arange(x.shape[1])
    return grouped_attention(x, params, n_heads, mask, positions)


ATTENTIONS = {
    "full": multi_head_attention,
    "grouped": grouped_attention,
    "rope": rope_attention,
}


# appendix A5


def token_log_probs(logits, targets):
    """Call torch's log_softmax and gather; 0 where a target is -100."""
    scored = targets != -100
    log_probs = torch.log_softmax(logits, dim=-1)
    rows = targets.where(scored, torch.zeros_like(targets))
    picked = log_probs.gather(-1, rows[..., None])[..., 0]
    return picked.where(scored, torch.zeros_like(picked))


def lora(weight, A, B, scale=1.0):
    """Add the product, scaled."""
    return weight + scale * (A @ B)


def dpo_loss(chosen, rejected, beta=0.1):
    """Call torch's logsigmoid on the scaled difference."""
    margins = beta * (chosen - rejected)
    return -torch.nn.functional.logsigmoid(margins).mean()


def clipped_gain(log_probs, old, advantages, clip=0.2):
    """Call torch's minimum and clamp on the ratio."""
    ratio = torch.exp(log_probs - old)
    inside = torch.clamp(ratio, 1 - clip, 1 + clip)
    return torch.minimum(ratio * advantages, inside * advantages)


def kl_estimate(log_probs, reference):
    """Take q / p - log(q / p) - 1."""
    ratio = torch.exp(reference - log_probs)
    return ratio - torch.log(ratio) - 1


def exact_kl(logits, reference):
    """Call torch.nn.functional.kl_div over the last axis."""
    p = torch.log_softmax(logits, dim=-1)
    q = torch.log_softmax(reference, dim=-1)
    settings = {"reduction": "none", "log_target": True}
    return torch.nn.functional.kl_div(q, p, **settings).sum(dim=-1)


def policy_loss(
    log_probs, old, reference, advantages, scored, clip=0.2, beta=0.0
):
    """Average what the two functions above say of the scored tokens."""
    gain = clipped_gain(log_probs, old, advantages[:, None], clip)
    kl = kl_estimate(log_probs, reference)
    return (beta * kl - gain)[scored].mean()
