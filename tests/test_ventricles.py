"""The ventricles in the aligned slices: what they measure, and how it is compared with training controls."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from sslmri.scans.atlas.slab import cut_slab, load_template
from sslmri.scans.atlas.ventricles import Line, Ventricles, measure, ventricle_mask
from sslmri.scans.dicom_rules import stated_decade
from sslmri.screening.ventricles import AGES, ALL_AGES, age_group, ventricles_line


@pytest.fixture(scope="module")
def slab() -> np.ndarray:
    """Returns the aligned slices of the average brain."""
    return cut_slab(load_template()).voxels


def widened(slab: np.ndarray, radius: int) -> np.ndarray:
    """Returns slices whose ventricles are filled to a distance in columns."""
    rows, columns = np.indices(slab.shape[1:])
    near = ((rows - 52) / 1.6) ** 2 + (columns - 63.5) ** 2 < radius**2
    dark = 0.2 * np.percentile(slab[slab > 0], 80)
    return np.where(near & (slab > 0), dark, slab).astype(np.float32)


def test_the_ventricles_of_the_average_brain_are_found_where_they_are(slab):
    found, mask = measure(slab), ventricle_mask(slab)
    assert 0.01 < found.fraction < 0.06
    assert 0.1 < found.evans_index < 0.35
    assert found.horns.slice_ == found.brain.slice_
    assert found.horns.row < 64 < found.horns.last  # in front, and over the middle
    assert found.horns.first < 63
    assert not mask[:, :20].any()
    assert not mask[:, :, :35].any()
    assert not mask[:, :, 93:].any()


def test_wider_ventricles_measure_more_on_the_row_where_they_are_widest(slab):
    narrow, wide = measure(widened(slab, 10)), measure(widened(slab, 16))
    assert narrow.fraction < wide.fraction
    assert narrow.evans_index < wide.evans_index
    assert wide.horns.length == pytest.approx(32, abs=2)


def test_brightness_changes_no_measurement(slab):
    assert measure(slab * 7.5) == measure(slab)


def test_slices_without_a_ventricle_have_no_evans_index():
    assert measure(np.ones((32, 128, 128), np.float32)) == Ventricles(0.0, None, None)
    assert measure(np.zeros((32, 128, 128), np.float32)) == Ventricles(0.0, None, None)


def test_measurements_are_compared_with_controls_of_the_age():
    ventricles = Ventricles(0.2, Line(20, 30, 50, 75), Line(20, 60, 17, 113))
    assert ventricles_line(ventricles) == (
        "Ventricles: 20.0 % of the brain in the aligned slices. Evans index 0.27 (slice 21)."
    )
    assert ventricles_line(ventricles, "70 to 79").startswith(
        "Ventricles: 20.0 % of the brain in the aligned slices, above 100 % of 19 controls aged 70 to 79. Evans index "
        "0.27 (slice 21), above "
    )
    assert ventricles_line(Ventricles(0.0, None, None), ALL_AGES) == (
        "Ventricles: 0.0 % of the brain in the aligned slices, above 0 % of 80 controls of all ages."
    )


def test_older_controls_have_larger_ventricles():
    text = [ventricles_line(Ventricles(0.045, None, None), age).split("above ")[1] for age in AGES]
    above = [int(part.split(" %")[0]) for part in text]
    assert above == sorted(above, reverse=True)


@pytest.mark.parametrize(
    ("decade", "group"),
    [(None, ALL_AGES), (0, "under 60"), (50, "under 60"), (60, "60 to 69"), (70, "70 to 79"), (80, "80 or over")],
)
def test_decades_are_joined_to_groups_of_controls(decade, group):
    assert age_group(decade) == group


@pytest.mark.parametrize(
    ("tags", "decade"),
    [
        ({"PatientAge": "075Y"}, 70),
        ({"PatientAge": "096Y"}, 80),
        ({"PatientAge": "009M"}, 0),
        ({"PatientBirthDate": "19500601", "StudyDate": "20200531"}, 60),
        ({"PatientBirthDate": "19500601", "StudyDate": "20200601"}, 70),
        ({"PatientBirthDate": "19500601"}, None),
        ({"PatientBirthDate": "20210101", "StudyDate": "20200101"}, None),
        ({"PatientAge": "old"}, None),
        ({}, None),
    ],
)
def test_of_the_age_in_a_dicom_file_only_the_decade_is_kept(tags, decade):
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    assert stated_decade(dataset) == decade
