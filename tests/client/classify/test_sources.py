"""Sources: how many photos a run has to send."""

from pathlib import Path
from typing import Any

import pytest

from planespotter_client.classify import serialization, sources
from planespotter_client.classify.answer_log import AnswerLog, HashedSet
from planespotter_client.classify.progress import RunStats


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_planned_photos_exclude_those_of_earlier_runs_anywhere_in_the_folder(tmp_path: Path, sent: int) -> None:
    names = [str(tmp_path / f"{letter}.jpg") for letter in "abcde"]
    for name in names:
        Path(name).touch()
    log, stats = AnswerLog(HashedSet(), append=lambda result: None), RunStats()
    for name in (names[1], names[4]):  # early and late in the walk
        log.answered.add(serialization.photo_key({"file": name}))
    options: dict[str, Any] = {
        "recursive": True,
        "null": False,
        "exclude": None,
        "on_error": pytest.fail,
        "on_skipped": str,
    }
    source = sources.from_paths([str(tmp_path)], log=log, stats=stats, **options)
    assert [next(source.photos) for _ in range(sent)] == [names[0], names[2]][:sent]
    assert source.planned() == 3
    assert sources.from_paths([str(tmp_path)], log=None, stats=RunStats(), **options).planned() == 5
    assert sources.from_paths(["-"], log=log, stats=stats, **options).planned() is None
