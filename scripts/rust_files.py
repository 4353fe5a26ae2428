"""Which file of a Rust crate takes which names from which other file.

The source is read as tokens. Unlike text, they keep strings and comments apart
from code; unlike a syntax tree, they show what is inside the arguments of
macros. Names are resolved through modules, imports and re-exports to the file
that defines them. Code that is compiled only for tests is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LEXEME = re.compile(
    r"""
    (?P<space> \s+ | //[^\n]* )
  | (?P<comment> /\* )
  | (?P<string> [bc]?r(?P<hashes>\#*)".*?"(?P=hashes) | [bc]?"(?:\\.|[^"\\])*" )
  | (?P<char> b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'])' )
  | (?P<lifetime> '\w+ )
  | (?P<name> (?:r\#)?[^\W\d]\w* )
  | (?P<number> \d\w* )
  | (?P<sign> :: | \.\.\.|\.\.=|\.\. | . )
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")
CLOSING = {"(": ")", "[": "]", "{": "}"}

DEFINING = {"fn", "struct", "enum", "union", "trait", "type", "const", "static"}
ENDS_WITH_SEMICOLON = {"use", "const", "static", "let", "type"}
ENDS_WITH_BODY = {"fn", "struct", "enum", "union", "trait", "impl", "mod", "macro_rules", "extern"}
QUOTED_PATH = re.compile(r'"(\w+(?:::\w+)+)"')


class Unreadable(Exception):
    """A file is missing or is not valid Rust; the text names the file and place."""


@dataclass(frozen=True)
class Token:
    """A word, a sign, or a pair of brackets with what is inside."""

    kind: str
    text: str
    line: int
    inside: tuple[Token, ...] = ()

    def is_group(self, opening: str) -> bool:
        return self.kind == "group" and self.text == opening


Tokens = tuple[Token, ...]
END = Token("end", "", 0)


@dataclass(frozen=True, eq=False)
class Import:
    """One name that a `use` brings in; a glob has `None`."""

    path: tuple[str, ...]
    name: str | None
    line: int
    exported: bool


@dataclass(eq=False)
class Scope:
    """A module or a block, and its own imports."""

    module: Module
    outer: Scope | None = None
    imports: list[Import] = field(default_factory=list)


@dataclass(eq=False)
class Module(Scope):
    """A module; `folder` is where the files of its children are."""

    module: Module = field(init=False)
    file: Path = Path()
    folder: Path = Path()
    parent: Module | None = None
    children: dict[str, Module] = field(default_factory=dict)
    items: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.module = self

    def has_own_file(self) -> bool:
        return self.parent is None or self.parent.file != self.file


@dataclass(frozen=True)
class Item:
    """A definition that is not a module, and where it is."""

    module: Module
    name: str


@dataclass(frozen=True, order=True)
class Arrow:
    """One file takes a name from another one, first in this line."""

    source: Path
    target: Path
    name: str
    line: int


class Crate:
    """The files that the `mod` declarations of a crate's root lead to;
    `parents` has the file that declares each."""

    def __init__(self, name: str, root: Path):
        self.name = name
        self.parents: dict[Path, Path | None] = {}
        self._root = Module(file=root, folder=root.parent)
        self._scopes: list[Scope] = []
        self._mentions: dict[tuple[Scope, tuple[str, ...], bool], int] = {}
        self._macros: dict[str, list[Module]] = {}
        self._exported_macros: dict[str, Module] = {}
        self._read_file(self._root)

    def arrows(self) -> list[Arrow]:
        """Every name that a file takes from another file."""
        lines: dict[tuple[Path, Path, str], int] = {}

        def add(scope: Scope, target: Module, name: str, line: int) -> None:
            if target.file != scope.module.file:
                arrow = (scope.module.file, target.file, name)
                lines[arrow] = min(line, lines.get(arrow, line))

        for scope in self._scopes:
            for one in scope.imports:
                target = self._locate(scope, one.path, (one,))
                if isinstance(target, Item):
                    add(scope, target.module, target.name, one.line)
                elif target and one.exported and (one.name is None or target.parent is not scope.module):
                    add(scope, target, one.name or "*", one.line)
                # Any other import of a module counts where a path starts with it.
        for (scope, path, is_macro), line in self._mentions.items():
            target = self._locate(scope, path)
            if target is None and is_macro and len(path) == 1:
                target = self._macro_without_import(scope.module, path[0])
            if isinstance(target, Item):
                add(scope, target.module, target.name, line)
        return sorted(Arrow(*arrow, line) for arrow, line in lines.items())

    # Reading

    def _read_file(self, module: Module) -> None:
        try:
            tokens = read_tokens(module.file.read_text())
        except (OSError, UnicodeDecodeError, Unreadable) as error:
            raise Unreadable(f"{module.file}: {error}") from error
        self._read(tokens, module)

    def _read(self, tokens: Tokens, scope: Scope) -> None:
        """Collects what a module or block imports, defines and mentions."""
        if is_all_test_only(tokens):
            return
        module = scope.module
        self.parents.setdefault(module.file, module.parent.file if module.parent else None)
        self._scopes.append(scope)
        self._read_on(tokens, scope)

    def _read_on(self, tokens: Tokens, scope: Scope) -> None:
        position = 0
        while position < len(tokens):
            attributes, position = attributes_at(tokens, position)
            if any(map(is_test_only, attributes)):
                position = end_of_item(tokens, position)
                continue
            for attribute in attributes:
                self._read_attribute(attribute, scope)
            exported, position = visibility_at(tokens, position)
            if position < len(tokens):
                position = self._read_one(tokens, position, scope, attributes, exported)

    def _read_one(
        self, tokens: Tokens, position: int, scope: Scope, attributes: list[Token], exported: bool
    ) -> int:
        """Reads the item, path or sign that begins here; returns where the next one begins."""
        token = tokens[position]
        after, then = (*tokens[position + 1 : position + 3], END, END)[:2]
        if token.is_group("{"):
            self._read(token.inside, Scope(scope.module, scope))
        elif token.kind == "group":
            self._read_on(token.inside, scope)
        elif token.text == "use" and after.text != "<":
            end = next((n for n in range(position, len(tokens)) if tokens[n].text == ";"), len(tokens))
            scope.imports += imports_of(tokens[position + 1 : end], (), exported)
            return end
        elif token.text == "mod" and after.kind == "name":
            self._read_module(after.text.removeprefix("r#"), then, scope.module, attributes)
            return position + 3
        elif token.text == "macro_rules" and after.text == "!" and then.kind == "name":
            scope.module.items.add(then.text)
            self._macros.setdefault(then.text, []).append(scope.module)
            if any(one.inside[0].text == "macro_export" for one in attributes):
                self._exported_macros[then.text] = scope.module
            return position + 3
        elif token.kind == "name" or token.text == "::":
            if token.text in DEFINING and scope is scope.module:
                scope.module.items.add((then if after.text == "mut" else after).text)
            return self._read_path(tokens, position, scope)
        return position + 1

    def _read_attribute(self, attribute: Token, scope: Scope) -> None:
        """Collects its paths, also those in strings: `#[serde(with = "crate::x")]`."""
        if attribute.inside[0].text == "doc":
            return
        self._read_on(attribute.inside, scope)
        for token in all_tokens(attribute.inside):
            if quoted := QUOTED_PATH.fullmatch(token.text):
                self._mention(scope, tuple(quoted[1].split("::")), token.line)

    def _read_module(self, name: str, body: Token, parent: Module, attributes: list[Token]) -> None:
        named = next((path for path in map(named_file, attributes) if path), None)
        module = Module(file=parent.file, folder=parent.folder / (named or name), parent=parent)
        parent.children[name] = module
        if body.is_group("{"):
            self._read(body.inside, module)
            return
        if named:
            module.file = (parent.file.parent if parent.has_own_file() else parent.folder) / named
            module.folder = module.file.parent
        else:
            beside, within = parent.folder / f"{name}.rs", parent.folder / name / "mod.rs"
            module.file = within if within.exists() and not beside.exists() else beside
        self._read_file(module)

    def _read_path(self, tokens: Tokens, position: int, scope: Scope) -> int:
        """Reads the path that begins here; returns where it ends."""
        from_elsewhere = tokens[position].text == "::"
        end = position + from_elsewhere
        path: list[str] = []
        while end < len(tokens) and tokens[end].kind == "name":
            path.append(tokens[end].text.removeprefix("r#"))
            end += 1
            if end + 1 >= len(tokens) or tokens[end].text != "::" or tokens[end + 1].kind != "name":
                break
            end += 1
        # `::a` is another crate's or belongs to the type before it, `.a` is a field or a method.
        if not from_elsewhere and not (position and tokens[position - 1].text == "."):
            is_macro = end < len(tokens) and tokens[end].text == "!"
            self._mention(scope, tuple(path), tokens[position].line, is_macro)
        return end

    def _mention(self, scope: Scope, path: tuple[str, ...], line: int, is_macro: bool = False) -> None:
        self._mentions.setdefault((scope, path, is_macro), line)

    # Resolving

    def _locate(
        self, scope: Scope, path: tuple[str, ...], seen: tuple = (), leads_on: bool = False
    ) -> Module | Item | None:
        """The target of a path; None for other crates and for local names.
        A path that leads on is only the beginning of one."""
        first, *rest = path
        current: Module | Item | None
        if first == "crate":
            current = self._root
        elif first == "self":
            current = scope.module
        elif first == "super":
            current = scope.module.parent
        else:
            current = self._in_scope(scope, first, bool(rest) or leads_on, seen)
        for number, name in enumerate(rest, start=1):
            if not isinstance(current, Module):
                break
            if name == "super":
                current = current.parent
            elif name != "self":
                # A name that is not found is defined by a macro call in that module.
                further = number < len(rest) or leads_on
                current = self._member(current, name, further, seen) or Item(current, name)
        return current

    def _in_scope(self, scope: Scope | None, name: str, leads_on: bool, seen: tuple) -> Module | Item | None:
        while scope and scope is not scope.module:
            found = self._imported(scope, name, leads_on, seen)
            if found:
                return found
            scope = scope.outer
        return self._member(scope, name, leads_on, seen) if scope else None

    def _member(self, module: Module, name: str, leads_on: bool, seen: tuple) -> Module | Item | None:
        """A name in a module. A child module and an item may share it; a path
        that leads on goes through the child."""
        if (module, name, leads_on) in seen:
            return None
        seen = (*seen, (module, name, leads_on))
        child = module.children.get(name)
        if child and leads_on:
            return child
        if name in module.items:
            return Item(module, name)
        if module is self._root and name in self._exported_macros:
            return Item(self._exported_macros[name], name)
        return self._imported(module, name, leads_on, seen) or child

    def _imported(self, scope: Scope, name: str, leads_on: bool, seen: tuple) -> Module | Item | None:
        named = [one for one in scope.imports if one.name == name and one not in seen]
        found = [self._locate(scope, one.path, (*seen, one), leads_on) for one in named]
        found = [target for target in found if target]
        if found:
            return next((target for target in found if isinstance(target, Module) is leads_on), found[0])
        for one in scope.imports:
            if one.name is None and one not in seen:
                origin = self._locate(scope, one.path, (*seen, one))
                if isinstance(origin, Module) and (target := self._member(origin, name, leads_on, (*seen, one))):
                    return target
        return None

    def _macro_without_import(self, module: Module | None, name: str) -> Item | None:
        """A macro of a module around this one, or else the only one of its name."""
        defining = self._macros.get(name, [])
        while module and module not in defining:
            module = module.parent
        if not module and len(defining) == 1:
            module = defining[0]
        return Item(module, name) if module else None


def read_tokens(text: str) -> Tokens:
    """The tokens of a source text, brackets paired."""
    stack: list[tuple[Token, list[Token]]] = [(Token("group", "", 1), [])]
    position, line = 0, 1
    while position < len(text):
        lexeme = LEXEME.match(text, position)
        assert lexeme and lexeme.lastgroup, "any character is a sign"
        end, kind, word = lexeme.end(), lexeme.lastgroup, lexeme[0]
        if kind == "comment":
            end = end_of_comment(text, position)
        elif word in CLOSING and kind == "sign":
            stack.append((Token("group", word, line), []))
        elif word in CLOSING.values() and kind == "sign":
            opening, inside = stack.pop()
            if CLOSING.get(opening.text) != word:
                raise Unreadable(f"line {line}: {word} closes nothing")
            stack[-1][1].append(Token("group", opening.text, opening.line, tuple(inside)))
        elif kind != "space":
            stack[-1][1].append(Token(kind, word, line))
        line += text.count("\n", position, end)
        position = end
    if len(stack) > 1:
        raise Unreadable(f"line {stack[-1][0].line}: {stack[-1][0].text} is not closed")
    return tuple(stack[0][1])


def end_of_comment(text: str, position: int) -> int:
    """Where a block comment ends, those inside it included."""
    depth = 0
    for edge in COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def imports_of(tokens: Tokens, prefix: tuple[str, ...], exported: bool) -> Iterator[Import]:
    """The names of a use tree."""
    path, line = list(prefix), tokens[0].line if tokens else 0
    for number, token in enumerate(tokens):
        if token.is_group("{"):
            for branch in split_at_commas(token.inside):
                yield from imports_of(branch, tuple(path), exported)
            return
        if token.text == "*":
            yield Import(tuple(path), None, token.line, exported)
            return
        if token.text == "as":
            yield Import(tuple(path), tokens[number + 1].text, line, exported)
            return
        if token.kind == "name" and not (token.text == "self" and path):
            path.append(token.text.removeprefix("r#"))
            line = token.line
        elif token.text == "::" and number == 0 and not prefix:
            return  # from another crate
    if path:
        yield Import(tuple(path), path[-1], line, exported)


def split_at_commas(tokens: Tokens) -> Iterator[Tokens]:
    """The parts of a list that are not empty."""
    part: list[Token] = []
    for token in (*tokens, Token("sign", ",", 0)):
        if token.text != ",":
            part.append(token)
        elif part:
            yield tuple(part)
            part = []


def attributes_at(tokens: Tokens, position: int) -> tuple[list[Token], int]:
    """The attributes that stand here, and where they end."""
    attributes = []
    while [token.text for token in tokens[position : position + 2]] == ["#", "["]:
        attributes.append(tokens[position + 1])
        position += 2
    return [one for one in attributes if one.inside], position


def visibility_at(tokens: Tokens, position: int) -> tuple[bool, int]:
    """Whether `pub` or `pub(…)` stands here, and where it ends."""
    if position >= len(tokens) or tokens[position].text != "pub":
        return False, position
    position += 1
    limits = tokens[position].inside if position < len(tokens) and tokens[position].is_group("(") else ()
    return True, position + (limits[:1] != () and limits[0].text in ("crate", "super", "self", "in"))


def end_of_item(tokens: Tokens, position: int) -> int:
    """The end of the item, field, match arm or statement that begins here."""
    _, position = visibility_at(tokens, position)
    head = [token.text for token in tokens[position : position + 3] if token.kind in ("name", "string")]
    to_semicolon = head[:1] != [] and head[0] in ENDS_WITH_SEMICOLON and "fn" not in head
    to_body = not to_semicolon and not ENDS_WITH_BODY.isdisjoint(head)
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token.text == ";" or (token.is_group("{") and not to_semicolon):
            break
        if token.text == "," and not (to_semicolon or to_body):
            break
    return position


def named_file(attribute: Token) -> str | None:
    """The file that `#[path = "…"]` names."""
    words = [token.text for token in attribute.inside]
    return words[2].strip('"') if words[:2] == ["path", "="] else None


def is_all_test_only(tokens: Tokens) -> bool:
    """Whether a file or module begins with `#![cfg(test)]`."""
    while [token.text for token in tokens[:3]] == ["#", "!", "["]:
        if is_test_only(tokens[2]):
            return True
        tokens = tokens[3:]
    return False


def is_test_only(attribute: Token) -> bool:
    """Whether it is `#[test]`, `#[tokio::test]` or a `#[cfg(…)]` that only tests meet."""
    words = [token for token in attribute.inside if token.kind != "group"]
    if [word.text for word in words] == ["cfg"]:
        return wants_test(attribute.inside[-1].inside)
    return words[-1:] != [] and words[-1].text == "test"


def wants_test(condition: Tokens) -> bool:
    """Whether a condition of `#[cfg(…)]` holds in tests alone."""
    if [token.text for token in condition] == ["test"]:
        return True
    if len(condition) == 2 and condition[0].text == "all":
        return any(map(wants_test, split_at_commas(condition[1].inside)))
    if len(condition) == 2 and condition[0].text == "any":
        return all(map(wants_test, split_at_commas(condition[1].inside)))
    return False


def all_tokens(tokens: Tokens) -> Iterator[Token]:
    """The tokens, and all inside their brackets."""
    for token in tokens:
        yield token
        yield from all_tokens(token.inside)
