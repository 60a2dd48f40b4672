"""GPT-2 on one page, a section a lesson. Run it: python gpt.py [stories.txt]

A forward returns out, cache; the backward below it returns dx, grads."""
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")    # for small arrays
import numpy as np

# 01 · Build causal self-attention --------------------------------------------
def linear(x, params):                                # (B, T, M) -> (B, T, N)
    return x @ params["weight"] + params["bias"], (x, params)
def linear_backward(dout, cache):
    x, params = cache
    dweight = np.tensordot(x, dout, axes=((0, 1), (0, 1)))  # (M, N)
    grads = {"weight": dweight, "bias": dout.sum(axis=(0, 1))}
    return dout @ params["weight"].T, grads

def softmax(x):                                       # every row sums to 1
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)

def attention(x, params, H):                          # (B, T, C)
    B, T, C = x.shape
    qkv, qkv_cache = linear(x, params["qkv"])         # (B, T, 3C)
    q, k, v = qkv.reshape(B, T, 3, H, C // H).transpose(2, 0, 3, 1, 4)
    scores = q @ k.mT / (C // H) ** 0.5               # (B, H, T, T)
    weights = softmax(np.where(np.tri(T), scores, -np.inf))  # t sees 0..t
    heads = (weights @ v).swapaxes(1, 2).reshape(B, T, C)
    out, out_cache = linear(heads, params["out"])
    return out, (qkv_cache, q, k, v, weights, out_cache)
def attention_backward(dout, cache):
    qkv_cache, q, k, v, weights, out_cache = cache
    B, H, T, D = q.shape
    dheads, out_grads = linear_backward(dout, out_cache)
    dheads = dheads.reshape(B, T, H, D).swapaxes(1, 2)
    dweights = dheads @ v.mT                          # (B, H, T, T)
    inner = (dweights * weights).sum(axis=-1, keepdims=True)
    dscores = weights * (dweights - inner)
    dq, dk = dscores @ k / D**0.5, dscores.mT @ q / D**0.5
    dqkv = np.stack([dq, dk, weights.mT @ dheads]).transpose(1, 3, 0, 2, 4)
    dx, qkv_grads = linear_backward(dqkv.reshape(B, T, -1), qkv_cache)
    return dx, {"qkv": qkv_grads, "out": out_grads}

# 02 · Turn tokens into vectors -----------------------------------------------
def embed(ids, params):                               # (B, T) -> (B, T, C)
    positions = params["position_embedding"]["weight"][: ids.shape[1]]
    return params["token_embedding"]["weight"][ids] + positions
def embed_backward(dx, ids, params):
    dtokens = np.zeros_like(params["token_embedding"]["weight"])
    np.add.at(dtokens, ids, dx)                       # an id may repeat
    dpositions = np.zeros_like(params["position_embedding"]["weight"])
    dpositions[: ids.shape[1]] = dx.sum(axis=0)
    return dtokens, dpositions

# 03 · Build a Transformer block ----------------------------------------------
def layer_norm(x, params):                            # (B, T, C)
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    normed = rstd * (x - x.mean(axis=-1, keepdims=True))
    return normed * params["weight"] + params["bias"], (normed, rstd, params)
def layer_norm_backward(dout, cache):
    normed, rstd, params = cache
    dweight = (dout * normed).sum(axis=(0, 1))
    dnormed = dout * params["weight"]
    dx = dnormed - dnormed.mean(axis=-1, keepdims=True)
    dx -= normed * (dnormed * normed).mean(axis=-1, keepdims=True)
    return rstd * dx, {"weight": dweight, "bias": dout.sum(axis=(0, 1))}

def gelu(x):                                          # any shape
    tanh = np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x))
    return 0.5 * x * (1 + tanh), (x, tanh)
def gelu_backward(dout, cache):
    x, tanh = cache
    du = (2 / np.pi) ** 0.5 * (1 + 3 * 0.044715 * x * x)
    return dout * 0.5 * (1 + tanh + x * (1 - tanh * tanh) * du)

def transformer_block(x, params, H):                  # (B, T, C)
    cache = {}
    out, cache["norm1"] = layer_norm(x, params["norm1"])
    out, cache["attention"] = attention(out, params["attention"], H)
    x = x + out
    out, cache["norm2"] = layer_norm(x, params["norm2"])
    out, cache["up"] = linear(out, params["feed_forward"]["up"])
    out, cache["gelu"] = gelu(out)                    # (B, T, F)
    out, cache["down"] = linear(out, params["feed_forward"]["down"])
    return x + out, cache
def transformer_block_backward(dx, cache):
    grads = {"feed_forward": {}}
    dout, grads["feed_forward"]["down"] = linear_backward(dx, cache["down"])
    dout = gelu_backward(dout, cache["gelu"])
    dout, grads["feed_forward"]["up"] = linear_backward(dout, cache["up"])
    dout, grads["norm2"] = layer_norm_backward(dout, cache["norm2"])
    dx = dx + dout
    dout, grads["attention"] = attention_backward(dx, cache["attention"])
    dout, grads["norm1"] = layer_norm_backward(dout, cache["norm1"])
    return dx + dout, grads

# 04 · Assemble the language model --------------------------------------------
def init_params(V, T, C, F, L, rng, dtype=np.float32):
    def table(M, N, std=0.02):
        return {"weight": rng.normal(0, std, (M, N)).astype(dtype)}
    def linear(M, N, std=0.02):
        return table(M, N, std) | {"bias": np.zeros(N, dtype)}
    def norm():
        return {"weight": np.ones(C, dtype), "bias": np.zeros(C, dtype)}
    small = 0.02 / (2 * L) ** 0.5                     # 2L maps add to x
    blocks = [{
        "norm1": norm(), "norm2": norm(),
        "attention": {"qkv": linear(C, 3 * C), "out": linear(C, C, small)},
        "feed_forward": {"up": linear(C, F), "down": linear(F, C, small)},
    } for _ in range(L)]
    return {"token_embedding": table(V, C), "position_embedding": table(T, C),
            "blocks": blocks, "final_norm": norm()}

def language_model(ids, params, H):                   # (B, T) -> (B, T, V)
    x = embed(ids, params)
    caches = []
    for block in params["blocks"]:
        x, cache = transformer_block(x, block, H)
        caches.append(cache)
    x, norm_cache = layer_norm(x, params["final_norm"])
    logits = x @ params["token_embedding"]["weight"].T
    return logits, (ids, params, caches, norm_cache, x)
def language_model_backward(dlogits, cache):
    ids, params, caches, norm_cache, x = cache
    grads = {"blocks": []}
    dx = dlogits @ params["token_embedding"]["weight"]
    dx, grads["final_norm"] = layer_norm_backward(dx, norm_cache)
    for block_cache in reversed(caches):
        dx, block_grads = transformer_block_backward(dx, block_cache)
        grads["blocks"].insert(0, block_grads)
    dtokens, dpositions = embed_backward(dx, ids, params)
    dtokens += np.tensordot(dlogits, x, axes=((0, 1), (0, 1)))  # used twice
    grads["token_embedding"] = {"weight": dtokens}
    grads["position_embedding"] = {"weight": dpositions}
    return grads

def loss_and_grads(ids, targets, params, H):          # in nats per letter
    logits, cache = language_model(ids, params, H)
    probs = softmax(logits)
    onehot = np.eye(logits.shape[-1], dtype=logits.dtype)[targets]
    loss = -np.log((probs * onehot).sum(axis=-1)).mean()
    dlogits = (probs - onehot) / targets.size
    return loss, language_model_backward(dlogits, cache)

# 05 · From stories to batches ------------------------------------------------
def load_stories(path=None):
    if path:
        with open(path, encoding="utf-8") as file:
            return file.read(1_000_000).replace("<|endoftext|>", "\f") + "\f"
    from helpers.stories.grammar import tell_stories
    return "\f".join(tell_stories(2000)) + "\f"       # \f ends a story

def sample_batch(tokens, B, T, rng):                  # (B, T) each
    starts = rng.integers(len(tokens) - T, size=(B, 1))
    windows = tokens[starts + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]

# 06 · Train it ---------------------------------------------------------------
def leaves(tree):                                     # arrays, in one order
    if isinstance(tree, dict):
        tree = [tree[key] for key in sorted(tree)]
    return sum(map(leaves, tree), []) if isinstance(tree, list) else [tree]

def adamw(arrays, grads, moments, t, lr):
    norm = sum(np.vdot(grad, grad) for grad in grads) ** 0.5
    for array, grad, (mean, square) in zip(arrays, grads, moments):
        grad /= max(norm, 1.0)                        # clip their joint norm
        mean += 0.1 * (grad - mean)
        square += 0.05 * (grad * grad - square)
        array *= 1 - 0.1 * lr * (array.ndim == 2)     # matrices decay
        root = np.sqrt(square / (1 - 0.95**t)) + 1e-8
        array -= lr * mean / (1 - 0.9**t) / root

def train(tokens, params, H, rng, steps=3000, B=8, T=64):
    moments = [np.zeros((2, *a.shape), a.dtype) for a in leaves(params)]
    for t in range(1, steps + 1):
        ids, targets = sample_batch(tokens, B, T, rng)
        loss, grads = loss_and_grads(ids, targets, params, H)
        lr = 6e-3 * min(t / 50, 1.01 - t / steps)
        adamw(leaves(params), leaves(grads), moments, t, lr)
        if t % 200 == 0:
            print(f"step {t:4}  loss {loss:.3f} nats per letter")

# 07 · Let it write -----------------------------------------------------------
def stream(ids, params, H, rng, T=64, temperature=0.7):
    for _ in range(1000):                             # letters
        logits, _ = language_model(np.array([ids[-T:]]), params, H)
        probs = softmax(logits[0, -1].astype(np.float64) / temperature)
        ids = [*ids, rng.choice(len(probs), p=probs)]
        yield ids[-1]

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    text = load_stories(*sys.argv[1:])
    letters, tokens = np.unique(list(text), return_inverse=True)
    params = init_params(V=len(letters), T=64, C=64, F=256, L=2, rng=rng)
    train(tokens, params, H=4, rng=rng)
    story = letters[list(stream(tokens[-64:], params, H=4, rng=rng))]
    print("".join(story).partition("\f")[0])
