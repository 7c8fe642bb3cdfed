"""An answer to an aligned brain on the screening page: what its ventricles measure, and its map on the scan."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sslmri.dashboard.screening import viewer
from sslmri.models.cards import ModelCard
from sslmri.scans.atlas import AlignedBrain
from sslmri.scans.atlas.ventricles import Line, Ventricles
from sslmri.scans.scan import Scan
from tests.pages import nifti, upload, words_of

VENTRICLES = Ventricles(0.2, Line(20, 30, 50, 75), Line(20, 60, 17, 113))


def align(scan: Scan, report: Callable[[str], object]) -> AlignedBrain:
    info = replace(scan.info, n_slices=32, spacing_mm=None)
    to_scan = np.array([[1.0, 0, 0, 4], [0, 0.7, 0, 5], [0, 0, 0.6, 2], [0, 0, 0, 1]])
    return AlignedBrain(Scan(info, scan.voxels[:32]), to_scan, True, VENTRICLES)


def widget(widgets: Any, start: str) -> Any:
    return next(own for own in widgets if str(own.key).startswith(start))


def test_the_card_compares_the_ventricles_and_the_viewer_carries_the_map_back(configured: ModelCard, monkeypatch):
    monkeypatch.setattr("sslmri.screening.screener.align", align)
    given: list[dict[str, Any]] = []

    def pack(scan, volume, numbers, mask, *, levels, shown) -> bytes:
        given.append(shown | {"levels": levels, "numbers": numbers})
        return b""

    monkeypatch.setattr(viewer, "pack", pack)
    app = upload(("head.nii", nifti(n_slices=40)))
    assert "above 100 % of 80 controls of all ages. Evans index 0.27 (slice 21), above" in words_of(app)
    widget(app.selectbox, "age").set_value("70 to 79").run()
    assert "above 100 % of 19 controls aged 70 to 79." in words_of(app)
    widget(app.button, "show-alzheimers").click().run()
    assert list(given[-1]["lines"]) == [21]
    assert len(given[-1]["strip"]["values"]) == 32
    widget(app.button_group, "original-").set_value(True).run()
    assert not app.exception
    assert not {"lines", "strip"} & given[-1].keys()
    assert list(given[-1]["levels"]) == list(range(5, 37))
    assert given[-1]["numbers"] == tuple(range(5, 37))
    assert given[-1]["first"] in given[-1]["numbers"]


def test_a_head_that_the_reader_says_is_t1_is_aligned(configured: ModelCard, monkeypatch):
    monkeypatch.setattr("sslmri.screening.screener.align", align)
    monkeypatch.setattr("sslmri.screening.sequences.name_seen", lambda *_: "FLAIR")
    app = upload(("head.nii", nifti(n_slices=40)))
    assert "Evans index" not in words_of(app)
    widget(app.selectbox, "sequence").set_value("T1").run()
    assert not app.exception
    assert "Evans index 0.27" in words_of(app)
    widget(app.selectbox, "sequence").set_value("found").run()
    assert "Evans index" not in words_of(app)
