"""What a dead run or load leaves behind is told as it is, and unreadable input accuses nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_store_kit import claim_due, contents, crash, load_rows, opened, person, row, settings_for

from syncengine.config import Settings
from syncengine.errors import ConfigError
from syncengine.load import load, open_mapped
from syncengine.store import sending
from syncengine.store.views import status


def test_of_a_killed_run_only_the_first_in_flight_intents_may_have_been_sent(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        sending.put(store, [(key, person(key)) for key in "ABCDE"])
        run = store.begin_run("sync", in_flight=2)
        assert [change.key for change in claim_due(store, run)] == list("ABCDE")
        crash(store)
    with opened(path) as store:
        doubtful = {key: bool(flag) for key, (flag,) in contents(store, "in_doubt").items()}
        assert doubtful == {"A": True, "B": True, "C": False, "D": False, "E": False}
        intents = store.connection.execute("SELECT count(*), sum(open) FROM intents").fetchone()
        assert intents == (2, 0)
        again = claim_due(store, store.begin_run("sync", in_flight=2))
        assert [change.is_repeat for change in again] == [True, True, False, False, False]


def test_an_unreadable_row_may_be_anybody_so_nobody_is_newly_missing(tmp_path: Path) -> None:
    source = tmp_path / "m.jsonl"
    lines = [f'{{"id": "K{n}", "first": "Ada{n}", "mail": "k{n}@x.example"}}\n' for n in range(3)]
    settings = settings_for(tmp_path / "state.db", source, snapshot=True).model_copy(update={"fields": {}})
    with opened(tmp_path / "state.db") as store:
        source.write_text("".join(lines))
        assert load(store, open_mapped(settings)).new == 3
        source.write_text(lines[0] + '{"broken\n' + lines[2])
        report = load(store, open_mapped(settings))
        assert (report.refused, report.missing) == (1, 0)
        source.write_text(lines[0] + lines[2])
        assert load(store, open_mapped(settings)).missing == 1


def test_a_killed_load_is_shown_as_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")])
        store.connection.execute(
            "INSERT INTO loads (path, started, state, snapshot, mapping) "
            "VALUES ('m.csv', 0, 'staging', 0, '')"
        )
        crash(store)
    shown = status(path)["last_load"]
    assert shown["state"] == "interrupted"


@pytest.mark.parametrize("variable", ["SYNCENGINE_DESTINATON_BASE_URL", "SYNCENGINE_FOO"])
def test_a_misspelt_variable_of_ours_is_an_error(variable: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        Settings.from_mapping({}, environ={variable: "http://127.0.0.1:9"})
