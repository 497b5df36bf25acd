"""load, plan, sync and status as real processes."""

import os
import re
import signal
import time

from test_cli_program import Program, _fast, _program, sandbox, until  # noqa: F401 - fixtures

SLOW = ("--set", "destination.rate=50", "--set", "destination.burst=10")


def test_load_counts_and_lists_refused_rows_with_3(program: Program) -> None:
    report = program.ok("load")
    assert report["read"] == report["new"] == 10
    rows = "".join(f"Q{n},Ada{n},Martin{n},q{n}@x.example,01000\n" for n in range(60))
    program.rows(rows + "Q60,Eve,Roux,nonsense,01000\n,Max,Klein,max@x.example,01000\n")
    report = program.ok("load", code=3)
    assert (report["read"], report["new"], report["refused"], report["missing"]) == (62, 60, 2, 10)
    assert [(error["line"], error["column"]) for error in report["errors"]] == [
        (62, "email"),
        (63, "member_id"),
    ]
    ended = program.run("load")
    assert ended.code == 3
    assert re.search(r"62 +email +not one e-mail address", ended.out)
    assert "nonsense" not in ended.out + ended.err


def test_load_takes_a_path_relative_to_where_one_stands(program: Program) -> None:
    (program.folder / "below").mkdir()
    other = program.folder / "below" / "other.csv"
    other.write_text((program.folder / "members.csv").read_text())
    below = Program(program.folder / "below")
    assert below.ok("load", "other.csv", "--config", "../syncengine.toml")["new"] == 10


def test_a_refused_file_ends_with_1_and_changes_nothing(program: Program) -> None:
    program.rows(100)
    program.ok("load")
    program.rows(10)
    assert "--allow-shrink" in program.ok("load", code=1)["error"]
    assert program.ok("status")["contacts"] == {"changed": 100}
    assert program.ok("load", "--allow-shrink")["missing"] == 90


def test_a_missing_configured_column_ends_with_2(program: Program) -> None:
    (program.folder / "members.csv").write_text("member_id,first_name\nP1,Ada\n")
    assert "last_name" in program.ok("load", code=2)["error"]


def test_a_name_that_no_json_record_has_ends_with_2_and_sends_nothing(fast: Program) -> None:
    (fast.folder / "members.jsonl").write_text('{"member_id": "P1", "first_name": "Ada"}\n')
    jsonl = ("--set", "source.path=members.jsonl")
    for command in ("load", "plan", "sync"):
        ended = fast.run(command, *jsonl)
        assert ended.code == 2
        assert "no record has 'last_name'" in ended.out + ended.err
    assert fast.ok("status")["contacts"] == {}


def test_a_file_without_any_column_of_qomon_ends_with_2(program: Program) -> None:
    config = (program.folder / "syncengine.toml").read_text()
    (program.folder / "syncengine.toml").write_text(re.sub(r"(?s)\[fields\].*?(?=\n\[)", "", config))
    (program.folder / "members.csv").write_text("member_id,prenom,nom\nP1,Ada,Martin\n")
    assert "syncengine init" in program.ok("sync", code=2)["error"]


def test_plan_says_how_long_and_changes_nothing(program: Program) -> None:
    program.rows(150)
    plan = program.ok("plan")
    assert (plan["selected"], plan["creates"], plan["tokens"], plan["seconds"]) == (150, 150, 150, 5.0)
    ended = program.run("plan")
    assert "A sync now would send 150 contacts." in ended.out
    assert re.search(r"takes about 5.0 s: started now, it ends at \d\d:\d\d:\d\d", ended.out)
    assert not (program.folder / "state.db").exists()


def test_sync_sends_each_contact_once_and_then_only_changes(fast: Program) -> None:
    first = fast.ok("sync")
    assert (first["outcome"], first["sent"], first["accepted"], first["exit"]) == ("done", 10, 10, 0)
    text = (fast.folder / "members.csv").read_text()
    (fast.folder / "members.csv").write_text(text.replace("Ada3,", "Eva3,"))
    second = fast.ok("sync")
    assert (second["sent"], second["confirmed"], second["exit"]) == (1, 1, 0)
    third = fast.ok("sync")
    assert (third["sent"], third["requests"]) == (0, 0)
    ended = fast.run("sync")
    assert ended.code == 0
    assert ended.out.startswith("Done: nothing had changed.")
    assert re.search(r"exit code 0\n$", ended.out)


def test_the_report_says_what_became_of_everybody_and_its_numbers_add_up(fast: Program) -> None:
    faults = '[[fault]]\nendpoint = "upsert"\nkind = "drop"\nwhere = { firstname = "Ada3" }\n'
    (fast.folder / "faults.toml").write_text(faults, "utf-8")
    options = ("--unlimited", "--lag", "0", "--search-lag", "0", "--faults", str(fast.folder / "faults.toml"))
    with sandbox(*options) as environment:
        fast.environment.update(environment)
        report = fast.ok("sync", "--set", "verify.deadline=1", code=3)
        assert (
            report["selected"]
            == report["accepted"] + report["rejected"] + report["held"] + report["remaining"]
        )
        settled = {name: report[name] for name in ("confirmed", "differs", "dropped", "unconfirmed")}
        assert settled == {"confirmed": 9, "differs": 0, "dropped": 1, "unconfirmed": 0}
        assert report["accepted"] == sum(settled.values()) == 10
        assert report["earlier"] == {"confirmed": 0, "differs": 0, "dropped": 0, "unconfirmed": 0}
        assert (report["findings"], sum(report["doubts"].values())) == ([], 0)
        (fast.folder / "state.db").unlink()
        match = ("--set", "identity.existing=match")
        ended = fast.run("sync", "--set", "verify.deadline=1", *match)
    assert ended.code == 3
    assert re.search(r"\n  confirmed +9 +seen in Qomon as sent\n  dropped +1 +accepted, then not", ended.out)
    assert "rejected" not in ended.out
    assert "syncengine: reading back: looking in Qomon for" in ended.err


def test_a_space_that_is_full_already_is_not_written_into_unasked(fast: Program) -> None:
    with sandbox("--unlimited", "--lag", "0", "--search-lag", "0", "--contacts", "7") as environment:
        fast.environment.update(environment)
        ended = fast.run("sync")
        assert ended.code == 2
        assert "the space already holds 7 contacts" in ended.out.replace("\n", " ")
        report = fast.ok("sync", code=2)
        assert (report["sent"], report["remaining"], report["reason"]) == (0, 10, "config")
        report = fast.ok("sync", "--set", "identity.existing=match")
        assert (report["sent"], report["confirmed"]) == (10, 10)
        assert fast.ok("sync")["exit"] == 0  # the guard is for the first sync


def test_problems_end_a_sync_with_3(fast: Program) -> None:
    fast.rows("P1,,,,01000\nP2,Ada,Martin,ada@x.example,01000\n")
    ended = fast.run("sync")
    assert ended.code == 3
    assert "Problems: 1 open, 1 of them new; see them with: syncengine problems" in ended.out


def test_a_write_cap_ends_a_sync_with_4(fast: Program) -> None:
    report = fast.ok("sync", "--max-writes", "4", code=4)
    assert (report["reason"], report["sent"], report["remaining"]) == ("write_cap", 4, 6)


def test_a_past_deadline_is_told_with_its_date(fast: Program) -> None:
    moment = time.localtime(time.time() + 3600)
    ended = fast.run("sync", "--until", time.strftime("%H:%M", moment))
    assert ended.code == 0
    assert f"sending stops at {time.strftime('%Y-%m-%d %H:%M', moment)}:00" in ended.err


def test_a_wrong_key_ends_with_1_and_another_space_with_2(fast: Program) -> None:
    fast.environment["QOMON_API_KEY"] = "CANARYKEY"
    report = fast.ok("sync", code=1)
    assert (report["outcome"], report["reason"], report["accepted"]) == ("failed", "unauthorized", 0)
    fast.environment["QOMON_API_KEY"] = "another"
    assert "--same-space" in fast.ok("sync", code=2)["error"]
    fast.environment["SYNCENGINE_DESTINATION_BASE_URL"] = "http://127.0.0.1:9"
    assert "belongs to the space at" in fast.ok("sync", code=2)["error"]


def test_sigterm_ends_a_sync_with_143_and_its_report(program: Program) -> None:
    program.rows(500)
    with sandbox("--rate", "50", "--burst", "10", "--lag", "0") as environment:
        program.environment.update(environment)
        with program.start("sync", "--json", *SLOW) as process:
            running = until(lambda: _running(program))
            assert running["pid"] == process.pid
            started = time.monotonic()
            process.terminate()
            out, err = process.communicate(timeout=15)
        assert time.monotonic() - started < 10
        assert process.returncode == 143
        assert out.count("\n") == 1
        assert '"outcome":"interrupted"' in out
        assert "stopping: open requests may end" in err or "sending: " in err
        status = program.ok("status")
        assert status["running"] is None
        assert status["runs"][0]["exit"] == 143
        assert status["runs"][0]["outcome"] == "interrupted"
        again = program.ok("sync", "--max-writes", "5", code=4)
        assert again["repeated"] == 0


def test_a_second_sync_ends_with_5_within_a_second_and_names_the_first(program: Program) -> None:
    program.rows(500)
    with sandbox("--rate", "50", "--burst", "10", "--lag", "0") as environment:
        program.environment.update(environment)
        with program.start("sync", *SLOW) as first:
            until(lambda: _running(program))
            started = time.monotonic()
            told = program.ok("sync", code=5)
            assert time.monotonic() - started < 1
            assert f"process {first.pid}" in told["error"]
            for arguments in (["load"], ["forget", "P1"], ["problems", "--retry"]):
                assert program.ok(*arguments, code=5)["exit"] == 5
            ended = program.run("status")
            assert re.search(rf"Running: run 1 \(process {first.pid}\) for .* sent, .* to go", ended.out)
            first.send_signal(signal.SIGINT)
            out, err = first.communicate(timeout=15)
    assert first.returncode == 130
    assert out.startswith("Interrupted (sigint): run the same command again")
    assert re.search(r"syncengine: sending: \d+ of 500 sent.* tokens left, 0 problems", err)


def test_a_second_signal_cuts_a_sync_off(program: Program) -> None:
    program.rows(50)
    faults = program.folder / "faults.toml"
    slow = '[[fault]]\nendpoint = "{}"\nkind = "latency"\nseconds = {}\n'
    faults.write_text(slow.format("kpi", 1) + slow.format("upsert", 8), "utf-8")
    with sandbox("--unlimited", "--faults", str(faults)) as environment:
        program.environment.update(environment)
        with program.start("sync", "--json") as process:
            assert process.stderr
            for line in ("checking: ", "sending: 0 of 50", "stopping"):
                until(lambda line=line: line in process.stderr.readline())
                if line.startswith("sending"):
                    process.terminate()
            started = time.monotonic()
            process.terminate()
            out, _ = process.communicate(timeout=15)
    assert time.monotonic() - started < 3
    assert process.returncode == 143
    assert '"outcome":"interrupted"' in out


def test_an_interrupted_load_has_no_effect(program: Program) -> None:
    program.rows(200_000)
    with program.start("load", "--json") as process:
        assert process.stderr
        until(lambda: "loading" in process.stderr.readline())
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=15)
    assert process.returncode == 130
    assert '"exit":130' in out
    assert program.ok("status")["contacts"] == {}


def test_a_killed_sync_is_shown_as_interrupted(program: Program) -> None:
    program.rows(500)
    with sandbox("--rate", "50", "--burst", "10", "--lag", "0") as environment:
        program.environment.update(environment)
        with program.start("sync", "--json", *SLOW) as process:
            until(lambda: _running(program))
            process.kill()
            process.communicate()
        status = program.ok("status")
        assert status["running"] is None
        assert (status["runs"][0]["outcome"], status["runs"][0]["reason"]) == ("interrupted", "killed")
        assert "interrupted (killed)" in program.run("status").out


def test_a_stderr_that_nobody_reads_does_not_stop_a_sync(fast: Program) -> None:
    fast.rows(300)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    with fast.start("sync", "--json", stderr=writing) as process:
        os.close(writing)
        out, _ = process.communicate(timeout=30)
    os.close(reading)
    assert process.returncode == 0
    assert '"accepted":300' in out


def test_no_key_and_no_person_in_the_output(fast: Program) -> None:
    fast.rows(
        "CANARYKEY1,Canaryfirst,Canarylast,canary@mail.example,01000\n"
        "CANARYKEY2,Canaryfirst,Canarylast,canarymail,01000\n"
        "CANARYKEY3,,,,\n"
    )
    said = ""
    for arguments in (["load"], ["plan"], ["sync"], ["status"]):
        for more in ([], ["--json"]):
            ended = fast.run(*arguments, *more)
            said += ended.out + ended.err
    fast.environment["QOMON_API_KEY"] = "CANARYSECRET"
    said += fast.run("sync", "--same-space", "--debug").err
    assert "canary" not in said.lower()
    stored = (fast.folder / "state.db").read_bytes()
    assert b"CANARYSECRET" not in stored
    assert b"Canarylast" in stored  # the search itself works


def _running(program: Program) -> dict[str, int] | None:
    """Return the run in progress once it has sent something."""
    if not (program.folder / "state.db").exists():
        return None
    running: dict[str, int] | None = program.ok("status")["running"]
    return running if running and running["sent"] else None
