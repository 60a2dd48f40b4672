"""Compare functions by their syntax trees, whatever their names are.

Support code. Two notebooks with the same trees are a hint to look, and no
verdict: a lesson that leads to one formula leads many to the same lines. So
only trees that few of a class share are counted.
"""

import ast
import hashlib
from itertools import combinations

from helpers.checks.cells import functions

SMALLEST = 30  # nodes: shorter functions are all alike
FEW = 3  # students who share a tree that tells something
ENOUGH = 3  # such trees that two students share


def tree_of(sources, name):
    """Return the digest of a function's tree, None for a short one.

    Names that it binds itself are numbered in the order they come; its
    docstring does not count.
    """
    found = None
    for source in sources:
        found = functions(source).get(name, found)
    if found is None:
        return None
    tree = ast.parse(ast.unparse(found))
    function = tree.body[0]
    if ast.get_docstring(function) is not None:
        del function.body[0]
    nodes = list(ast.walk(tree))
    if len(nodes) < SMALLEST:
        return None
    return hashlib.sha256(number(nodes, tree).encode()).hexdigest()[:16]


def number(nodes, tree):
    """Return the text of a tree with its own names numbered."""
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
    numbers = {}
    for node in nodes:
        key = "arg" if isinstance(node, ast.arg) else "id"
        name = getattr(node, key, None)
        if name in bound:
            setattr(node, key, str(numbers.setdefault(name, len(numbers))))
    return ast.dump(tree)


def alike(results):
    """Return [(student, student, lesson, functions)] of those to look at."""
    holders = {}
    for result in results:
        for name, tree in result.trees.items():
            key = result.lesson, name, tree
            holders.setdefault(key, []).append(result.student)
    shared = {}
    for (lesson, name, _), students in holders.items():
        if 2 <= len(students) <= FEW:
            for pair in combinations(sorted(students), 2):
                shared.setdefault((*pair, lesson), []).append(name)
    found = [(*k, n) for k, n in shared.items() if len(n) >= ENOUGH]
    return sorted(found, key=lambda row: (-len(row[3]), row))
