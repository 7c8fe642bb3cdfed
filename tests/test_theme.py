"""A disease of more classes than colours, and more diseases than hues, are drawn all the same."""

from dataclasses import replace

import pytest

from sslmri.dashboard import theme
from sslmri.diseases import DISEASES


@pytest.mark.parametrize("key", ["alzheimers", "tumours"])
def test_a_disease_of_six_classes_has_a_colour_for_each(key: str) -> None:
    disease = replace(DISEASES[key], classes=("none", "a", "b", "c", "d", "e"))
    colours = theme.class_colours(disease)
    assert list(colours) == list(disease.classes)
    assert colours["none"] == theme.REFERENCE
    assert len({colours[label] for label in "abc"}) == 3
    assert colours["d"] == colours["a"]


def test_a_fifth_disease_has_a_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {key: replace(DISEASES["ms"], title=key) for key in ("fifth", "sixth")}
    monkeypatch.setattr(theme, "DISEASES", DISEASES | more)
    colours = theme.disease_colours()
    assert set(colours) == {"fifth", "sixth"} | {disease.title for disease in DISEASES.values()}
    assert colours["fifth"] != colours["sixth"]
