"""Killed while it reads back, at any moment: the next run settles everything, and sends nobody for it."""

import asyncio
import random
from pathlib import Path

import pytest
from test_engine_child import Child, world_apart
from test_engine_world import people
from test_proof_night import ids, open_problems


@pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 20))])
async def test_killed_during_verification_the_next_run_settles_everything(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    faults = tmp_path / "drops.toml"
    faults.write_text(
        "".join(
            f'[[fault]]\nendpoint = "upsert"\nkind = "drop"\nwhere = {{ firstname = "Vorname{n}" }}\n'
            for n in (40, 41, 42)
        )
    )
    flags = ("--lag", "0.6", "--search-lag", "0.3", "--unlimited", "--faults", str(faults))
    async with world_apart(tmp_path, *flags) as w:
        w.verify_settings = {"deadline": 1.0}
        w.write(people(300))
        for _ in range(4):
            child = Child(w.table())
            await child.opened()
            await asyncio.sleep(draw.uniform(0.3, 2.5))  # in the canary, between windows, while settling
            await child.kill()
        child = Child(w.table())
        await child.opened()
        report = await child.report()
        assert report["exit"] == 3, report
        assert {problem["key"] for problem in open_problems(w)} == {"m00040", "m00041", "m00042"}
        assert len(ids(w)) == 297
        contacts = await w.contacts()
        assert len(contacts) == 297
        history = [entry for entry in await w.history() if entry["endpoint"] == "upsert"]
        assert len(history) <= 300 + 4 * 16
        assert report["unconfirmed"] == report["earlier"].get("unconfirmed", 0) == 0
