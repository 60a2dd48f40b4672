"""Make wrong versions of a function, by changes in the shelf's source.

Support code, for the causes of functions that are loops and not formulas.
"""

import contextlib
import copy
import inspect
import sys
from functools import cache

import numpy as np


def altered(function, rows, arguments, settings=None, use=None):
    """Yield (clause, what comes out) for each row.

    rows: (text in the source of function, what stands in its place, clause);
    use: what calls the function, as in the cases. A row whose text is no
    longer there, or that raises an error, yields nothing.
    """
    for old, new, clause in rows:
        given = copy.deepcopy((arguments, settings or {}))
        with contextlib.suppress(Exception), np.errstate(all="ignore"):
            wrong = alter(function, old, new)
            if use:
                result = use(wrong, *given[0], **given[1])
            else:
                result = wrong(*given[0], **given[1])
            yield clause, result


@cache
def alter(function, old, new):
    """Return a function or class with one change in its source."""
    source = inspect.getsource(function)
    if source.count(old) != 1:
        raise ValueError(f"{function.__name__} has no single {old!r}")
    world = dict(vars(sys.modules[function.__module__]))
    exec(source.replace(old, new), world)
    return world[function.__name__]
