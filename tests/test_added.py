"""A classifier added to a model, on its frozen encoder, changes no answer of the others."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslmri.diseases import DISEASES, load_diseases
from sslmri.errors import ManifestError, SslmriError, TrainingError
from sslmri.models.bank import FeatureBank
from sslmri.models.evidence import Metrics, find_evidence
from sslmri.models.folder import read_model_card
from sslmri.scans import read_scan
from sslmri.screening.screener import Screener
from sslmri.training.added import add_classifier
from sslmri.training.options import RunOptions
from sslmri.training.steps import run_bank
from tests.own_disease import KEY, command, documented_commands, draw_slices, write_definition
from tests.pages import open_page, words_of
from tests.test_protocols import changed, turned
from tests.tiny import TINY_FINETUNE


@pytest.fixture(scope="module", autouse=True)
def built_in() -> Iterator[None]:
    """Leaves the diseases that are built in alone at the end."""
    before = DISEASES.data
    yield
    DISEASES.data = before


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> RunOptions:
    """Returns the options of a run on drawn slices of a disease of one's own."""
    folder = tmp_path_factory.mktemp("added")
    load_diseases(write_definition(folder / "mine.toml"))
    manifest = draw_slices(folder / "slices") / "manifest.csv"
    return RunOptions(manifest, folder / "run", cache=folder / ".cache")


@pytest.fixture(scope="module")
def added(own: RunOptions, gated_folder: Path) -> Path:
    """Returns the run whose model is the tiny one with a fifth classifier, measured, by the documented commands."""
    slices, folder = own.data.parent, own.run.parent
    scan = next(slices.rglob("*.png")).rename(folder / "scan.png")
    names = {"SLICES": slices, "mine.toml": folder / "mine.toml", "scan.png": scan}
    commands = documented_commands(names | {"models/default": gated_folder, "runs/mine": own.run})
    assert [words[1] for words in commands] == ["manifest", "audit", "finetune", "evaluate", "screen"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert [command(*words) for words in commands] == [0] * 5
    return own.run


def test_the_other_classifiers_and_their_answers_stay(added: Path, gated_folder: Path, own: RunOptions) -> None:
    before, after = Screener.load(gated_folder), Screener.load(added)
    assert list(after.card.heads) == sorted([*before.card.heads, KEY])
    kept = [name for name in before.card.files if not name.startswith("bank")]
    assert {name: after.card.files[name] for name in kept} == {name: before.card.files[name] for name in kept}
    path = next((own.data.parent / "white matter lesions").rglob("*.png"))
    scan = read_scan(path.read_bytes(), path.name)
    former, now = before.screen(scan).summary.findings, after.screen(scan).summary.findings
    assert {key: now[key] for key in former} == former
    assert after.card.heads[KEY].regime == "linear-probe"
    assert after.card.training.cohorts.keys() == {"simulated", KEY}
    assert after.card.training.counts.groups == before.card.training.counts.groups + 12
    assert "was added to the model tiny (" in after.card.evidence_note


def test_the_gate_learns_one_disease_more(added: Path, gated_folder: Path) -> None:
    before, after = (FeatureBank.of(read_model_card(folder)) for folder in (gated_folder, added))
    assert after.domain_svms.keys() == before.domain_svms.keys() | {KEY}
    for key, svm in before.domain_svms.items():
        assert np.array_equal(svm.vectors, after.domain_svms[key].vectors)
        assert svm.threshold == after.domain_svms[key].threshold
        assert before.close_match[key] == after.close_match[key]
    assert after.cases[: len(before.cases)] == before.cases
    assert {case.disease for case in after.cases[len(before.cases) :]} == {KEY}
    assert np.allclose(after.features[: len(before.features)], before.features, atol=1e-3)


def test_its_gate_takes_its_own_slices_and_not_those_of_others(added: Path, own: RunOptions, cohort: Path) -> None:
    screener = Screener.load(added)
    bank = screener.bank

    def passing(paths: list[Path]) -> float:
        scans = [screener.screen(read_scan(path.read_bytes(), path.name)) for path in paths]
        points = bank.domain_projection.project(np.concatenate([scan.arrays.features for scan in scans]))
        return float(bank.domain_svms[KEY].passes(points).mean())

    mine, others = sorted(own.data.parent.rglob("*.png"))[::4], sorted((cohort.parent / "tumours").rglob("*.png"))[:10]
    assert passing(mine) > 0.8
    assert passing(others) < 0.2


def test_results_of_all_classifiers_are_shown(added: Path, gated_folder: Path, monkeypatch) -> None:
    former, now = (find_evidence(read_model_card(folder), Metrics).diseases for folder in (gated_folder, added))
    assert now.keys() == former.keys() | {KEY}
    assert {key: now[key] for key in former} == former
    summary = json.loads((added / "model" / "evidence" / "data.json").read_text())
    assert {row["disease"] for row in summary["classes"]} == now.keys()
    assert {row["cohort"] for row in summary["use"]} == {"simulated", KEY}
    monkeypatch.setenv("SSLMRI_MODEL", str(added))
    for page in ("pages/performance.py", "pages/data.py"):
        app = open_page(page)
        assert not app.exception
        assert len(app.segmented_control[0].options) == 5
        app.segmented_control[0].set_value(KEY).run()
        assert not app.exception
        assert "Small vessel disease" in words_of(app) or page == "pages/performance.py"


def test_a_classifier_is_replaced_and_its_results_go(
    gated_folder: Path, cohort: Path, tmp_path: Path, own: RunOptions
) -> None:
    data = changed(cohort, tmp_path, lambda table: table.assign(cohort="mine"))
    add_classifier(replace(own, data=data, run=tmp_path / "run"), TINY_FINETUNE, "ms", gated_folder)
    before, after = read_model_card(gated_folder), read_model_card(tmp_path / "run")
    differing = {name for name in before.files if before.files[name] != after.files[name]}
    assert differing == {"bank.json", "bank.safetensors", "heads/ms.json", "heads/ms.safetensors"}
    assert find_evidence(after, Metrics).diseases.keys() == find_evidence(before, Metrics).diseases.keys() - {"ms"}
    bank = FeatureBank.of(after)
    assert {case.cohort for case in bank.cases if case.disease == "ms"} == {"mine"}


@pytest.mark.usefixtures("added")
def test_what_cannot_be_added_is_one_sentence(
    own: RunOptions, gated_folder: Path, cohort: Path, tmp_path: Path
) -> None:
    new, seen = replace(own, run=tmp_path / "run"), changed(cohort, tmp_path, turned)
    refused: list[tuple[RunOptions, str, Path | None, type[SslmriError], str]] = [
        (new, KEY, None, TrainingError, "^Expected a model to add a classifier to, got none: name one with --start.$"),
        (new, KEY, own.data, TrainingError, "^Expected a model to add a classifier to, got "),
        (new, "strok", gated_folder, ManifestError, "^Expected a disease out of .*small_vessel, got 'strok'.$"),
        (new, "ms", gated_folder, TrainingError, "^Expected labelled slices of Multiple sclerosis, got none"),
        (replace(new, protocol="as-published"), KEY, gated_folder, TrainingError, "^Expected the protocol group-disj"),
        (replace(new, data=seen), "ms", gated_folder, TrainingError, "^Expected a start that learned from none"),
    ]
    for options, key, start, error, said in refused:
        with pytest.raises(error, match=said):
            add_classifier(options, TINY_FINETUNE, key, start)
        assert not (options.run / "model").exists()


def test_a_bank_of_a_part_of_the_diseases_is_refused(added: Path, own: RunOptions) -> None:
    with pytest.raises(TrainingError, match="got none of alzheimers, ms, parkinsons, tumours: name the data of all"):
        run_bank(own)
