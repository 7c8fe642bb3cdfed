"""Images in a zip file are the slices of one scan, or are refused by their names."""

import pytest

from sslmri.scans.archive import read_archive
from tests.test_archive import picture, refusal_of, zipped

SEVERAL = {
    "folders": ["glioma/glioma_0.png", "glioma/glioma_1.png", "notumor/notumor_0.png"],
    "folders of one kind": ["a\\1.png", "a\\2.png", "b\\1.png"],
    "names": ["patient_a.png", "patient_b.png"],
    "numbered classes": ["Tr-gl_0010.png", "Tr-gl_0011.png", "Tr-no_0010.png"],
    "numbered patients": ["p1_z1.png", "p1_z2.png", "p2_z1.png", "p2_z2.png"],
}


@pytest.mark.parametrize("case", SEVERAL)
def test_images_of_several_scans_are_refused(case):
    message = refusal_of(zipped(*((name, picture(9)) for name in SEVERAL[case])))
    assert "perhaps of several patients" in message
    assert SEVERAL[case][0] not in message


ONE = {
    "numbers": ["slice 1.png", "slice 2.png", "slice 10.png"],
    "copies": ["non.png", "non_2.png", "non (3).png"],
    "one patient": ["OAS1_0028_MR1_mpr-1_100.png", "OAS1_0028_MR1_mpr-1_101.png"],
    "number and position": ["1_12.5mm.png", "2_17.5mm.png", "3_22.0mm.png"],
    "one folder": ["study/1.png", "study/2.png"],
}


@pytest.mark.parametrize("case", ONE)
def test_images_whose_names_differ_in_one_number_are_slices_of_one_scan(case):
    assert len(read_archive(zipped(*((name, picture(9)) for name in ONE[case]))).voxels) == len(ONE[case])
