"""The prose lint: every rule finds its bad example and leaves its good one alone; the allow-list cannot rot."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from scripts import prose_lint
from scripts.prose_lint import Linter

RULES: dict[str, Any] = tomllib.loads(prose_lint.RULES.read_text(encoding="utf-8"))
TABLES = {name: RULES[name] for name in ("prose", "code", "names", "renamed", "moved")}
SMALL = {"prose": [["rooms?", '"capacity"', "", ""], ["gone on with", '"resume"', "", ""]], "names": ["said", "mine"]}


def check(text: str, path: str = "docs/page.md", rules: dict[str, Any] = TABLES) -> list[str]:
    """Return what the rules find in a file, as "line: text"."""
    return [f"{found.line}: {found.text}" for found in Linter(rules, []).check(path, text)]


@pytest.mark.parametrize("rule", RULES["prose"] + RULES["code"], ids=lambda rule: rule[0])
def test_rule_finds_its_bad_example_and_ignores_its_good_one(rule: list[str]) -> None:
    pattern, use, bad, good = rule
    table = "prose" if rule in RULES["prose"] else "code"
    alone = {table: [rule]}
    assert check(bad, rules=alone), pattern
    assert not check(good, rules=alone), pattern
    assert use


@pytest.mark.parametrize("old", RULES["renamed"])
def test_outdated_name_is_found_and_its_replacement_is_not(old: str) -> None:
    alone = {"renamed": {old: RULES["renamed"][old]}}
    assert check(f"Use `{old}` here.", rules=alone) == [f"1: {old}"]
    assert not check(f"Use `{RULES['renamed'][old]}` here, not x{old}x.", rules=alone)


def test_setting_is_found_as_option_variable_and_environment_name() -> None:
    text = "serve --queue-photos 5\nqueue_photos = 5\nPLANESPOTTER_QUEUE_PHOTOS=5"
    assert check(text) == ["1: queue-photos", "2: queue_photos", "3: QUEUE_PHOTOS"]


def test_class_name_is_case_sensitive() -> None:
    assert check("DeadlineError", rules={"renamed": {"DeadlineError": ""}}) == ["1: DeadlineError"]
    assert not check("deadlineerror", rules={"renamed": {"DeadlineError": ""}})


@pytest.mark.parametrize(("old", "new"), RULES["moved"].items())
def test_moved_module_is_found_by_path_and_by_import(old: str, new: str) -> None:
    alone = {"moved": {old: new}}
    assert check(f"See {old}.", rules=alone)
    assert not check(f"See {new}.", rules=alone)
    module, target = (path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in (old, new))
    is_package_now = target.startswith(f"{module}.")
    assert bool(check(f"import {module}", "a.py", alone)) is not is_package_now
    assert not check(f"import {target}", "a.py", alone)


def test_bare_file_name_is_outdated_only_if_no_file_has_it() -> None:
    rules = {"moved": {"server/turns.py": "server/serving/fair_semaphore.py"}}
    assert [found.text for found in Linter(rules, []).check("a.md", "`turns.py` and test_turns.py")] == ["turns.py"]
    assert not Linter(rules, ["scripts/bench/turns.py"]).check("a.md", "`turns.py`")


def test_python_is_read_as_comments_strings_and_defined_names() -> None:
    text = '''"""A room
that is gone on
with."""

room_of_photos = 1  # another
# room, gone
# on with
print(room_of_photos.room, f"the {room_of_photos} room")


class PhotoRoom:
    def count_rooms(self, said: int, *, _mine: str) -> None:
        self.room = "no " "room"
'''
    assert check(text, "server/a.py", SMALL) == [
        "1: room",
        "2: gone on with",
        "5: room_of_photos",
        "6: gone on with",
        "6: room",
        "8: room",
        "11: PhotoRoom",
        "12: _mine",
        "12: count_rooms",
        "12: said",
        "13: room",
    ]


def test_test_names_are_read_as_sentences() -> None:
    text = "def test_run_is_gone_on_with_after_a_kill() -> None: ...\n"
    assert check(text, "tests/test_a.py", SMALL) == ["1: test_run_is_gone_on_with_after_a_kill"]


@pytest.mark.parametrize("name", RULES["names"])
def test_vague_name_is_found_as_variable_parameter_and_function(name: str) -> None:
    text = f"def {name}({name}: int) -> None:\n    for {name} in (1,):\n        pass\n"
    found = check(text, "server/a.py", {"names": RULES["names"]})
    assert found == [f"1: {name}", f"2: {name}"]
    assert not check(f"{name}_count = x.{name}", "server/a.py", {"names": RULES["names"]})
    assert check(f"const {name} = 1;", "page.js", {"names": RULES["names"]})


@pytest.mark.parametrize(
    "path", ["a.proto", "page.html", "page.js", "deploy/a.yaml", "Makefile", "Dockerfile", "run.sh"]
)
def test_other_files_are_read_as_text(path: str) -> None:
    assert check("x\n# it is gone\n# on with, in a room", path, SMALL) == ["2: gone # on with", "3: room"]


def test_file_name_is_read() -> None:
    assert check("", "server/room.py", SMALL) == ["1: room"]


def test_finding_names_the_replacement() -> None:
    (found,) = Linter(SMALL, []).check("docs/page.md", "\nIt is gone on with.")
    assert str(found) == 'docs/page.md:2: "gone on with" -> use "resume"'


@pytest.mark.parametrize("table", ["allow", "skip"])
@pytest.mark.parametrize("reason", [{}, {"reason": " "}])
def test_entry_without_a_reason_is_an_error(table: str, reason: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match="has no reason"):
        Linter({table: [{"path": "a.md", "text": "room"} | reason]}, [])


def test_allowed_text_is_ignored_on_its_line_only() -> None:
    rules = SMALL | {"allow": [{"path": "docs/*", "text": "engine room", "reason": "a real one"}]}
    text = "the engine room\nthe room"
    linter = Linter(rules, [])
    assert [found.line for found in linter.check("docs/page.md", text)] == [2]
    assert linter.unused == []
    assert [found.line for found in linter.check("README.md", text)] == [1, 2]


def test_allow_entry_that_matches_nothing_is_reported() -> None:
    rules = SMALL | {"allow": [{"path": "docs/*", "text": "engine room", "reason": "a real one"}]}
    linter = Linter(rules, [])
    assert not linter.check("docs/page.md", "nothing")
    assert [entry["text"] for entry in linter.unused] == ["engine room"]


def test_skipped_file_has_no_findings() -> None:
    rules = SMALL | {"skip": [{"path": "*_pb2*", "reason": "generated"}]}
    assert not check("room", "protos/a_pb2.py", rules)


def test_command_ends_with_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert prose_lint.main([str(prose_lint.RULES), prose_lint.__file__]) == 0
    assert capsys.readouterr().out == ""


def test_command_fails_on_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.md").write_text("The run is gone on with.\nIt shall end.\n", encoding="utf-8")
    monkeypatch.setattr(prose_lint, "REPOSITORY", tmp_path)
    monkeypatch.setattr(prose_lint, "tracked_files", lambda: ["page.md"])
    assert prose_lint.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('page.md:1: "gone on" -> use ')
    assert lines[1].startswith('page.md:2: "shall" -> use ')
    assert lines[2] == "2 findings in 1 files."
