"""Cells of tables that a spreadsheet of any country would run are text."""

import pytest

from sslmri.files import neutralised

HIDDEN = ["", "\0", "\x0b", "\u200e", "\u00ad", "\u2066", "\u202e", "\ufeff", "\u2003", "\x1f\u200b ", "\n", "\t"]


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
@pytest.mark.parametrize("sign", "=+-@\uff1d", ids=ascii)
def test_no_sign_that_is_not_seen_hides_a_formula(hidden, sign):
    assert neutralised(f"{hidden}{sign}1") == f"'{hidden}{sign}1"


@pytest.mark.parametrize(
    ("cell", "safe"),
    [("a;=1+1", "a;'=1+1"), ("a\t-1", "a\t'-1"), ("a; @b;+c", "a;' @b;'+c"), (";=1", ";'=1")],
    ids=ascii,
)
def test_a_formula_behind_a_separator_of_another_country_is_text(cell, safe):
    assert neutralised(cell) == safe


@pytest.mark.parametrize("cell", ["", " ", "a=1", "a; b", "1 - 2", "\u00e9=1", 3, None, -1.5])
def test_other_cells_stay_as_they_are(cell):
    assert neutralised(cell) == cell
