"""Prove a gradient, say what is wrong with one, compare with the shelf."""

from helpers.checks.gradients import (
    VERDICTS,
    Mistake,
    Report,
    check_backward,
    check_numerically,
    must_fail,
    relative_error,
    try_backward,
    try_value,
)
from helpers.checks.optimizers import check_optimizer
from helpers.checks.shelf import (
    CELLS,
    compare_with_shelf,
    definitions,
    is_blank,
)

__all__ = [
    "CELLS",
    "VERDICTS",
    "Mistake",
    "Report",
    "check_backward",
    "check_numerically",
    "check_optimizer",
    "compare_with_shelf",
    "definitions",
    "is_blank",
    "must_fail",
    "relative_error",
    "try_backward",
    "try_value",
]
