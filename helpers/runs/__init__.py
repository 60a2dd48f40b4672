"""What makes a long run safe and fast, and what lessons use of it by name.

The lessons' modules import some of these modules, and others of these import
the lessons' modules; so each name below is looked up when it is asked for.
"""

from helpers import by_name

PLACES = {
    "batch_loss_and_grads": "speed",
    "checked": "doors",
    "check_finite": "guards",
    "load_run": "checkpoints",
    "map_arrays": "params",
    "named_arrays": "params",
    "one_blas_thread": "speed",
    "save_run": "checkpoints",
    "token_nats": "scoring",
    "train": "loop",
    "zeros_like": "params",
}
__getattr__ = by_name(__name__, PLACES)
