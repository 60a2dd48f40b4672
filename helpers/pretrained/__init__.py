"""Somebody else's weights, in and out: files, names, folders, the hub.

These modules import lessons' modules, and what lessons use of them by name is
looked up when it is asked for.
"""

from importlib import import_module

PLACES = {
    "LlamaTokenizer": "llama2c",
    "describe": "models",
    "export": "folders",
    "load_pretrained": "folders",
}


def __getattr__(name):
    """Return one of the names in PLACES from its module."""
    if name not in PLACES:
        raise AttributeError(f"helpers.pretrained has no {name}")
    return getattr(import_module(f"helpers.pretrained.{PLACES[name]}"), name)
