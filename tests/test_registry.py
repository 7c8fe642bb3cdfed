"""One registry holds what is known of a cohort; a new disease needs no other place."""

from dataclasses import replace
from pathlib import Path

import pytest

from sslmri import diseases
from sslmri.cohorts import registry
from sslmri.cohorts.cohort import Cohort
from sslmri.cohorts.confounding import find_confounding
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.registry import COHORTS, caveat_of, meaning_of, recipe_of, terms_of, unit_of
from sslmri.cohorts.simulated import finding_slices, simulate_subject
from sslmri.cohorts.splits import class_counts
from sslmri.dashboard import theme
from sslmri.diseases import DISEASES, Disease

TUMOURS = DISEASES["tumours"]
STROKE = Disease("stroke", "Stroke", ("no_stroke", "ischaemic", "haemorrhagic"), "Stroke?", "axial T2", "Be careful.")


def test_every_cohort_is_of_a_known_disease_or_of_none() -> None:
    assert {cohort.disease for cohort in COHORTS.values()} <= {*DISEASES, None}
    assert all(cohort.terms for cohort in COHORTS.values())


def test_cohort_that_no_registry_knows_keeps_the_caveat_of_its_disease() -> None:
    assert terms_of("mine") == "origin and terms not recorded"
    assert caveat_of("tumours", ["mine"]) == TUMOURS.caveat
    assert unit_of(["mine/a"]) == "group"


def test_limits_are_told_of_models_trained_on_public_cohorts_only() -> None:
    assert "are unknown to it" in caveat_of("tumours", ["cheng", "mine"])
    assert "ventricles" in caveat_of("alzheimers", ["oasis_2d"])
    for cohorts in (["simulated"], ["ixi_t1"], ["oasis_2d"]):
        assert caveat_of("tumours", cohorts) == TUMOURS.caveat


def test_groups_are_subjects_only_where_every_one_is_known() -> None:
    assert unit_of(["oasis_2d/a", "ixi_t2/b"]) == "subject"
    assert unit_of(["oasis_2d/a", "cheng/b"]) == unit_of(["oasis_2d/unknown-x"]) == unit_of([]) == "group"
    assert meaning_of("subject") != meaning_of("group")


def test_classes_with_sources_of_their_own_are_confounded() -> None:
    labels = ["no_tumour", "glioma", "meningioma", "pituitary", "glioma"]
    found = find_confounding(TUMOURS, labels, ["br35h", "cheng", "cheng", "cheng", "tcga_lgg"])
    assert found.exclusive == ["no_tumour"]
    assert not found.is_complete
    assert found.single_class_cohorts == [("br35h", "no_tumour"), ("tcga_lgg", "glioma")]
    assert found.notice is not None
    assert found.notice.disease == "tumours"
    assert found.notice.text == (
        "No tumour comes from br35h, the other classes from cheng and tcga_lgg: the classifier may learn the dataset "
        "instead of the disease."
    )


def test_classes_that_share_a_cohort_or_stand_alone_are_not_confounded() -> None:
    assert find_confounding(TUMOURS, ["no_tumour", "glioma"], ["a", "a"]).notice is None
    alone = find_confounding(TUMOURS, ["glioma"], ["a"])
    assert alone.exclusive == []
    assert not alone.is_complete
    assert find_confounding(TUMOURS, ["glioma", "meningioma"], ["a", "b"]).is_complete


@pytest.fixture
def fifth(monkeypatch: pytest.MonkeyPatch) -> Disease:
    """Returns a disease of three classes that is an entry of the diseases and a cohort of the registry."""
    monkeypatch.setitem(diseases.DISEASES, STROKE.key, STROKE)
    cohort = Cohort(STROKE.key, "terms", caveat="One scanner.")
    monkeypatch.setitem(registry.COHORTS, "stroke_set", cohort)
    return STROKE


def test_a_new_disease_needs_one_entry_and_one_cohort(fifth: Disease) -> None:
    assert caveat_of(fifth.key, ["stroke_set"]) == "Be careful. One scanner."
    assert recipe_of(fifth.key).contrasts
    subject = simulate_subject(fifth.key, "ischaemic", seed=0, image_size=32)
    assert finding_slices(subject, 3)
    record = Record(Path("x"), "x", "stroke_set", fifth.key, "ischaemic", "g", None, split="train")
    assert class_counts([record])["label"].tolist()[::3] == list(fifth.classes)
    assert find_confounding(fifth, ["ischaemic"], ["stroke_set"]).notice is None


def test_a_new_disease_has_colours_and_lines(fifth: Disease, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(theme.class_colours(fifth)) == set(fifth.classes)
    more = replace(fifth, classes=tuple(f"c{i}" for i in range(9)))
    assert len(theme.class_colours(more)) == 9
    assert fifth.title in theme.disease_colours()
