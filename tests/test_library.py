"""The same job from Python, as the README shows it."""

from pathlib import Path

import pytest
from test_engine_world import KEY, people, world


async def test_the_job_in_under_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path) as w:
        w.write(people(12))
        (tmp_path / "syncengine.toml").write_text(
            f"""
            [source]
            path = "people.jsonl"
            key = "member_id"
            [destination]
            base_url = "http://127.0.0.1:{w.client.port}"
            """
        )
        monkeypatch.setenv("QOMON_API_KEY", KEY)
        monkeypatch.chdir(tmp_path)

        from syncengine import Settings, sync  # noqa: PLC0415 - these lines stand in the README

        report = await sync(Settings.load("syncengine.toml"))
        print(f"{report.accepted} of {report.selected} contacts accepted: {report.outcome}")

        assert (report.accepted, report.outcome) == (12, "done")
        assert len(await w.contacts()) == 12
