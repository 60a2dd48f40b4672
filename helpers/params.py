"""Walk the nested dicts that hold parameters and gradients.

Support code, not built in a lesson: a tree is a dict or list of trees, or a
NumPy array. Arrays are named by their path, such as "blocks.0.norm1.weight".
"""


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


def map_arrays(function, tree):
    """Return a tree of the same form with function applied to each array."""
    if isinstance(tree, dict):
        return {key: map_arrays(function, part) for key, part in tree.items()}
    if isinstance(tree, list):
        return [map_arrays(function, part) for part in tree]
    return function(tree)
