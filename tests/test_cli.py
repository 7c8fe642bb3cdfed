"""The command lines: one process of each, as a user starts it, and what they print and return."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image

from sslmri.scans.file_type import FORMATS
from tests.conftest import Call

ROOT = Path(__file__).resolve().parents[1]


def started(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Returns what becomes of a real process; the other tests call the same ``main`` in this one, which is faster."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def screen(call: Call) -> Call:
    return lambda *arguments: call("sslmri", "screen", *arguments)


@pytest.fixture
def files(cohort, tmp_path) -> list[Path]:
    """Returns two good images with a bad one between them, whose name is a spreadsheet formula."""
    good = sorted(cohort.parent.rglob("*.png"))[:2]
    bad = tmp_path / "=HYPERLINK(1).png"
    bad.write_bytes(b"<html>")
    return [good[0], bad, good[1]]


def test_screen_prints_one_object_a_file_in_order_and_exits_2(screen, files, model_folder, tmp_path):
    done = screen(*files, "--model", model_folder, "--report", tmp_path / "out.pdf")
    assert done.returncode == 2
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["file"] for entry in printed] == [str(path) for path in files]
    assert [entry["status"] for entry in printed] == ["screened", "refused", "screened"]
    finding = printed[0]["findings"][0]
    assert list(printed[0]) == list(printed[1]) == [
        "scan", "file", "n_files", "sha256", "status", "reason", "is_brain_mri", "sequence", "findings", "warnings",
        "model_sha256", "notice",
    ]  # fmt: skip
    assert list(finding) == [
        "disease", "verdict", "reason", "probability_any", "flagged_from", "not_flagged_below", "site_patients",
        "probabilities", "top_class", "prediction_set", "coverage", "peak", "peak_xy", "key_slice", "ventricles",
        "evans_index", "evidence",
    ]  # fmt: skip
    assert {finding["evidence"] for finding in printed[0]["findings"]} <= {"strong", "limited", "insufficient"}
    assert [entry["scan"] for entry in printed] == [1, 2, 3]
    assert finding["disease"] == "alzheimers"
    assert printed[1]["findings"] == []
    pages = [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(tmp_path / "out.pdf")]
    assert len(pages) == 4
    assert "2 scans screened, 1 refused" in pages[0]
    assert printed[2]["sha256"] in pages[2]
    assert not any("HYPERLINK" in page or files[0].stem in page for page in pages)
    assert printed[1]["reason"] == f"This is a text file. Upload {FORMATS}."


def test_screen_writes_a_table_without_formulas_and_overlays(screen, files, model_folder, tmp_path, monkeypatch):
    named = [files[0], Path(files[1].name)]
    monkeypatch.chdir(tmp_path)
    done = screen(*named, "--model", model_folder, "--csv", "out.csv", "--overlays", "maps")
    assert done.returncode == 2, done.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["disease"] for row in rows] == ["alzheimers", "tumours", "ms", "parkinsons", ""]
    assert rows[-1]["file"].startswith("'=")
    overlays = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert overlays == [f"0001-{name}.png" for name in ("alzheimers", "ms", "parkinsons", "tumours")]
    assert Image.open(tmp_path / "maps" / overlays[0]).size == (512, 512)


def test_a_process_without_streamlit_screens_a_name_that_is_not_utf_8_and_exits_2_for_another_not_there(
    files, model_folder, tmp_path
):
    named = tmp_path / os.fsdecode(b"patient\xff.png")
    named.write_bytes(files[0].read_bytes())
    table = tmp_path / "out.csv"
    code = "import sys; from sslmri.__main__ import main; n = main(); sys.exit(9 if 'streamlit' in sys.modules else n)"
    written = ("--csv", table, "--report", tmp_path / "out.pdf")
    done = started("-c", code, "screen", named, "missing.png", "--model", model_folder, *written)
    assert done.returncode == 2, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(entry["file"], entry["status"]) for entry in printed] == [
        (str(named), "screened"), ("missing.png", "refused"),
    ]  # fmt: skip
    assert "patient\\udcff.png" in table.read_text(encoding="utf-8")


def test_screen_exits_0_when_every_file_was_screened(screen, files, model_folder):
    assert screen(files[0], files[2], "--model", model_folder).returncode == 0


def test_screen_exits_1_with_a_sentence_when_there_is_no_model(screen, files, tmp_path):
    done = screen(files[0], "--model", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Expected")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_screen_refuses_a_file_that_is_not_there_and_goes_on(screen, files, model_folder):
    done = screen("missing.png", files[0], "--model", model_folder)
    assert done.returncode == 2
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["refused", "screened"]


def test_a_training_process_exits_1_with_a_sentence_for_a_faulty_manifest(tmp_path):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,cohort,disease,label,group\nnone.png,c,ms,normal,g\n")
    done = started("train.py", "pretrain", "--data", manifest, "--run", tmp_path / "run", "--cache", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: Expected a file under" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_fine_tuning_without_pre_training_exits_1_with_a_sentence(call, cohort, tmp_path):
    done = call("train.py", "finetune", "--data", cohort, "--run", tmp_path / "run", "--cache", tmp_path)
    assert done.returncode == 1
    assert "run `python train.py pretrain` first" in done.stderr


def test_a_begun_run_is_not_overwritten(call, cohort, model_folder, tmp_path):
    done = call("train.py", "pretrain", "--data", cohort, "--run", model_folder.parent, "--cache", tmp_path)
    assert done.returncode == 1
    assert "pass --resume or another --run" in done.stderr


def test_a_run_folder_of_another_format_is_refused(call, cohort, tmp_path):
    (tmp_path / "model.json").write_text('{"format": "theirs"}')
    done = call("train.py", "evaluate", "--data", cohort, "--run", tmp_path)
    assert done.returncode == 1
    assert "Expected a model of format sslmri-3" in done.stderr


def test_a_name_in_an_error_does_not_steer_the_terminal(call, tmp_path):
    done = call("train.py", "pretrain", "--data", tmp_path / "\x1b]0;owned\x07.csv", "--run", tmp_path / "run")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert "\\x1b]0;owned\\x07.csv" in done.stderr


def test_manifest_turns_a_download_into_a_manifest(call, tmp_path):
    for folder in ("Non Demented", "Very mild Dementia", "Mild Dementia", "Moderate Dementia"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"OAS1_{len(folder):04d}_MR1_mpr-1_100.jpg").write_bytes(b"x")
    done = call("sslmri", "manifest", tmp_path, "--cohort", "oasis")
    assert done.returncode == 0, done.stderr
    assert "4 slices, 4 groups" in done.stdout
    assert (tmp_path / "manifest.csv").exists()


def test_evaluate_under_the_other_protocol_exits_1_with_a_sentence(call, cohort, model_folder, tmp_path):
    done = call("train.py", "evaluate", "--data", cohort, "--run", model_folder, "--protocol", "as-published",
                "--cache", model_folder.parent / "cache")  # fmt: skip
    assert done.returncode == 1
    assert "under the protocol as-published, got one of group-disjoint: pass --protocol group-disjoint" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (model_folder / "evidence" / "as-published").exists()


def test_evaluate_does_one_thing_at_a_time(call, model_folder):
    done = call("train.py", "evaluate", "--check", "--compare-to", model_folder, "--run", model_folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Expected one of --check and --compare-to, got both" in done.stderr


def test_a_disk_that_takes_nothing_is_one_sentence_without_a_number(screen, files, model_folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = screen(files[0], "--model", model_folder, "--csv", tmp_path / "file" / "out.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("error: A file could not be read or written")
    assert "Errno" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_whose_names_are_not_utf_8_is_refused_by_name(call, tmp_path):
    for label in ("glioma", "meningioma", "pituitary"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").touch()
    (tmp_path / "glioma" / os.fsdecode(b"b\xff\n.png")).touch()
    done = call("sslmri", "manifest", tmp_path, "--cohort", "tumours")
    assert done.returncode == 1
    assert done.stderr == (
        "error: Expected names in UTF-8, got glioma/b\\udcff\\n.png: rename the file or its folder.\n"
    )
    assert not (tmp_path / "manifest.csv").exists()


def test_a_manifest_elsewhere_of_a_folder_that_is_not_utf_8_is_refused(call, tmp_path):
    folder = tmp_path / os.fsdecode(b"data\xff")
    for label in ("glioma", "meningioma", "pituitary"):
        (folder / label).mkdir(parents=True)
        (folder / label / "a.png").touch()
    done = call("sslmri", "manifest", folder, "--cohort", "tumours", "--out", tmp_path / "out.csv")
    assert done.returncode == 1
    assert "Expected names in UTF-8" in done.stderr
    assert not (tmp_path / "out.csv").exists()
    assert call("sslmri", "manifest", folder, "--cohort", "tumours").returncode == 0


def test_a_reader_that_closes_the_output_early_is_no_error():
    command = [sys.executable, "-m", "sslmri", "model-card"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
