"""The simulated cohort: what is made up must be plausible, repeatable and fully described by its manifest."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslmri.cohorts import anatomy
from sslmri.cohorts.lesions import grow_meningioma
from sslmri.cohorts.manifest import MANIFEST_COLUMNS
from sslmri.cohorts.simulated import (
    SimulatedSubject,
    finding_slices,
    simulate_subject,
    slice_png,
    write_simulated,
)
from sslmri.diseases import DISEASES

SIZE = 111  # one pixel per voxel of the atlas, so that atlas coordinates are pixels
CLASSES = [(disease.key, label) for disease in DISEASES.values() for label in disease.classes]
WITH_FINDING = [(key, label) for key, label in CLASSES if label != DISEASES[key].reference]
N_SLICES = 3


@cache
def person(disease: str, label: str, seed: int = 5) -> SimulatedSubject:
    return simulate_subject(disease, label, seed, SIZE)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    manifest = write_simulated(tmp_path_factory.mktemp("cohort"), subjects_per_class=1, slices_per_subject=N_SLICES)
    with manifest.open(encoding="utf-8") as file:
        return manifest.parent, list(csv.DictReader(file))


def mean_place_mm(mask: np.ndarray) -> np.ndarray:
    slices, rows, columns = np.argwhere(mask).mean(axis=0) - anatomy.to_voxel(0, 0, 0)
    return np.array([-columns, -rows, slices]) * anatomy.VOXEL_MM


@pytest.mark.parametrize(("disease", "label"), CLASSES)
def test_every_class_gives_a_volume_between_zero_and_one_and_a_finding_unless_reference(disease, label):
    subject = person(disease, label)
    assert subject.volume.shape == subject.mask.shape == (len(subject.volume), SIZE, SIZE)
    assert subject.volume.dtype == np.float32
    assert subject.mask.dtype == bool
    assert subject.volume.min() >= 0
    assert subject.volume.max() <= 1
    assert subject.mask.any() == (label != DISEASES[disease].reference)


def test_same_seed_gives_the_same_subject():
    again = simulate_subject("tumours", "glioma", 5, SIZE)
    np.testing.assert_array_equal(again.volume, person("tumours", "glioma").volume)
    np.testing.assert_array_equal(again.mask, person("tumours", "glioma").mask)


def test_another_seed_gives_another_person():
    assert np.abs(person("tumours", "no_tumour").volume - person("tumours", "no_tumour", 0).volume).mean() > 0.01


def test_same_seed_with_another_label_is_the_same_person_away_from_the_finding():
    healthy, ill = person("ms", "normal"), person("ms", "multiple_sclerosis")
    changed = np.abs(healthy.volume - ill.volume) > 0.02
    assert changed.any()
    assert changed.mean() < 0.01
    assert changed[ill.mask].mean() > 0.9


def test_tissue_loss_grows_with_the_stage_on_average_and_the_fluid_with_it():
    classes = DISEASES["alzheimers"].classes
    seeds = (0, 5)
    lost = [np.mean([person("alzheimers", label, seed).mask.sum() for seed in seeds]) for label in classes]
    assert lost == sorted(lost)
    assert lost[0] == 0
    mildest, worst = (
        np.mean([np.mean(person("alzheimers", label, seed).volume[36:52, 35:80, 45:66] < 0.25) for seed in seeds])
        for label in (classes[0], classes[-1])
    )
    assert worst > 1.3 * mildest


def test_skull_stripped_brains_stand_on_black_and_the_same_outline_at_every_stage():
    outlines = [person("alzheimers", label).volume > 0 for label in DISEASES["alzheimers"].classes]
    assert not outlines[0][:, :4].any()
    for outline in outlines[1:]:
        assert (outline != outlines[0]).mean() < 0.001


def test_pituitary_tumours_lie_low_in_the_midline():
    for seed in (0, 5):
        right, anterior, superior = mean_place_mm(person("tumours", "pituitary", seed).mask)
        assert abs(right) < 10
        assert -15 < anterior < 20
        assert -46 < superior < -16


def test_gliomas_lie_in_a_hemisphere():
    for seed in (0, 5):
        right, _, superior = mean_place_mm(person("tumours", "glioma", seed).mask)
        assert abs(right) > 8
        assert superior > -30


def test_meningiomas_touch_the_border_of_the_brain_or_the_falx():
    atlas = anatomy.load_atlas()
    midline = int(anatomy.to_voxel(0, 0, 0)[2])
    for seed in range(6):
        extent = grow_meningioma(np.random.default_rng(seed), atlas).extent > 0
        at_border = bool((atlas.hull_depth_mm[extent] <= 2).any())
        at_falx = bool(extent[:, :, midline].any())
        assert at_border or at_falx
        assert atlas.hull_depth_mm[extent].min() > 0


@pytest.mark.parametrize(("disease", "label"), WITH_FINDING)
def test_findings_are_brighter_or_darker_than_the_same_person_without_them(disease, label):
    subject, healthy = person(disease, label), person(disease, DISEASES[disease].reference)
    change = (subject.volume - healthy.volume)[subject.mask]
    change = np.percentile(change, 80) if label == "glioma" else change.mean()  # a glioma's core is dark
    darkens = disease in ("alzheimers", "parkinsons")
    assert (change < -0.03) if darkens else (change > 0.03)


def test_gliomas_have_a_core_darker_than_their_rim():
    subject = person("tumours", "glioma")
    values = subject.volume[subject.mask]
    assert np.percentile(values, 90) > 2 * np.percentile(values, 10)


def test_ventricles_are_dark_on_t1_and_flair_and_bright_on_t2():
    by_contrast = {subject.contrast: subject for subject in (person("ms", "normal", seed) for seed in (0, 1))}
    by_contrast["T1"] = person("alzheimers", "non_demented")
    ventricle = anatomy.load_atlas().ventricle_mm == 0
    for contrast, is_bright in {"T1": False, "FLAIR": False, "T2": True}.items():
        volume = by_contrast[contrast].volume
        assert (volume[ventricle].mean() > volume[volume > 0.1].mean()) == is_bright


@pytest.mark.parametrize(("disease", "label"), CLASSES)
def test_chosen_slices_are_distinct_and_carry_the_finding(disease, label):
    subject = person(disease, label)
    chosen = finding_slices(subject, 6)
    assert 3 <= len(chosen) <= 6
    assert chosen == sorted(set(chosen))
    if subject.mask.any():
        assert subject.mask[chosen].any(axis=(1, 2)).all()


def test_a_slice_is_an_8_bit_grey_png(tmp_path):
    subject = person("ms", "multiple_sclerosis")
    (tmp_path / "slice.png").write_bytes(slice_png(subject, 40))
    with Image.open(tmp_path / "slice.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (SIZE, SIZE))
        np.testing.assert_allclose(np.asarray(picture) / 255, subject.volume[40], atol=0.5 / 255 + 1e-6)


def test_manifest_names_every_image_and_every_image_has_a_mask(cohort):
    folder, rows = cohort
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert {(row["disease"], row["label"]) for row in rows} == set(CLASSES)
    assert {row["cohort"] for row in rows} == {"simulated"}
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    named = {row["path"] for row in rows}
    assert written == named | {f"masks/{path}" for path in named}
    assert not (folder / "manifest.csv.unfinished").exists()


def test_a_group_belongs_to_one_class(cohort):
    classes_of_group: dict[str, set[tuple[str, str]]] = {}
    for row in cohort[1]:
        classes_of_group.setdefault(row["group"], set()).add((row["disease"], row["label"]))
    assert len(classes_of_group) == len(CLASSES)
    assert "sim-glioma-000" in classes_of_group
    assert all(len(classes) == 1 for classes in classes_of_group.values())


def test_boxes_enclose_the_masks_of_tumours_and_only_those(cohort):
    folder, rows = cohort
    for row in rows:
        with Image.open(folder / "masks" / row["path"]) as picture:
            mask = np.asarray(picture) > 0
        assert bool(row["box_xywh"]) == (row["disease"] == "tumours" and bool(mask.any()))
        if row["box_xywh"]:
            x, y, width, height = (float(part) * 128 for part in row["box_xywh"].split())
            inside = np.zeros_like(mask)
            inside[round(y - height / 2) : round(y + height / 2), round(x - width / 2) : round(x + width / 2)] = True
            assert not mask[~inside].any()
            assert np.ptp(np.flatnonzero(mask.any(axis=1))) + 1 == round(height)
            assert np.ptp(np.flatnonzero(mask.any(axis=0))) + 1 == round(width)


def draw_one_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets everybody look the same."""
    monkeypatch.setattr("sslmri.cohorts.simulated.simulate_subject", lambda *_: person("ms", "multiple_sclerosis"))


def test_folds_rotate_over_the_subjects_of_a_class(tmp_path, monkeypatch):
    draw_one_person(monkeypatch)
    manifest = write_simulated(tmp_path, subjects_per_class=7, slices_per_subject=1)
    with manifest.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == "glioma"]
    assert [int(row["fold"]) for row in rows] == [0, 1, 2, 3, 4, 0, 1]


def test_an_interrupted_run_leaves_no_manifest(tmp_path, monkeypatch):
    draw_one_person(monkeypatch)
    (tmp_path / "manifest.csv").write_text("of an earlier run")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sslmri.cohorts.simulated._write_subject", stop)
    with pytest.raises(KeyboardInterrupt):
        write_simulated(tmp_path, subjects_per_class=1, slices_per_subject=1)
    assert not (tmp_path / "manifest.csv").exists()
