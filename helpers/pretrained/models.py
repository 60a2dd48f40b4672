"""What Hugging Face calls the settings and arrays of GPT-2 and of Llama.

Support code, not built in a lesson: appendix A4 has the names of GPT-2 and
the two layouts of RoPE. Theirs maps to ours and back; what has no counterpart
is refused in one sentence.
"""

import numpy as np

from helpers.language_model import ModelConfig, init_params
from helpers.llama import LLAMA, gpt2_params, to_halves, to_pairs
from helpers.runs.files import brief
from helpers.runs.params import map_arrays, named_arrays

GPT2 = {"norm": "pre", "positions": "learned"}
GELUS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu"}
WANTED = {  # what a config of Llama must say, if it says anything
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "mlp_bias": False,
}


def read_config(about, path):
    """Return our config for a config.json of GPT-2 or Llama.

    Raises ValueError for another model, or a setting we have not.
    """
    readers = {"gpt2": gpt2_config, "llama": llama_config}
    kind = about.get("model_type")
    if kind not in readers:
        raise ValueError(
            f"{path} describes a model of type {kind!r}; those of "
            f"{' and '.join(readers)} can be read"
        )
    try:
        return readers[kind](about)
    except KeyError as error:
        raise ValueError(
            f"{path} does not say {brief(error)}; fetch it again"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{path} describes a model that cannot be built here: {error}"
        ) from None


def gpt2_config(about):
    """Return our config for GPT-2's, without dropout: it is trained."""
    name = about.get("activation_function", "gelu_new")
    eps = about.get("layer_norm_epsilon", 1e-5)
    if name not in GELUS or eps != 1e-5:
        raise ValueError(
            f"its activation is {name} and the eps of its norms {eps}; take "
            "one with gelu_new and 1e-05"
        )
    C = about["n_embd"]
    return ModelConfig(
        vocab_size=about["vocab_size"],
        max_seq_len=about["n_positions"],
        d_model=C,
        n_heads=about["n_head"],
        n_layers=about["n_layer"],
        d_ff=about.get("n_inner") or 4 * C,
        activation=GELUS[name],
        tied_head=about.get("tie_word_embeddings", True),
    )


def llama_config(about):
    """Return our config for Llama's."""
    rope = about.get("rope_parameters") or {}
    about = about | {key: rope[key] for key in rope if key in WANTED}
    H, C = about["num_attention_heads"], about["hidden_size"]
    odd = {key: about.get(key, want) for key, want in WANTED.items()}
    odd = {key: v for key, v in odd.items() if v != WANTED[key]}
    if rope.get("rope_type", "default") != "default":
        odd["rope_type"] = rope["rope_type"]
    if about.get("head_dim", C // H) != C // H:
        odd["head_dim"] = about["head_dim"]
    if odd:
        said = ", ".join(f"{key} is {value}" for key, value in odd.items())
        raise ValueError(f"{said}; take a Llama as export writes it")
    return ModelConfig(
        vocab_size=about["vocab_size"],
        max_seq_len=about["max_position_embeddings"],
        d_model=C,
        n_heads=H,
        n_layers=about["num_hidden_layers"],
        d_ff=about["intermediate_size"],
        tied_head=about.get("tie_word_embeddings", False),
        n_kv_heads=about.get("num_key_value_heads") or H,
        **LLAMA,
    )


def params_from(tensors, config, path):
    """Return our tree of the arrays of a file; ValueError if they do not fit.

    Copies them, so that each array is contiguous and can be trained.
    """
    prefix = "transformer." if config.norm == "pre" else "model."
    tensors = {n.removeprefix(prefix): a for n, a in tensors.items()}
    make = gpt2_params if config.norm == "pre" else llama_params
    try:
        params = make(tensors, config)
        if not config.tied_head:
            params["head"] = {"weight": tensors["lm_head.weight"].T}
    except KeyError as error:
        raise ValueError(
            f"{path} has no tensor {error}; it is not whole, or of another "
            "model than its config.json"
        ) from None
    except ValueError as error:  # of NumPy, for shapes that do not go together
        raise ValueError(
            f"{path} does not fit its config.json ({brief(error)}); fetch "
            "both again"
        ) from None
    check_shapes(params, config, path)
    return map_arrays(np.ascontiguousarray, params)


def check_shapes(params, config, path):
    """Raise ValueError for the first array of another shape than config's."""
    wanted = named_arrays(init_params(config, Zeros(), np.int8))
    for name, array in named_arrays(params).items():
        if array.shape != wanted[name].shape:
            raise ValueError(
                f"{path} does not fit its config.json: {name} is "
                f"{array.shape}, expected {wanted[name].shape}; fetch both "
                "again"
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"{path} holds NaN or infinity in {name}; fetch it again"
            )


class Zeros:
    """Draw nothing but zeros, which take no room."""

    def normal(self, mean, std, shape):
        """Return zeros of that shape."""
        return np.broadcast_to(np.int8(0), shape)


def llama_params(tensors, config):
    """Return our tree of Llama's tensors, under Hugging Face's names."""
    D = config.d_model // config.n_heads

    def block(i):
        def get(name):
            return tensors[f"layers.{i}.{name}.weight"]

        def linear(*matrices):
            return {"weight": np.concatenate(matrices, axis=1)}

        q, k, v, out = (get(f"self_attn.{n}_proj").T for n in "qkvo")
        gate, up, down = (
            get(f"mlp.{n}_proj").T for n in ("gate", "up", "down")
        )
        return {
            "norm1": {"weight": get("input_layernorm")},
            "attention": {
                "qkv": linear(to_pairs(q, D), to_pairs(k, D), v),
                "out": linear(out),
            },
            "norm2": {"weight": get("post_attention_layernorm")},
            "feed_forward": {"up": linear(gate, up), "down": linear(down)},
        }

    return {
        "token_embedding": {"weight": tensors["embed_tokens.weight"]},
        "blocks": [block(i) for i in range(config.n_layers)],
        "final_norm": {"weight": tensors["norm.weight"]},
    }


# the way back


def describe(config, end):
    """Return the config.json for a model that ends texts with the id end.

    Raises ValueError for a model that has no counterpart.
    """
    kind = {key: getattr(config, key) for key in LLAMA}
    both = {
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied_head,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": "float32",
    }
    if kind == LLAMA:
        return both | describe_llama(config)
    gpt2 = all(kind[key] == value for key, value in GPT2.items())
    if gpt2 and kind["activation"] != "swiglu" and config.n_kv_heads is None:
        return both | describe_gpt2(config)
    said = ", ".join(f"{key}={value!r}" for key, value in kind.items())
    raise ValueError(
        f"a model with {said}, n_kv_heads={config.n_kv_heads} has no "
        "counterpart at Hugging Face: GPT-2 has pre-norm, learned positions "
        "and gelu or relu, Llama rms, rope, swiglu and no biases"
    )


def describe_gpt2(config):
    """Return what a config.json says of a GPT-2 alone."""
    activation = "gelu_new" if config.activation == "gelu" else "relu"
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": config.max_seq_len,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "activation_function": activation,
        "layer_norm_epsilon": 1e-5,
    }


def describe_llama(config):
    """Return what a config.json says of a Llama alone."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "max_position_embeddings": config.max_seq_len,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads or config.n_heads,
        "intermediate_size": config.d_ff,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "attention_bias": False,
        "mlp_bias": False,
    }


def tensors_of(params, config):
    """Return {their name: array} of a model that describe has described."""
    make = gpt2_tensors if config.norm == "pre" else llama_tensors
    tensors = make(params, config)
    if not config.tied_head:
        tensors["lm_head.weight"] = params["head"]["weight"].T
    return tensors


class Names(dict):
    """Hold for each name the name itself."""

    def __missing__(self, name):
        return name


def gpt2_tensors(params, config):
    """Return GPT-2's tensors; a bias that we lack is zero.

    gpt2_params says which array has which name: of names it makes our tree.
    """
    names = named_arrays(gpt2_params(Names(), config))
    arrays, tensors = named_arrays(params), {}
    for ours, theirs in names.items():
        if ours not in arrays:  # a bias
            matrix = arrays[ours.removesuffix("bias") + "weight"]
            arrays[ours] = np.zeros(matrix.shape[1], matrix.dtype)
        tensors[f"transformer.{theirs}"] = arrays[ours]
    return tensors


def llama_tensors(params, config):
    """Return Llama's tensors, the channels of q and k in halves."""
    C, D = config.d_model, config.d_model // config.n_heads
    kv = D * (config.n_kv_heads or config.n_heads)
    tensors = {"model.embed_tokens.weight": params["token_embedding"]}
    tensors["model.norm.weight"] = params["final_norm"]
    tensors = {name: part["weight"] for name, part in tensors.items()}
    for i, block in enumerate(params["blocks"]):
        attention, feed = block["attention"], block["feed_forward"]
        qkv = attention["qkv"]["weight"]
        q, k, v = np.split(qkv, [C, C + kv], axis=1)
        gate, up = np.split(feed["up"]["weight"], 2, axis=1)
        matrices = {
            "self_attn.q_proj": to_halves(q, D),
            "self_attn.k_proj": to_halves(k, D),
            "self_attn.v_proj": v,
            "self_attn.o_proj": attention["out"]["weight"],
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": feed["down"]["weight"],
            "input_layernorm": block["norm1"]["weight"],
            "post_attention_layernorm": block["norm2"]["weight"],
        }
        for name, matrix in matrices.items():
            tensors[f"model.layers.{i}.{name}.weight"] = matrix.T
    return tensors
