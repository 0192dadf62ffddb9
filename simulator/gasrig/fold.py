"""Folds integer constants across the modules of a firmware build, as ``const()`` does within one.

MicroPython's compiler puts in the value of a constant only where it is defined. A board pays for every other use with
an import, a name in the heap and a look-up. Here the names go and the numbers stay; with them go what only CPython
and the type checker read, the ``const`` shim and the ``TYPE_CHECKING`` blocks. Everything else is left as it was
written. The modules folded together belong together: a module outside them cannot import a folded constant.
"""

import ast
import re
from collections.abc import Sequence

__all__ = ["FoldError", "fold"]

_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")


class FoldError(Exception):
    """A module uses the name of a constant for something else; the text says which and where."""


def fold(sources: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Fold modules given as (path below the root, text); the new text of each, by path.

    FoldError if a function or a loop assigns to the name of a constant: the number would take its place.
    """
    trees = {_module(path): ast.parse(text, path) for path, text in sources}
    constants = _Constants(trees)
    return {path: _folded(trees[_module(path)], _module(path), constants) for path, _ in sources}


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


class _Constants:
    """The integer constants of all modules, each worked out when it is first asked for."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.of: dict[str, dict[str, int]] = {}
        self._trees = trees
        for module in trees:
            self.module(module)

    def module(self, name: str) -> dict[str, int]:
        """Name to value of the constants ``name`` defines itself."""
        if name in self.of or name not in self._trees:
            return self.of.get(name, {})
        own = self.of[name] = {}
        known: dict[str, int] = {}
        for statement in self._trees[name].body:
            if isinstance(statement, ast.ImportFrom) and statement.module in self._trees:
                theirs = self.module(statement.module)
                known |= {a.asname or a.name: theirs[a.name] for a in statement.names if a.name in theirs}
            target = _assigned(statement)
            if target is not None and isinstance(statement, ast.Assign):
                value = _value(statement.value, known)
                if target in own:
                    raise FoldError(f"{name}, line {statement.lineno}: {target} is a constant and assigned to")
                if value is not None:
                    own[target] = known[target] = value
        return own


def _assigned(statement: ast.stmt) -> str | None:
    """The constant's name a top-level ``NAME = ...`` defines."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name) and _CONSTANT.fullmatch(target.id) and target.id != "TYPE_CHECKING":
            return target.id
    return None


def _value(expression: ast.expr, known: dict[str, int]) -> int | None:
    """The integer an expression of literals, known constants and ``const()`` stands for, else None."""
    if isinstance(expression, ast.Call):
        named = isinstance(expression.func, ast.Name) and expression.func.id == "const"
        return _value(expression.args[0], known) if named else None
    allowed = (ast.Constant, ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    if not all(isinstance(node, allowed) for node in ast.walk(expression)):
        return None
    if any(isinstance(node, ast.Name) and node.id not in known for node in ast.walk(expression)):
        return None
    value = eval(compile(ast.Expression(expression), "constant", "eval"), {"__builtins__": {}}, known)
    return value if type(value) is int else None


def _folded(tree: ast.Module, name: str, constants: _Constants) -> str:
    names = dict(constants.of[name])
    modules = {}
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                here = alias.asname or alias.name
                if alias.name in constants.of.get(statement.module, {}):
                    names[here] = constants.of[statement.module][alias.name]
                elif f"{statement.module}.{alias.name}" in constants.of:
                    modules[here] = constants.of[f"{statement.module}.{alias.name}"]
    folder = _Folder(name, names, modules)
    body = [folder.visit(s) for s in tree.body if not (_host_only(s) or _assigned(s) in constants.of[name])]
    body = [statement for statement in body if statement is not None]
    used = {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    kept = []
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            # What a module was imported for may have become numbers.
            gone = [a for a in statement.names if (a.asname or a.name) in modules and (a.asname or a.name) not in used]
            statement.names = [a for a in statement.names if a not in gone and (a.asname or a.name) not in names]
            if not statement.names:
                continue
        kept.append(statement)
    return ast.unparse(ast.fix_missing_locations(ast.Module(kept, []))) + "\n"


def _host_only(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Try):
        first = statement.body[0]
        return isinstance(first, ast.ImportFrom) and first.module == "micropython" and first.names[0].name == "const"
    if isinstance(statement, ast.If):
        return isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
    if isinstance(statement, ast.Assign):
        return isinstance(statement.targets[0], ast.Name) and statement.targets[0].id == "TYPE_CHECKING"
    return False


def _row(node: ast.expr) -> tuple[str, int] | None:
    """The name and kind of a table's row, None if it is something else."""
    if not isinstance(node, ast.Tuple) or len(node.elts) != 2:
        return None
    name, kind = [element.value if isinstance(element, ast.Constant) else None for element in node.elts]
    return (name, kind) if isinstance(name, str) and type(kind) is int else None


class _Folder(ast.NodeTransformer):
    def __init__(self, module: str, names: dict[str, int], modules: dict[str, dict[str, int]]) -> None:
        self._module = module
        self._names = names
        self._modules = modules

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._names:
            return node
        if not isinstance(node.ctx, ast.Load):
            raise FoldError(f"{self._module}, line {node.lineno}: {node.id} is a constant and assigned to")
        return ast.Constant(self._names[node.id])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        rows = [_row(argument) for argument in node.args]
        if rows and isinstance(node.func, ast.Name) and node.func.id == "Layout" and None not in rows:
            # A record table. As rows each would cost a call and a tuple, and as constant tuples the .mpy would keep a
            # string of its own for each name; as an argument it is the one name the VM interns.
            table = [row for row in rows if row is not None]
            names: list[ast.expr] = [ast.Constant(name) for name, _ in table]
            node.args = [*names, ast.Constant(bytes([kind for _, kind in table]))]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.attr in self._modules.get(node.value.id, {}):
            return ast.Constant(self._modules[node.value.id][node.attr])
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        if node.arg in self._names:
            raise FoldError(f"{self._module}, line {node.lineno}: {node.arg} is a constant and an argument")
        return node
