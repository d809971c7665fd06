"""Names of the sections of a recipe file: one that no call would ever use is refused, with what was probably meant.

A plug-in's name is one quoted key (``["my.pkg:MyRNN"]``, ``[search."my.pkg:MyRNN"]``). A section of a plug-in whose
module is not here may stand in a file that several people share; nothing is imported to find out.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
import symtable
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from suite.errors import UsageError, unknown
from suite.names import is_known, resolve
from suite.names import table as names

PRESETS = ("quick",)
NESTED = ("tuned", "search")
NEAR = 0.85  # of difflib: a letter more or less, not another person's package
_LEAD = re.compile(rf"(?:(?:{'|'.join((*PRESETS, *NESTED))})\.)+")
_HEADER = re.compile(rf"\s*\[\s*({_LEAD.pattern})?([\w.-]+:[\w.]+?)(\.sources)?\s*\]")
_DYNAMIC = re.compile(r"import\s*\(?\s*\*|__getattr__|\bglobal\b|sys\.modules|\b(globals|vars|setattr|exec|eval)\(")


def quoted(name: str) -> str:
    """A name as a recipe file spells it: a plug-in's in quotes."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name, ensure_ascii=False)


def unquoted(text: str, error: Exception) -> str:
    """What a syntax error leaves unsaid where a plug-in's name stands without quotes; else nothing."""
    line = re.search(r"at line (\d+)", str(error))
    found = _HEADER.match(text.split("\n")[int(line[1]) - 1]) if line else None
    if found is None:
        return ""
    return f": a plug-in's name is quoted: wanted [{found[1] or ''}{quoted(found[2])}{found[3] or ''}]"


def check(path: Path, data: Mapping[str, Any]) -> None:
    """Refuse a section of no model: misspelt, it would be passed over in silence.

    Raises:
        UsageError: a name that is neither a model's nor a plug-in's, a plug-in's class that its module does not have,
            more than a plug-in's name inside the quotes.
    """
    for prefix, table in _places(data):
        own = ("default", *NESTED, *(PRESETS if not prefix else ("task",)))
        for name in table:
            known = name in own or (":" not in name and is_known("model", name))
            if not known and (trouble := _trouble(prefix, name, own)):
                raise UsageError(f"recipe {path}: [{prefix}{quoted(name)}]: {trouble}")


def check_near(path: Path, prefix: str, table: Mapping[str, Any], model: str) -> None:
    """Refuse a section whose name is nearly the one of a plug-in that has none, and whose module is not here.

    Args:
        path: the recipe file.
        prefix: where the sections stand: nothing, ``quick.``, ``search.`` or so.
        table: the sections there.
        model: the model that a call uses.

    Raises:
        UsageError: naming both.
    """
    if ":" not in model or model in table:
        return
    others = [name for name in table if ":" in name and _defined(name.partition(":")[0]) is None]
    for name in difflib.get_close_matches(model, others, n=1, cutoff=NEAR):
        raise UsageError(
            f"recipe {path}: [{prefix}{quoted(name)}]: its class was not found: did you mean "
            f"[{prefix}{quoted(model)}]? If both are meant, add that one too; it may be empty"
        )


def _places(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables that hold sections, with what stands before the names of these."""
    tops = [("", data), *((f"{one}.", data[one]) for one in PRESETS if isinstance(data.get(one), dict))]
    yield from tops
    for prefix, table in tops:
        yield from ((f"{prefix}{one}.", table[one]) for one in NESTED if isinstance(table.get(one), dict))


def _trouble(prefix: str, name: str, own: tuple[str, ...]) -> str:
    """What is wrong with the name of a section; nothing where it may be a plug-in's."""
    known = _defined(name.partition(":")[0]) if ":" in name else None
    if known is None and (lead := _LEAD.match(name)):
        words = "" if prefix.endswith(tuple(f"{one}." for one in NESTED)) else lead[0].removeprefix(prefix)
        return f"one quoted name, of no model: wanted [{prefix}{words}{quoted(name[lead.end() :])}]"
    if ":" not in name:
        return unknown("(or not installed) model", name, [*names("model"), *own])
    module, _, attribute = name.partition(":")
    if attribute.endswith(".sources"):
        return f"one quoted name, of no model: wanted [{prefix}{quoted(name.removesuffix('.sources'))}.sources]"
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        return "wanted a model's name or my.pkg:MyRNN in quotes"
    return "" if known is None else _lacking(prefix, module, attribute, known)


def _lacking(prefix: str, module: str, attribute: str, known: set[str]) -> str:
    """What is wrong with a plug-in whose module is here."""
    if attribute not in known:
        plain = {one.casefold(): one for one in sorted(known)}
        near = difflib.get_close_matches(attribute.casefold(), plain, n=1, cutoff=0.5)
        hint = f": did you mean [{prefix}{quoted(f'{module}:{plain[near[0]]}')}]?" if near else ""
        return f"module {module} has no {attribute}{hint}"
    if module in sys.modules and "models.contract" in sys.modules:
        try:
            resolve("model", f"{module}:{attribute}")
        except UsageError as error:
            return str(error)
    return ""


def _defined(module: str) -> set[str] | None:
    """The names that a module has, read off its text unless it is imported; None where that cannot be told."""
    if module in sys.modules:
        held = sys.modules[module]
        return None if hasattr(held, "__getattr__") else set(dir(held))
    spec = _spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        text = Path(spec.origin).read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            symbols = symtable.symtable(text, spec.origin, "exec").get_symbols()
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    if _DYNAMIC.search(text):
        return None
    return {one.get_name() for one in symbols if one.is_assigned() or one.is_imported() or one.is_namespace()}


def _spec(module: str) -> ModuleSpec | None:
    """Where a module would come from; unlike with importlib alone, its packages are not imported to find out."""
    parts = module.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
        for k in range(1, len(parts)):
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(".".join(parts[: k + 1]), list(spec.submodule_search_locations))
    except (ImportError, ValueError, AttributeError, OSError):
        return None
    return spec
