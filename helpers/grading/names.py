"""Which names a cell binds, changes and needs: what has to run before what."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from dataclasses import dataclass, field
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager

STAR = "*"
RUNNING_MAGICS = ("time", "capture", "prun")


@dataclass(frozen=True)
class Names:
    """Names of one cell.

    Attributes:
        binds: assigned, defined or imported at the cell's top level.
        functions: those of them that a ``def`` or an import binds: using them changes nothing.
        stores: names whose attributes or items are assigned (``SAE.encode = …``, ``vectors[3] = …``, ``x += 1``).
        needs: names that the cell's top level reads.
        later: names that its functions and methods read when they are called.
        error: why the cell isn't Python, or "".
    """

    binds: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    error: str = ""


@dataclass
class _Found:
    binds: set[str] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)


@lru_cache(maxsize=4096)
def names_of(source: str) -> Names:
    """The names of a cell as IPython would run it, magics included."""
    try:
        code = TransformerManager().transform_cell(without_magics(source))
        tree = ast.parse(code)
        table = symtable.symtable(code, "<cell>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return Names(error=f"{type(error).__name__}" + (f" in line {line}" if line else ""))
    found = _Found()
    _walk(table, found, top=True)
    known = set(dir(builtins)) | {"get_ipython"}
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree)):
        found.binds.add(STAR)  # nobody knows what
    stores = _stores(tree)
    needs = (found.needs | stores) - known
    return Names(frozenset(found.binds), frozenset(_functions(tree)), frozenset(stores), frozenset(needs), frozenset(found.later - known - needs))


def without_magics(source: str) -> str:
    """The source without magics that run Python in the notebook's names, such as ``%%time``: what they run counts."""
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        source = rest if first[2:].split(" ")[0] in RUNNING_MAGICS else ""
    return re.sub(rf"^(\s*)%({'|'.join(RUNNING_MAGICS)})[ \t]+(?=\S)", r"\1", source, flags=re.M)


def _walk(table: symtable.SymbolTable, found: _Found, top: bool) -> None:
    for symbol in table.get_symbols():
        name = symbol.get_name()
        bound = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
        if table.get_type() == "module":
            if bound:
                found.binds.add(name)
            if symbol.is_referenced():
                found.needs.add(name)
        elif symbol.is_global():
            if symbol.is_declared_global() and symbol.is_assigned():
                found.binds.add(name)
            if symbol.is_referenced():
                (found.needs if top else found.later).add(name)
    for child in table.get_children():
        # a class's body, and a comprehension's, run at once; a function's when it is called
        at_once = child.get_type() == "class" or child.get_name() in ("listcomp", "setcomp", "dictcomp", "genexpr")
        _walk(child, found, top and at_once)


def _functions(tree: ast.Module) -> set[str]:
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    return found


def _stores(tree: ast.Module) -> set[str]:
    found = set()
    for node in _outside_functions(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
            root = node
            while isinstance(root, (ast.Attribute, ast.Subscript)):
                root = root.value
            if isinstance(root, ast.Name):
                found.add(root.id)
    return found


def _outside_functions(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _outside_functions(child)
