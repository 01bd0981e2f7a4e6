"""Find the names that a cell binds, changes and needs, which decide what has to run before what."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from IPython.core.inputtransformer2 import TransformerManager

STAR = "*"
# A cell may bind these, too. Until one does, they need no cell.
BUILTINS = frozenset(dir(builtins)) | {"get_ipython"}
RUNNING_MAGICS = ("time", "capture", "prun")
MOST_MAGICS = 100  # lines: IPython parses the whole cell again for each
# Calls whose value is never changed in place, so a cell that reads the value can't change it.
PLAIN_CALLS = {
    "device", "int", "float", "str", "bool", "len", "min", "max", "sum", "round", "range", "partial", "tuple",
    "frozenset",
}  # fmt: skip

# Importing these changes nothing that an answer depends on. A student's own module may do anything.
KNOWN_PACKAGES = sys.stdlib_module_names | {
    "torch", "numpy", "helpers", "matplotlib", "pandas", "scipy", "sklearn", "seaborn", "transformers",
    "transformer_lens", "einops", "jaxtyping", "tqdm",
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """The names of one cell.

    Attributes:
        binds: assigned, defined or imported at the cell's top level.
        objects: the bound names whose objects other cells may change in place: modules, lists, results of calls.
        stores: names whose attributes or items are assigned (``SAE.encode = …``, ``vectors[3] = …``, ``x += 1``).
        needs: names that the cell's top level reads, builtins included.
        later: names that its functions and methods read when they are called.
        error: why the cell isn't Python, or "".
    """

    binds: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
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
    """Return the names of a cell as IPython would run it, magics included."""
    if sum(line.lstrip().startswith(("!", "%")) for line in source.split("\n")) > MOST_MAGICS:
        return Names(error=f"more than {MOST_MAGICS} lines of magics")
    try:
        return _names(TransformerManager().transform_cell(without_magics(source)))
    except Exception as error:  # the parsers raise many types of errors, above all on hostile sources
        line = getattr(error, "lineno", None)
        return Names(error=type(error).__name__ + (f" in line {line}" if line else ""))


def _names(code: str) -> Names:
    tree = ast.parse(code)
    found = _Found()
    _walk(symtable.symtable(code, "<cell>", "exec"), found, top=True)
    outside = list(_outside_functions(tree))
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree)):
        found.binds.add(STAR)  # binds names that can't be known here
    stores = set(_stores(outside))
    needs = found.needs | stores
    return Names(
        frozenset(found.binds),
        frozenset(_objects(outside)),
        frozenset(stores),
        frozenset(needs),
        frozenset(found.later - needs),
    )


def without_magics(source: str) -> str:
    """Return the source without magics such as ``%%time`` that run Python in the notebook; that Python stays."""
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        source = rest if first[2:].split(" ")[0] in RUNNING_MAGICS else ""
    options = r"(?:-\w+(?:[ \t]+\d+)?[ \t]+)*"
    return re.sub(rf"^(\s*)%(?:{'|'.join(RUNNING_MAGICS)})[ \t]+{options}(?=\S)", r"\1", source, flags=re.M)


@lru_cache(maxsize=4096)
def has_effects(source: str) -> bool:
    """Return whether a cell may do more than bind its names to functions, classes, constants and known packages."""
    try:
        return any(map(_has_effect, ast.parse(TransformerManager().transform_cell(source)).body))
    except Exception:  # as in names_of; such a cell doesn't run
        return False


def _has_effect(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return bool(statement.decorator_list)
    if isinstance(statement, ast.ClassDef):
        return bool(statement.decorator_list or statement.keywords) or any(map(_has_effect, statement.body))
    if isinstance(statement, ast.Import):
        return any(alias.name.split(".")[0] not in KNOWN_PACKAGES for alias in statement.names)
    if isinstance(statement, ast.ImportFrom):
        return (statement.module or "").split(".")[0] not in KNOWN_PACKAGES
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        plain = statement.value is None or isinstance(statement.value, ast.Constant)
        return not plain or not all(isinstance(target, ast.Name) for target in targets)
    return not isinstance(statement, ast.Pass) and not (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


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
        # The body of a class or comprehension runs at once, the body of a function only when it is called.
        at_once = child.get_type() == "class" or child.get_name() in ("listcomp", "setcomp", "dictcomp", "genexpr")
        _walk(child, found, top and at_once)


def _outside_functions(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield every node outside functions. Decorators count as outside."""
    rest: list[ast.AST] = [tree]
    while rest:
        node = rest.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            rest += node.decorator_list
        elif not isinstance(node, ast.Lambda):
            rest += ast.iter_child_nodes(node)


def _stores(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
            yield from _root(node)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr.endswith("_")
            and node.func.attr[0] != "_"
        ):
            yield from _root(node.func.value)  # torch's in-place methods
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr" and node.args:
            yield from _root(node.args[0])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            calls = (decorator for decorator in node.decorator_list if isinstance(decorator, ast.Call))
            yield from (argument.id for call in calls for argument in call.args if isinstance(argument, ast.Name))


def _root(node: ast.AST) -> Iterator[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _objects(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the names that are assigned an object that other cells may change in place."""
    for node in nodes:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            targets = [node.target]
        else:
            continue
        if node.value is not None and not _is_plain(node.value):
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def _is_plain(value: ast.AST) -> bool:
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return name in PLAIN_CALLS
    if isinstance(value, ast.IfExp):
        return _is_plain(value.body) and _is_plain(value.orelse)
    if isinstance(value, ast.Tuple):
        return all(map(_is_plain, value.elts))
    return isinstance(
        value, (ast.Constant, ast.UnaryOp, ast.BinOp, ast.Compare, ast.BoolOp, ast.JoinedStr, ast.Lambda, ast.Attribute)
    )
