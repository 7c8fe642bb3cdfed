"""MGH, NRRD and MetaImage give the slices that NIfTI gives, as nibabel and SimpleITK write them; damage is refused."""

import gzip
import random
import zlib

import nibabel
import numpy as np
import pytest

from sslmri.errors import ScanError
from sslmri.scans import read_scan
from sslmri.scans.file_type import file_type
from sslmri.scans.group_files import list_scans
from sslmri.scans.prepare import prepare_files
from sslmri.scans.slices import Preparation, PreparedScan
from sslmri.scans.volume_files import VOLUMES, read_volume_file
from tests.harness.parsing import parse_scan, parse_series
from tests.nifti_files import SPACING, changed, image_of, nifti
from tests.test_archive import refusal_of, zipped

TYPES = {"u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "f4": "float", "f8": "double"}


def mgh(head: np.ndarray, codes: str = "RAS", kind: str = "i2") -> bytes:
    image = image_of(head, codes)
    data = np.asarray(image.dataobj).astype(kind)
    return nibabel.MGHImage(data, image.affine.astype(np.float64)).to_bytes()


def steps_of(head: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns voxels (x, y, z), and the step (3, 3) in mm to the right, anterior and superior along each of them."""
    image = image_of(head, codes)
    return np.asarray(image.dataobj), image.affine[:3, :3].T


def nrrd(head, codes="RAS", kind="i2", order="<", encoding="raw", space="left-posterior-superior", more="") -> bytes:
    voxels, steps = steps_of(head, codes)
    signs = {"left-posterior-superior": (-1, -1, 1), "RAS": (1, 1, 1)}[space]
    vectors = " ".join(f"({','.join(map(str, step))})" for step in steps * signs)
    stored = voxels.astype(order + kind).tobytes(order="F")
    header = (
        f"NRRD0004\n# Complete NRRD file format specification at:\n{more}type: {TYPES[kind]}\ndimension: 3\n"
        f"space: {space}\nsizes: {' '.join(map(str, voxels.shape))}\nspace directions: {vectors}\n"
        f"endian: {'big' if order == '>' else 'little'}\nencoding: {encoding}\nspace origin: (1,2,3)\nkey:=a value\n\n"
    )
    return header.encode() + (gzip.compress(stored) if encoding.startswith("gz") else stored)


def metaimage(head, codes="RAS", kind="short", order="<", is_compressed=False, voxel_file="LOCAL", more="") -> bytes:
    voxels, steps = steps_of(head, codes)
    spacing = np.linalg.norm(steps, axis=1)
    matrix = (steps / spacing[:, None] * (-1, -1, 1)).ravel()
    dtype = next(key for key, name in TYPES.items() if name == kind)
    stored = voxels.astype(order + dtype).tobytes(order="F")
    stored = zlib.compress(stored) if is_compressed else stored
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = {order == '>'}\n"
        f"CompressedData = {is_compressed}\n{more}TransformMatrix = {' '.join(map(str, matrix))}\nOffset = 1 2 3\n"
        f"ElementSpacing = {' '.join(map(str, spacing))}\nDimSize = {' '.join(map(str, voxels.shape))}\n"
        f"ElementType = MET_{kind.upper()}\nElementDataFile = {voxel_file}\n"
    )
    return header.encode() + (stored if voxel_file == "LOCAL" else b"")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LIA", "PIR", "ASL"])
def test_every_orientation_gives_the_same_slices(head, codes):
    files = {
        "MGH": mgh(head, codes),
        "NRRD": nrrd(head, codes),
        "MetaImage": metaimage(head, codes),
    }
    for source, data in files.items():
        scan = parse_scan(data, "head")
        assert np.array_equal(scan.voxels, head), source
        assert scan.info.spacing_mm == pytest.approx(SPACING)
        assert (scan.info.source, scan.info.orientation, scan.info.warnings) == (source, "SPL", ())


@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "i4"])
def test_every_type_and_compression_gives_the_same_voxels(head, kind):
    name = TYPES[kind]
    files = [
        mgh(head, kind=kind),
        gzip.compress(mgh(head, kind=kind)),
        *(nrrd(head, kind=kind, order=order, encoding=e) for order in "<>" for e in ("raw", "gzip")),
        *(metaimage(head, kind=name, order=order, is_compressed=c) for order in "<>" for c in (False, True)),
        nrrd(head, kind=kind, space="RAS"),
    ]
    for data in files:
        assert np.array_equal(parse_scan(data, "head").voxels, head)


def test_simpleitk_writes_what_is_read(head, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(head.astype(np.int16))
    image.SetSpacing(SPACING[::-1])
    for suffix in ("nrrd", "mha", "mhd", "nhdr"):
        for is_compressed in (False, True):
            folder = tmp_path / f"{suffix}{is_compressed}"
            folder.mkdir()
            sitk.WriteImage(image, str(folder / f"head.{suffix}"), is_compressed)
            files = [(path.name, path.read_bytes()) for path in folder.iterdir()]
            scan = parse_series(files) if len(files) > 1 else parse_scan(files[0][1], files[0][0])
            assert np.array_equal(scan.voxels, head), (suffix, is_compressed)
            assert scan.info.orientation == "SPL"


def test_the_first_of_several_volumes_is_read_and_said(head):
    image = image_of(head, "RAS")
    both = np.stack([np.asarray(image.dataobj), 9 * np.ones_like(image.dataobj)], axis=-1)
    data = nibabel.MGHImage(both, image.affine.astype(np.float64)).to_bytes()
    scan = parse_scan(data, "head.mgh")
    assert np.array_equal(scan.voxels, head)
    assert "holds 2 volumes" in scan.info.warnings[0]


def test_a_file_that_states_no_orientation_says_so(head):
    unoriented = bytearray(mgh(head, "LAS"))
    unoriented[28:30] = bytes(2)
    files = [
        bytes(unoriented),
        nrrd(head, "LAS").replace(b"space: left-posterior-superior\n", b""),
        metaimage(head, "LAS").replace(b"TransformMatrix", b"Comment"),
        metaimage(head, "LAS").replace(b"TransformMatrix = ", b"TransformMatrix = 0 "),
    ]
    for data in files:
        scan = parse_scan(data, "head")
        assert np.array_equal(scan.voxels, head)
        assert scan.info.orientation is None
        assert "left and right are unknown" in scan.info.warnings[0]


def loose(head) -> dict[str, bytes]:
    raw = steps_of(head, "RAS")[0].astype("<i2").tobytes(order="F")
    return {
        "a.mhd": metaimage(head, voxel_file="a.raw"),
        "a.raw": raw,
        "b.nhdr": nrrd(head, more="data file: b.raw\n")[: -len(raw)],
        "B.RAW": raw,
        "c.hdr": changed(nifti(head)[:348], magic=b"ni1", vox_offset=0),
        "c.img.gz": gzip.compress(nifti(head)[352:]),
    }


def test_loose_pairs_are_one_scan_each_whatever_their_order(head, tmp_path):
    for name, data in reversed(loose(head).items()):
        (tmp_path / name).write_bytes(data)
    scans = list_scans(sorted(tmp_path.iterdir()))
    assert [sorted(path.name for path in scan) for scan in scans] == [
        ["B.RAW", "b.nhdr"],
        ["a.mhd", "a.raw"],
        ["c.hdr", "c.img.gz"],
    ]
    for scan in scans:
        prepared = prepare_files(scan, Preparation())
        assert isinstance(prepared, PreparedScan), prepared
        assert prepared.info.orientation == "SPL"


def test_pairs_are_read_from_a_zip_file_and_halves_of_them_refused(head):
    files = list(loose(head).items())
    for header, voxels in zip(files[::2], files[1::2], strict=True):
        assert np.array_equal(parse_scan(zipped(header, voxels), "a.zip").voxels, head)
        assert "file together" in refusal_of(zipped(header))
        with pytest.raises(ScanError, match="file together"):
            parse_scan(header[1], header[0])
    assert "holds 3 MetaImage and NIfTI and NRRD files" in refusal_of(zipped(*files))


HUGE = b"4000 4000 4000"
NOTHING = np.zeros((9, 9, 9), np.uint8)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (nrrd(NOTHING).replace(b"sizes: 9 9 9", b"sizes: " + HUGE), "too large"),
        (metaimage(NOTHING).replace(b"DimSize = 9 9 9", b"DimSize = " + HUGE), "too large"),
        (mgh(NOTHING).replace(b"\0\0\0\x09" * 3, b"\0\0\x0f\xff" * 3, 1), "too large"),
        (nrrd(NOTHING).replace(b"sizes: 9 9 9", b"sizes: 400 400 400"), "incomplete"),
        (nrrd(NOTHING)[:-5], "incomplete"),
        (metaimage(NOTHING)[:-5], "incomplete"),
        (mgh(NOTHING)[:700], "incomplete"),
        (mgh(NOTHING)[:60], "incomplete"),
        (nrrd(NOTHING).replace(b"encoding: raw", b"encoding: bzip2"), "unusual way"),
        (nrrd(NOTHING).replace(b"type: short", b"type: block"), "unknown type"),
        (nrrd(NOTHING).replace(b"directions: (", b"directions: none ("), "values"),
        (nrrd(NOTHING).replace(b"sizes: 9", b"sizes: nan"), "damaged"),
        (nrrd(NOTHING, more="byte skip: 1e300\n"), "incomplete"),
        (metaimage(NOTHING, more="ElementNumberOfChannels = 3\n"), "3 values"),
        (b"NRRD0004\n" + b"a: b\n" * 20_000, "damaged"),
        (gzip.compress(nrrd(NOTHING)), "gzip-compressed NRRD"),
    ],
)
def test_what_lies_or_is_no_volume_is_refused_in_plain_words(data, sentence):
    with pytest.raises(ScanError, match=sentence):
        parse_scan(data, "a")


def test_compressed_voxels_that_expand_too_much_are_refused():
    bomb = zlib.compress(bytes(200 * 2**20), 9)
    header = metaimage(NOTHING, is_compressed=True, voxel_file="LOCAL")
    header = header[: header.index(b"LOCAL\n") + 6].replace(b"DimSize = 9 9 9", b"DimSize = 400 400 399")
    with pytest.raises(ScanError, match="expands too much"):
        parse_scan(header + bomb, "a.mha")


def test_a_compressed_mgh_file_is_named_as_what_it_is(head):
    assert read_scan(gzip.compress(mgh(head)), "head.mgz").info.source == "MGH"


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_256_cubed_floats_are_read(kind):
    voxels = np.zeros((256, 256, 256), kind)
    voxels[60:200, 60:200, 60:200] = 1
    scan = read_scan(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes(), "head.nii")
    assert (scan.voxels.shape, scan.info.orientation) == (voxels.shape, "SPL")


@pytest.mark.parametrize("write", [mgh, nrrd, metaimage])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(write):
    sound = write(np.random.default_rng(0).integers(0, 200, (12, 12, 12)).astype(np.uint8))
    chance = random.Random(write.__name__)
    for _ in range(150):
        damaged = bytearray(sound)
        for _ in range(chance.choice([1, 2, 8])):
            damaged[chance.randrange(600)] = chance.choice([0, 1, 32, 45, 57, 127, 255])
        cut = chance.choice([len(damaged), len(damaged), chance.randrange(len(damaged))])
        source = file_type(bytes(damaged))
        if source in VOLUMES:
            try:  # any other class of error fails the test
                assert read_volume_file(source, [bytes(damaged[:cut])]).voxels.ndim == 3
            except ScanError:
                continue
