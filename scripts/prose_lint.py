"""Prose lint: find archaic phrases, ambiguous terms and outdated names in code, comments, docs and tests.

The rules, and the places that they leave alone, are in prose_lint.toml. What is checked:

- Python: comments, docstrings and strings, and every name that the file defines, split into words
  (`test_photo_is_rejected_when_queue_is_full` is read as a sentence).
- Other text files: everything.
- All of them: names that users or imports no longer find (options, classes, settings, metrics, modules).
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RULES = Path(__file__).with_suffix(".toml")
# What may stand between two words of a phrase: line breaks with comment marks, and the separators of names.
GAP = r"[\s#/*>_-]+"


@dataclass(frozen=True, order=True)
class Finding:
    """One match of a rule; `line` counts from 1."""

    path: str
    line: int
    text: str
    use: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.text}" -> use {self.use}'


class Prose:
    """The prose rules as one regular expression for lower-case text: fast, and it knows which rule has matched."""

    def __init__(self, rules: list[list[str]]) -> None:
        self._uses = [use for _, use, *_ in rules]
        branches = [f"(?P<r{i}>{pattern.replace(' ', GAP)})" for i, (pattern, *_) in enumerate(rules)]
        nothing = "(?!)"
        self._pattern = re.compile(f"(?<![a-z0-9])(?:{'|'.join(branches) or nothing})(?![a-z0-9])")

    def search(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Yield the position of each match, its text and what to write instead."""
        for match in self._pattern.finditer(text.lower()):
            assert match.lastgroup  # each branch has a name, and its group closes last
            yield match.start(), text[match.start() : match.end()], self._uses[int(match.lastgroup[1:])]


@dataclass(frozen=True)
class Outdated:
    """A name or notation that is outdated; only text that contains `literal`, in lower case, is searched for it."""

    literal: str
    pattern: re.Pattern[str]
    use: str


class Linter:
    """The rules of a parsed prose_lint.toml.

    Args:
        rules: The content of the file.
        tracked: Paths of the repository's files; a moved module's bare name is outdated only if no file has it.

    Raises:
        SystemExit: An entry of `skip` or `allow` gives no reason.
    """

    def __init__(self, rules: dict[str, Any], tracked: list[str]) -> None:
        self.skip, self.allow = rules.get("skip", []), rules.get("allow", [])
        for entry in self.skip + self.allow:
            if not str(entry.get("reason", "")).strip():
                sys.exit(f"{RULES.name}: the entry {entry} has no reason. Say why it is allowed.")
        self.unused = list(self.allow)
        self.names = set(rules.get("names", []))
        self._prose = Prose(rules.get("prose", []))
        self._outdated = [Outdated("", re.compile(pattern, re.I), use) for pattern, use, *_ in rules.get("code", [])]
        self._outdated += [renamed(old, new) for old, new in rules.get("renamed", {}).items()]
        basenames = {PurePosixPath(path).name for path in tracked}
        for old, new in rules.get("moved", {}).items():
            self._outdated += moved(old, new, basenames)

    def check(self, path: str, text: str) -> list[Finding]:
        """Return the findings in a file at `path`, relative to the repository, in order."""
        if any(fnmatch(path, entry["path"]) for entry in self.skip):
            return []
        lines, lower = text.split("\n"), text.lower()
        findings = {
            Finding(path, text.count("\n", 0, match.start()) + 1, match.group(), rule.use)
            for rule in self._outdated
            if rule.literal in lower
            for match in rule.pattern.finditer(text)
        }
        nodes = list(ast.walk(ast.parse(text))) if path.endswith((".py", ".pyi")) else None
        for first, last, passage in [(1, len(lines), text)] if nodes is None else python_passages(text, nodes):
            for start, match, use in self._prose.search(passage):
                line = locate(lines, first + passage.count("\n", 0, start), first, last, match)
                findings.add(Finding(path, line, " ".join(match.split()), use))
        names = js_names(path, text) if nodes is None else python_names(nodes)
        for line, name in [(1, PurePosixPath(path).stem), *names]:
            if name.strip("_").lower() in self.names:
                findings.add(Finding(path, line, name, "a name that says what it is (result, response, min_, max_)"))
            findings.update(Finding(path, line, name, use) for _, _, use in self._prose.search(words(name)))
        return sorted(item for item in findings if not self._allowed(item, lines[item.line - 1]))

    def _allowed(self, finding: Finding, line: str) -> bool:
        for entry in self.allow:
            about = finding.text.lower().split()[0] in entry["text"].lower() or entry["text"] in finding.text
            if about and fnmatch(finding.path, entry["path"]) and entry["text"] in line:
                if entry in self.unused:
                    self.unused.remove(entry)
                return True
        return False


def renamed(old: str, new: str) -> Outdated:
    """Return the rule of an outdated name: an option by its exact name, others also as a part of a longer name.

    "_" also stands for "-", and lower case for upper case: a setting is an option, a variable and a key.
    """
    if old.startswith("--"):
        return Outdated(old, re.compile(rf"(?<![\w-]){re.escape(old)}(?![\w-])"), new)
    pattern = r"(?<![a-zA-Z0-9])" + old.replace("_", "[_-]") + r"(?![a-zA-Z0-9])"
    return Outdated(max(old.lower().split("_"), key=len), re.compile(pattern, re.I if old.islower() else 0), new)


def moved(old: str, new: str, basenames: set[str]) -> Iterator[Outdated]:
    """Yield the rules of a moved module: its path, its import, and its file name if no file has it any more."""
    name = PurePosixPath(old).name
    patterns = [(old, rf"(?<!\w){re.escape(old)}")]
    if name not in basenames:
        patterns.append((name, rf"(?<![\w/]){re.escape(name)}(?!\w)"))
    module, target = (path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in (old, new))
    if not target.startswith(f"{module}."):  # else the module's name is that of the package now
        package, _, leaf = module.rpartition(".")
        patterns.append((module, rf"(?<!\w){re.escape(module)}(?!\w)"))
        patterns.append((f"from {package} import", rf"from {re.escape(package)} import (?:\w+, )*{leaf}(?!\w)"))
    return (Outdated(literal, re.compile(pattern), new) for literal, pattern in patterns)


def words(name: str) -> str:
    """Return an identifier as words: `shownPhotoCount` as "shown Photo Count"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")


def locate(lines: list[str], guess: int, first: int, last: int, match: str) -> int:
    """Return the line of a match in a passage: `guess`, unless the passage joins or escapes what the file splits."""
    start = match.split("\n")[0]
    if guess <= last and start in lines[guess - 1]:
        return guess
    return next((i for i in range(first, last + 1) if start in lines[i - 1]), min(first, len(lines)))


def python_passages(text: str, nodes: list[ast.AST]) -> Iterator[tuple[int, int, str]]:
    """Yield first line, last line and text of each comment block and string of a Python file."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.end_lineno or node.lineno, node.value
    block: list[str] = []
    end = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if block and (token.start[0] != end + 1 or token.line[: token.start[1]].strip()):
                yield end - len(block) + 1, end, "\n".join(block)
                block = []
            block.append(token.string.lstrip("# "))
            end = token.start[0]
    if block:
        yield end - len(block) + 1, end, "\n".join(block)


def python_names(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield line and name of every class, function, parameter, variable and attribute that a Python file defines."""
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name


def js_names(path: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of what a JavaScript file declares."""
    if path.endswith(".js"):
        for match in re.finditer(r"\b(?:const|let|var|function|class)\s+(\w+)", text):
            yield text.count("\n", 0, match.start()) + 1, match[1]


def tracked_files() -> list[str]:
    """Return the paths of all files that git does not ignore, relative to the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.splitlines() if (REPOSITORY / path).is_file()]


def main(arguments: list[str] | None = None) -> int:
    """Print the findings; return 1 if there are any, or if an entry of the allow-list is not needed."""
    parser = argparse.ArgumentParser(
        description="Find archaic phrases, ambiguous terms and outdated names, and say what to write instead.",
        epilog="Where the text is right (a quotation, an option of another program), add an entry with a reason to "
        f"[[allow]] in scripts/{RULES.name}; one that matches nothing any more is an error. New rules go there too, "
        "each with a sentence that it finds and one that it leaves alone.",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or folders to check (default: the whole tree)")
    chosen = [Path(path).resolve() for path in parser.parse_args(arguments).paths]
    tracked = tracked_files()
    linter = Linter(tomllib.loads(RULES.read_text(encoding="utf-8")), tracked)
    findings: list[Finding] = []
    for path in tracked:
        file = REPOSITORY / path
        if chosen and not any(file.is_relative_to(folder) for folder in chosen):
            continue
        try:
            findings += linter.check(path, file.read_text(encoding="utf-8"))
        except UnicodeDecodeError:  # an image, or weights
            continue
    for finding in findings:
        print(finding)
    unused = [] if chosen else linter.unused
    for entry in unused:
        print(f'{RULES.name}: nothing needs the allowed text "{entry["text"]}" in {entry["path"]} any more. Remove it.')
    if findings:
        print(f"{len(findings)} findings in {len({item.path for item in findings})} files.")
    return 1 if findings or unused else 0


if __name__ == "__main__":
    sys.exit(main())
