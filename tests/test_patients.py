"""The demonstration patients: the same at every call, marked simulated, with a mask that fits."""

import time
from dataclasses import replace

import numpy as np
import pytest

from sslmri.cohorts.patients import PATIENTS, draw_patient, make_patient
from sslmri.dashboard.screening.start import THUMBNAILS
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, prepare_scan
from tests.harness.thumbnails import thumbnail_of

HEALTHY, GLIOMA = "healthy", "glioma"


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[Scan, np.ndarray]]:
    """Returns every patient of the gallery."""
    return {key: make_patient(key) for key in PATIENTS}


def test_each_patient_is_a_volume_marked_simulated(made: dict[str, tuple[Scan, np.ndarray]]) -> None:
    for scan, mask in made.values():
        assert scan.voxels.dtype == np.float32
        assert np.isfinite(scan.voxels).all()
        assert mask.shape == scan.voxels.shape
        assert mask.dtype == bool
        assert scan.info.orientation == "SPL"
        assert scan.info.name.startswith("Simulated patient")
        assert len(scan.voxels) > 20


def test_spacing_says_how_far_the_slices_reach(made: dict[str, tuple[Scan, np.ndarray]]) -> None:
    for key, (scan, _) in made.items():
        assert scan.info.spacing_mm is not None
        low, high = PATIENTS[key].heights_mm
        assert len(scan.voxels) * scan.info.spacing_mm[0] == pytest.approx(high - low, abs=4)
        assert scan.info.spacing_mm[1] * scan.voxels.shape[1] == pytest.approx(222, abs=1)


def test_only_the_healthy_patient_has_no_finding(made: dict[str, tuple[Scan, np.ndarray]]) -> None:
    assert [key for key, (_, mask) in made.items() if not mask.any()] == [HEALTHY]


def test_the_finding_is_among_the_slices_that_are_screened(made: dict[str, tuple[Scan, np.ndarray]]) -> None:
    for key, (scan, mask) in made.items():
        numbers = prepare_scan(scan, Preparation()).slice_numbers
        assert key == HEALTHY or any(mask[number - 1].any() for number in numbers)


def test_a_mask_lies_on_its_finding() -> None:
    with_it, mask = draw_patient(PATIENTS[GLIOMA])
    without, none = draw_patient(replace(PATIENTS[GLIOMA], label=DISEASES["tumours"].reference))
    changed = np.abs(with_it - without)
    assert not none.any()
    assert changed[mask].mean() > 5 * changed[~mask].mean()


def test_a_patient_is_the_same_at_every_call_and_quickly_made(made: dict[str, tuple[Scan, np.ndarray]]) -> None:
    started = time.process_time()
    scan, mask = make_patient(GLIOMA)
    assert time.process_time() - started < 3
    assert scan.info.sha256 == made[GLIOMA][0].info.sha256
    assert np.array_equal(mask, made[GLIOMA][1])


def test_an_unknown_patient_is_refused_in_one_sentence() -> None:
    with pytest.raises(ManifestError, match=r"^Expected a patient out of healthy, .*, got 'nobody'\.$"):
        make_patient("nobody")


def test_every_card_has_the_thumbnail_of_its_patient(made: dict[str, tuple[Scan, np.ndarray]]) -> None:
    for key, (scan, mask) in made.items():
        assert (THUMBNAILS / f"{key}.png").read_bytes() == thumbnail_of(scan, mask)
