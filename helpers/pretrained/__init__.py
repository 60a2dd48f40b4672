"""Somebody else's weights, in and out: files, names, folders, the hub.

These modules import lessons' modules, and what lessons use of them by name is
looked up when it is asked for.
"""

from helpers import by_name

PLACES = {
    "LlamaTokenizer": "llama2c",
    "describe": "models",
    "export": "folders",
    "load_pretrained": "folders",
}
__getattr__ = by_name(__name__, PLACES)
