"""`scripts/circles.py` finds circles of files, in small crates made up here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import circles
import tools
from rust_files import Crate, Unreadable

Files = dict[str, str]

# The files of a crate, and the names that they take from each other.
ARROWS: dict[str, tuple[Files, set[str]]] = {
    "a declaration does not count as an arrow": ({"a.rs": "", "b.rs": ""}, set()),
    "from the crate's root": ({"a.rs": "use crate::b::B;", "b.rs": "pub struct B;"}, {"a -> b: B"}),
    "from a child, as the module calls it": (
        {"a.rs": "mod c; use c::C;", "a/c.rs": "pub struct C;"},
        {"a -> a/c: C"},
    ),
    "from the module itself and above": (
        {
            "a.rs": "mod c; mod d; pub struct A;",
            "a/c.rs": "use super::{d::D, super::b::B}; use super::A;",
            "a/d.rs": "pub struct D; fn f() { self::g(); super::super::b::h() } fn g() {}",
            "b.rs": "pub struct B; pub fn h() {}",
        },
        {"a/c -> a/d: D", "a/c -> a: A", "a/c -> b: B", "a/d -> b: h"},
    ),
    "in a tree of names": (
        {
            "a.rs": "use {crate::{b::{self, B, c::{C, D as E}}}, std::fmt}; fn f(_: E) { b::g() }",
            "b.rs": "pub mod c; pub struct B; pub fn g() {}",
            "b/c.rs": "pub struct C; pub struct D;",
        },
        {"a -> b: B", "a -> b: g", "a -> b/c: C", "a -> b/c: D"},
    ),
    "by a path in the code": (
        {
            "a.rs": "struct A(Vec<crate::b::B>); fn f(a: A) { a.0.len::<u8>(); crate::b::g::<u8>(1) }",
            "b.rs": "pub struct B; pub fn g<T>() {}",
        },
        {"a -> b: B", "a -> b: g"},
    ),
    "to the file where the path ends, not where it begins": (
        {"a.rs": "use crate::b; fn f(_: b::c::C) {}", "b.rs": "pub mod c;", "b/c.rs": "pub struct C;"},
        {"a -> b/c: C"},
    ),
    "of a variant or a method of what was imported": (
        {"a.rs": "use crate::b::B; fn f() { B::new(B::One) }", "b.rs": "pub enum B { One }"},
        {"a -> b: B"},
    ),
    "to the definition, through a re-export": (
        {
            "lib.rs": "mod a; mod b; pub use b::B;",
            "a.rs": "use crate::B;",
            "b.rs": "mod c; pub use self::c::C as B;",
            "b/c.rs": "pub struct C;",
        },
        {"lib -> b/c: C", "a -> b/c: C", "b -> b/c: C"},
    ),
    "to the definition, through a re-export of everything": (
        {
            "lib.rs": "mod a; mod b; pub use b::*;",
            "a.rs": "use crate::B;",
            "b.rs": "pub struct B;",
        },
        {"lib -> b: *", "a -> b: B"},
    ),
    "of a re-exported module": (
        {"a.rs": "pub use crate::b::c;", "b.rs": "pub mod c;", "b/c.rs": "", "d.rs": "fn f() { crate::a::c::g() }"},
        {"a -> b/c: c", "d -> b/c: g"},
    ),
    "of all names, as far as they are used": (
        {
            "a.rs": "use crate::b::*; fn f(_: B) {}",
            "b.rs": "pub struct B; pub use crate::c::C;",
            "c.rs": "pub struct C;",
        },
        {"a -> b: B", "b -> c: C"},
    ),
    "of the variants of an enum": (
        {"a.rs": "use crate::b::B::*;", "b.rs": "pub enum B { One }"},
        {"a -> b: B"},
    ),
    "of a trait without its name": ({"a.rs": "use crate::b::B as _;", "b.rs": "pub trait B {}"}, {"a -> b: B"}),
    "of a function that is called like a module": (
        {
            "a.rs": "use crate::b::c; fn f() { c(); }",
            "b.rs": "mod c; pub fn c() {}",
            "b/c.rs": "",
            "d.rs": "use crate::b::c; fn f() { c::g(); }",
        },
        {"a -> b: c", "d -> b: c", "d -> b/c: g"},
    ),
    "inside a function alone": (
        {"a.rs": "fn f() { use crate::b as x; x::g() } fn h() { x::i() }", "b.rs": ""},
        {"a -> b: g"},
    ),
    "of another crate with a module's name": (
        {"a.rs": "use b::B; use ::b::C; fn f() { b::g(); ::b::h() }", "b.rs": ""},
        set(),
    ),
    "made by a macro": ({"a.rs": "use crate::b::B;", "b.rs": "make! { pub struct B; }"}, {"a -> b: B"}),
    "in the arguments of a macro": (
        {"a.rs": 'fn f() { println!("{}", crate::b::g(&[1])) }', "b.rs": ""},
        {"a -> b: g"},
    ),
    "in an attribute": (
        {
            "a.rs": '#[derive(crate::c::C)] struct A { #[serde(with = "crate::b::text")] #[doc = "crate::d::D"] b: u8 }',
            "b.rs": "",
            "c.rs": "",
            "d.rs": "",
        },
        {"a -> b: text", "a -> c: C"},
    ),
    "of a macro": (
        {
            "lib.rs": "mod a; #[macro_use] mod b; mod c;",
            "a.rs": "mod d; macro_rules! own { () => { $crate::c::g() } } pub(crate) use own;",
            "a/d.rs": "own!();",
            "b.rs": "macro_rules! told { () => {} } #[macro_export] macro_rules! shown { () => {} }",
            "c.rs": "use crate::a::own; told!(); crate::shown!(); vec![];",
        },
        {"a -> c: g", "a/d -> a: own", "c -> a: own", "c -> b: told", "c -> b: shown"},
    ),
    "in comments and strings": (
        {
            "a.rs": """
                //! use crate::b::B;
                /* use crate::b::B; /* nested */ use crate::b::B; */
                /// [`crate::b::B`]
                const A: &str = "use crate::b::B; \\" use crate::b::B;";
                const C: &str = r#"" use crate::b::B; "#;
                const D: &[char] = &['"', '\\'', '\\u{22}'];
                fn f<'a>(_: &'a str) { use_crate::b::g() }
            """,
            "b.rs": "",
        },
        set(),
    ),
    "of tests": (
        {
            "a.rs": """
                #[cfg(test)] use crate::b::B;
                #[cfg(all(test, unix))] fn g() -> crate::b::B { loop {} }
                #[test] fn h() { crate::b::i() }
                #[cfg(test)] pub(crate) const K: crate::b::B = crate::b::B {};
                struct A { #[cfg(test)] b: crate::b::B, c: crate::c::C }
                #[cfg(test)] mod tests { use super::*; use crate::b::B; }
            """,
            "b.rs": "#[cfg(test)] mod tests;",
            "b/tests.rs": "use crate::c::C;",
            "c.rs": "#[cfg(not(test))] use crate::d::D; #[cfg(any(test, unix))] use crate::d::E;",
            "d.rs": "",
            "e.rs": "#![allow(unused)] #![cfg(test)] use crate::b::B;",
        },
        {"a -> c: C", "c -> d: D", "c -> d: E"},
    ),
    "of visibility": ({"a.rs": "mod c;", "a/c.rs": "pub(in crate::a) struct C(pub(crate) u8);"}, set()),
    "of modules that are elsewhere": (
        {
            "lib.rs": '#[path = "x/y.rs"] mod a; mod b { pub mod c; #[path = "z.rs"] mod d; } mod e;',
            "x/y.rs": "mod f; use f::F;",
            "x/f.rs": "use crate::e::E;",
            "b/c.rs": "use super::super::e::E;",
            "b/z.rs": "use super::c::C;",
            "e/mod.rs": "mod g; use g::G;",
            "e/g.rs": "",
        },
        {"x/y -> x/f: F", "x/f -> e/mod: E", "b/c -> e/mod: E", "b/z -> b/c: C", "e/mod -> e/g: G"},
    ),
}

# The arrows between files, and the files of each circle.
CIRCLES: dict[str, tuple[str, list[str]]] = {
    "a way without a way back": ("a>b a>c b>c c>c/d", []),
    "a module and its child": ("a>a/b a/b>a", []),
    "a module and its children, and theirs": ("a>a/b a/b>a a>a/c a/c>a a/c>a/c/d a/c/d>a/c", []),
    "the root and its children": ("lib>a a>lib lib>b b>lib", []),
    "two files": ("a>b b>a", ["a b"]),
    "a module and its grandchild": ("a>a/b/c a/b/c>a", ["a a/b/c"]),
    "two children": ("a/b>a/c a/c>a/b", ["a/b a/c"]),
    "a module, a child, another child": ("a>a/b a/b>a/c a/c>a", ["a a/b a/c"]),
    "the same with a way back from each": ("a>a/b a/b>a a/b>a/c a/c>a a>a/c", ["a a/b a/c"]),
    "three files, and a child that has no part in it": ("a>b b>c c>a c>c/d c/d>c", ["a b c"]),
    "a child that has a part in it": ("a>b b>c c/d>a c>c/d c/d>c", ["a b c c/d"]),
    "two of them": ("a>b b>a c>d d>c a>c", ["a b", "c d"]),
}


def crate(folder: Path, files: Files) -> Crate:
    """A crate of these files; its root declares them if it is not among them."""
    root = "".join(f"mod {name.removesuffix('.rs')};" for name in files if "/" not in name)
    for name, text in {"lib.rs": root, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Crate("lib made-up", folder / "lib.rs")


def taking(takes: str) -> Files:
    """Files that take a name from each other: `a>b` says that `a` does from `b`."""
    arrows = [arrow.split(">") for arrow in takes.split()]
    modules = {"lib"}
    for name in [name for arrow in arrows for name in arrow]:
        parts = name.split("/")
        modules |= {"/".join(parts[: count + 1]) for count in range(len(parts))}
    files = {}
    for module in sorted(modules):
        prefix = "" if module == "lib" else f"{module}/"
        below = sorted(name.removeprefix(prefix) for name in modules - {"lib"} if name.startswith(prefix))
        lines = [f"pub mod {name};" for name in below if "/" not in name]
        for source, target in arrows:
            if source == module:
                path = "" if target == "lib" else f"{target.replace('/', '::')}::"
                lines.append(f"use crate::{path}Taken as _;")
        files[f"{module}.rs"] = "\n".join(["pub struct Taken;", *lines])
    return files


def name_of(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder).with_suffix(""))


@pytest.mark.parametrize("files, expected", ARROWS.values(), ids=ARROWS)
def test_an_arrow_leads_to_the_definition(tmp_path: Path, files: Files, expected: set[str]):
    arrows = crate(tmp_path, files).arrows()
    found = {f"{name_of(a.source, tmp_path)} -> {name_of(a.target, tmp_path)}: {a.name}" for a in arrows}
    assert found == expected


@pytest.mark.parametrize("takes, expected", CIRCLES.values(), ids=CIRCLES)
def test_a_circle_is_found(tmp_path: Path, takes: str, expected: list[str]):
    made = crate(tmp_path, taking(takes))
    found = [{name_of(arrow.source, tmp_path) for arrow in circle} for circle in circles.circles(made)]
    assert [" ".join(sorted(circle)) for circle in found] == expected


def test_an_arrow_has_the_first_line(tmp_path: Path):
    files = {"a.rs": "/*\n*/ const A: &str = \"\n\";\nuse crate::{\n    b::B,\n};\nfn f(_: B) {}\n", "b.rs": ""}
    assert [arrow.line for arrow in crate(tmp_path, files).arrows()] == [5]


def test_files_of_tests_do_not_count(tmp_path: Path):
    made = crate(tmp_path, ARROWS["of tests"][0])
    assert {name_of(file, tmp_path) for file in made.parents} == {"lib", "a", "b", "c", "d"}


@pytest.mark.parametrize("text, problem", [
    ("mod nowhere;", "nowhere.rs: .*No such file"),
    ("fn f() {\n  g(}\n", "lib.rs: line 2: } closes nothing"),
    ("fn f() {\n", "lib.rs: line 1: { is not closed"),
])
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, problem: str):
    with pytest.raises(Unreadable, match=problem):
        crate(tmp_path, {"lib.rs": text})


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The program, run as `make circles` runs it."""
    script = tools.ROOT / "scripts" / "circles.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env=os.environ)


def test_a_workspace_is_looked_through(tmp_path: Path):
    manifest = tmp_path / "Cargo.toml"
    package = '[package]\nname = "{}"\nversion = "0.0.0"\nedition = "2024"\n'
    manifest.write_text(package.format("round") + '[workspace]\nmembers = ["crates/*"]\n')
    crate(tmp_path / "src", {"main.rs": "mod c;", "c.rs": "", "lib.rs": ""})
    (tmp_path / "crates" / "inner").mkdir(parents=True)
    (tmp_path / "crates" / "inner" / "Cargo.toml").write_text(package.format("inner"))
    inner = tmp_path / "crates" / "inner" / "src"
    crate(inner, taking("a>b b>a"))

    found = run(manifest)
    assert found.returncode == 1, found.stderr
    a, b = inner / "a.rs", inner / "b.rs"
    assert found.stdout == (
        "circle of 2 files in the lib inner:\n"
        f"  {a} -> {b}: Taken (line 2)\n"
        f"  {b} -> {a}: Taken (line 2)\n\n"
        "1 circle: 6 files in 3 crates\n"
    )
    assert f'"{a}" -> "{b}";' in run("--dot", manifest).stdout
    other = run("--crate", "round", manifest)
    assert (other.returncode, other.stdout) == (0, "no circles: 3 files in 2 crates\n")
    unknown = run("--crate", "nowhere", manifest)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no package nowhere" in unknown.stderr
