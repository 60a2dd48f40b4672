"""Prove a gradient, say what is wrong with one, compare with the shelf."""

from helpers.checks import torch_ops
from helpers.checks.blanks import check
from helpers.checks.gradients import (
    VERDICTS,
    Report,
    check_backward,
    check_numerically,
    must_fail,
    try_backward,
    try_value,
)
from helpers.checks.notes import note
from helpers.checks.optimizers import check_optimizer
from helpers.checks.shelf import (
    CELLS,
    compare_with_shelf,
    definitions,
    is_blank,
)
from helpers.checks.verdicts import Mistake, relative_error

__all__ = [
    "CELLS",
    "VERDICTS",
    "Mistake",
    "Report",
    "check",
    "check_backward",
    "check_numerically",
    "check_optimizer",
    "compare_with_shelf",
    "definitions",
    "is_blank",
    "must_fail",
    "note",
    "relative_error",
    "torch_ops",
    "try_backward",
    "try_value",
]
