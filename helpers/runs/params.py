"""Walk the nested dicts that hold parameters, gradients and caches.

Support code, not built in a lesson: a tree is a dict or list of trees, or a
NumPy array. Arrays are named by their path, such as "blocks.0.norm1.weight".
"""

import numpy as np


def named_arrays(tree, prefix=""):
    """Return {path: array} for every array of a tree, in a fixed order."""
    if not isinstance(tree, dict | list):
        return {prefix: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    named = {}
    for key, branch in items:
        path = f"{prefix}.{key}" if prefix else str(key)
        named.update(named_arrays(branch, path))
    return named


def zeros_like(named):
    """Return zeros of the same shapes and dtypes under the same names."""
    return {name: np.zeros_like(array) for name, array in named.items()}


def map_arrays(function, tree):
    """Return a tree of the same form with function applied to each array."""
    if isinstance(tree, dict):
        return {key: map_arrays(function, part) for key, part in tree.items()}
    if isinstance(tree, list):
        return [map_arrays(function, part) for part in tree]
    return function(tree)


def attention_weights(cache):
    """Return the weights (n_layers, B, H, T, T) in language_model's cache."""
    layers = []
    for block in cache["blocks"]:
        q, k, v, weights, scale = block["attention"]["sublayer"]["heads"]
        layers.append(weights)
    return np.array(layers)


def flat_like(tree):
    """Return a vector of zeros and a tree of views of it, formed like tree.

    One pass over the vector is one over every array.
    """
    arrays = list(named_arrays(tree).values())
    vector = np.zeros(sum(a.size for a in arrays), arrays[0].dtype)
    ends = np.cumsum([a.size for a in arrays])
    parts = iter(np.split(vector, ends[:-1]))
    return vector, map_arrays(lambda a: next(parts).reshape(a.shape), tree)
