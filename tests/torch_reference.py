"""Each op of the workbook once more, written with torch.

Not a test: test_gradients.py and test_mutants.py compare with it. Where torch
has the op itself, that is what is called. Signatures are those of the
helpers, so that check_backward can pass both the same arguments; parameters
are the same nested dicts, with tensors in place of arrays. `gpt2` and
`block_2017` go through torch.nn.TransformerEncoderLayer instead and share no
line with the rest.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F

torch.set_num_threads(1)  # the tensors are tiny

gelu = partial(F.gelu, approximate="tanh")
relu = F.relu
ACTIVATIONS = {"gelu": gelu, "relu": relu}


def linear(x, weight, bias=None):
    return F.linear(x, weight.T, bias)


def softmax(x):
    return F.softmax(x, dim=-1)


def scaled_dot_product_attention(q, k, v, mask=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def split_heads(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def merge_heads(x):
    return x.transpose(1, 2).flatten(2)


def multi_head_attention(x, params, n_heads, mask=None):
    B, T, C = x.shape
    if mask is not None:  # torch's own heads want True = may not attend
        mask = ~mask.expand(B, n_heads, T, T).reshape(-1, T, T)
    x = x.transpose(0, 1)  # (T, B, C)
    qkv, out = params["qkv"], params["out"]
    attended, _ = F.multi_head_attention_forward(
        *(x, x, x, C, n_heads),
        in_proj_weight=qkv["weight"].T,
        in_proj_bias=qkv.get("bias"),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=out["weight"].T,
        out_proj_bias=out.get("bias"),
        need_weights=False,
        attn_mask=mask,
    )
    return attended.transpose(0, 1)


def embedding(ids, weight):
    return F.embedding(ids, weight)


def learned_positions(x, weight):
    return x + F.embedding(torch.arange(x.shape[-2]), weight)


def sinusoidal_positions(T, C):
    """Section 3.5 of Vaswani et al. 2017, one number at a time."""
    table = torch.empty(T, C, dtype=torch.float64)
    for position in range(T):
        for column in range(C):
            even = column - column % 2
            wave = math.cos if column % 2 else math.sin
            angle = position / 10000 ** (even / C)
            table[position, column] = wave(angle)
    return table


def layer_norm(x, weight, bias, eps=1e-5):
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def dropout(x, p, rng):
    """torch draws its own masks; take ours, from an equal generator."""
    if rng is None or p == 0.0:
        return x
    keep = torch.tensor(rng.random(tuple(x.shape), dtype="float32") >= p)
    return x * keep / (1 - p)


def feed_forward(x, params, activation):
    hidden = ACTIVATIONS[activation](linear(x, **params["up"]))
    return linear(hidden, **params["down"])


def residual(x, sublayer, norm_params, config, rng=None):
    if config.norm == "pre":
        h = sublayer(layer_norm(x, **norm_params))
        return x + dropout(h, config.dropout, rng)
    h = dropout(sublayer(x), config.dropout, rng)
    return layer_norm(x + h, **norm_params)


def transformer_block(x, params, config, mask=None, rng=None):
    attend = partial(
        multi_head_attention,
        params=params["attention"],
        n_heads=config.n_heads,
        mask=mask,
    )
    feed = partial(
        feed_forward,
        params=params["feed_forward"],
        activation=config.activation,
    )
    x = residual(x, attend, params["norm1"], config, rng)
    return residual(x, feed, params["norm2"], config, rng)


def embed(ids, params, config, rng=None):
    x = embedding(ids, **params["token_embedding"])
    if config.positions == "learned":
        x = learned_positions(x, **params["position_embedding"])
    else:
        x = x + sinusoidal_positions(*x.shape[-2:])
    return dropout(x, config.dropout, rng)


def head(x, params):
    if "head" in params:
        return linear(x, **params["head"])
    return F.linear(x, params["token_embedding"]["weight"])


def language_model(ids, params, config, mask=None, rng=None):
    T = ids.shape[1]
    if mask is None:
        mask = torch.ones(T, T, dtype=torch.bool).tril()
    x = embed(ids, params, config, rng)
    for block in params["blocks"]:
        x = transformer_block(x, block, config, mask, rng)
    if config.norm == "pre":
        x = layer_norm(x, **params["final_norm"])
    return head(x, params)


def cross_entropy(logits, targets, ignore_index=-100):
    return F.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=ignore_index
    )


def loss(ids, targets, params, config, rng=None):
    logits = language_model(ids, params, config, rng=rng)
    return cross_entropy(logits, targets)


def encoder_layer(x, params, n_heads, mask, **settings):
    """torch's own Transformer block, with the parameters of one of ours.

    torch's layer has its biases all or none; a missing one is zero.
    """
    names = {
        "self_attn.in_proj_": params["attention"]["qkv"],
        "self_attn.out_proj.": params["attention"]["out"],
        "linear1.": params["feed_forward"]["up"],
        "linear2.": params["feed_forward"]["down"],
    }
    tensors = {}
    for name, part in names.items():
        weight = part["weight"].T
        tensors[name + "weight"] = weight
        tensors[name + "bias"] = part.get("bias", x.new_zeros(len(weight)))
    for norm in ("norm1", "norm2"):
        tensors[norm + ".weight"] = params[norm]["weight"]
        tensors[norm + ".bias"] = params[norm]["bias"]
    layer = torch.nn.TransformerEncoderLayer(
        *(x.shape[-1], n_heads, len(tensors["linear1.bias"])),
        dropout=0.0,
        batch_first=True,
        dtype=x.dtype,
        **settings,
    )
    mask = None if mask is None else ~mask
    inputs = {"src_mask": mask}
    return torch.func.functional_call(layer, tensors, (x,), inputs)


def gpt2(ids, params, n_heads):
    """GPT-2 (Radford et al. 2019): pre-norm, tanh GELU, tied head."""
    T = ids.shape[1]
    wte = params["token_embedding"]["weight"]
    wpe = params["position_embedding"]["weight"]
    causal = torch.ones(T, T, dtype=torch.bool).tril()
    x = F.embedding(ids, wte) + wpe[:T]
    for block in params["blocks"]:
        settings = {"norm_first": True, "activation": gelu}
        x = encoder_layer(x, block, n_heads, causal, **settings)
    final = params["final_norm"]
    x = F.layer_norm(x, x.shape[-1:], final["weight"], final["bias"])
    return x @ wte.T


def block_2017(x, params, n_heads, mask=None):
    """The block of Vaswani et al. 2017: post-norm, ReLU."""
    settings = {"norm_first": False, "activation": "relu"}
    return encoder_layer(x, params, n_heads, mask, **settings)
