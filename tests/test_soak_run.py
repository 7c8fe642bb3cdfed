"""The table of all trials: every row, what failed, and when and where."""

import pickle

from soak import __main__ as soak
from soak import lanes
from soak.row import Row, row
from tests.trials import broken, killed, sound


def test_the_table_tells_each_hazard_and_what_failed(tmp_path, monkeypatch, capsys):
    rows = [Row("kills", 1200, 0, "all | resume"), row("uploads", 25, [f"session {n}" for n in range(7)], "p95 21 s")]
    monkeypatch.setattr(soak, "run_all", lambda: iter(rows))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 1
    text = (tmp_path / "soak.md").read_text()
    assert "| kills | 1,200 | 0 | all \\| resume |" in text
    assert "| uploads | 25 | 7 | p95 21 s |" in text
    assert "- uploads: session 0\n" in text
    assert "Python 3." in text
    assert capsys.readouterr().out.strip() == text.strip()


def test_nothing_failed_is_exit_0(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "run_all", lambda: iter([Row("kills", 3, 0)]))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 0
    assert "What failed" not in (tmp_path / "soak.md").read_text()


def test_what_could_not_be_tried_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "run_all", lambda: iter([Row("hostile files", 0, 0, "no folder"), Row("kills", 3, 0)]))
    assert soak.main(["--out", str(tmp_path / "soak.md")]) == 0
    assert "## Not tried on this machine\n\n- hostile files: no folder\n" in (tmp_path / "soak.md").read_text()


def test_a_trial_that_breaks_or_dies_has_failed_and_the_next_one_runs():
    found = lanes._run_lane([broken, killed, sound])
    assert [(one.tried, one.failed) for one in found] == [(1, 1), (1, 1), (2, 0)]
    assert found[0].faults == ("ValueError: no server",)
    assert "killed" in found[1].hazard


def test_the_lanes_can_be_handed_to_processes_of_their_own():
    handed = pickle.loads(pickle.dumps(lanes.LANES))
    assert [len(lane) for lane in handed] == [len(lane) for lane in lanes.LANES]
