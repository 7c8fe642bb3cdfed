"""The table of all trials: every row, what failed, and when and where."""

import pickle
import time
from functools import partial
from pathlib import Path

from tests.soak import __main__ as soak
from tests.soak import lanes, running
from tests.soak.result import Row, row
from tests.trials import broken, called, hanging, killed, leaving, sound


def test_the_table_tells_each_hazard_and_what_failed(tmp_path, monkeypatch, capsys):
    rows = [Row("kills", 1200, 0, "all | resume"), row("uploads", 25, [f"session {n}" for n in range(7)], "p95 21 s")]
    monkeypatch.setattr(soak, "run_all", lambda: iter(rows))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 1
    text = (tmp_path / "soak.md").read_text()
    assert "| kills | 1,200 | 0 | all \\| resume |" in text
    assert "| uploads | 25 | 7 | p95 21 s |" in text
    assert "- uploads: session 0\n" in text
    assert "Python 3." in text
    assert "`make soak` at " in text
    assert capsys.readouterr().out.strip() == text.strip()


def test_nothing_failed_is_exit_0(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "run_all", lambda: iter([Row("kills", 3, 0)]))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 0
    assert "What failed" not in (tmp_path / "soak.md").read_text()


def test_what_could_not_be_tried_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "run_all", lambda: iter([Row("hostile files", 0, 0, "no folder"), Row("kills", 3, 0)]))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 0
    assert "## Not tried on this machine\n\n- hostile files: no folder\n" in (tmp_path / "soak.md").read_text()


def test_a_failure_that_is_known_is_told_and_is_exit_0(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "run_all", lambda: iter([Row("hostile files", 88, 1, known=1)]))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 0
    assert "| hostile files | 88 | 1 (1 known) |" in (tmp_path / "soak.md").read_text()
    monkeypatch.setattr(soak, "run_all", lambda: iter([Row("hostile files", 88, 2, known=1)]))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 1


def test_a_run_that_takes_too_long_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "run_all", lambda: iter([Row("kills", 3, 0)]))
    monkeypatch.setattr(soak, "_MOST_MINUTES", -1.0)
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 1
    assert "| the whole run, at most 40 minutes | 1 | 1 | 0.0 |" in (tmp_path / "soak.md").read_text()


def test_a_trial_that_breaks_or_dies_has_failed_and_the_next_one_runs(capfd):
    found = lanes.run_lane([partial(called, partial(broken)), killed, sound])
    assert [(one.hazard, one.tried, one.failed) for one in found] == [
        ("tests.trials.broken", 1, 1),
        ("tests.trials.killed", 1, 1),
        ("sound", 2, 0),
    ]
    assert [one.faults for one in found[:2]] == [("ValueError: no server",), ("its process died",)]
    assert 'raise ValueError("no server")' in capfd.readouterr().err


def test_a_trial_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    found = running.run(partial(hanging, tmp_path / "pids"), limit_s=20.0)
    assert (found.hazard, found.faults) == ("tests.trials.hanging", ("not over after 20 s",))
    assert len(pids := (tmp_path / "pids").read_text().split()) == 2
    assert all(map(has_ended, pids))


def test_what_a_trial_leaves_behind_is_ended(tmp_path):
    assert running.run(partial(leaving, tmp_path / "pids")).failed == 0
    assert has_ended((tmp_path / "pids").read_text())


def test_the_lanes_can_be_handed_to_processes_of_their_own():
    handed = pickle.loads(pickle.dumps(lanes.LANES))
    assert [len(lane) for lane in handed] == [len(lane) for lane in lanes.LANES]


def has_ended(pid: str) -> bool:
    """Returns whether a process ends within ten seconds; one that nobody has asked for yet is a zombie."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
