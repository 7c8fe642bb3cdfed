"""A disease of more classes than colours, and more diseases than dashes, are drawn all the same."""

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


def test_a_fifth_disease_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    more = dict.fromkeys(("fifth", "sixth"), DISEASES["ms"])
    monkeypatch.setattr(theme, "DISEASES", DISEASES | more)
    lines = theme.disease_lines(["sixth", "ms", "fifth", "unknown"])
    assert set(lines) == {"ms", "fifth", "sixth"}
    assert lines["fifth"] != lines["sixth"]
