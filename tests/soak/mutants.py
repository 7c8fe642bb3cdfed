"""Damaged files of every format, each the same for the same numbers; half are closed again with right checksums.

A checksum hides what lies behind it: a reader that refuses by it never comes to the numbers that were changed.
"""

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

import h5py
import nibabel
import numpy as np

from tests.soak.samples import KINDS, sample

PLAIN = "plain NIfTI"
OTHER_VOLUMES = ("MGH", "NRRD", "MetaImage", "MATLAB")
FORMATS = (*KINDS, PLAIN, *OTHER_VOLUMES)
_HEADER = 700  # bytes at the start, where most that is believed stands
_NUMBERS = [
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
    0x7F800000, 0x7FC00000,  # as float32 infinite, and no number
]  # fmt: skip
_PNG_START = 8  # bytes before the first chunk
_Mutation = Callable[[bytearray, random.Random], None]


@cache
def sound(kind: str) -> bytes:
    """Returns a sound file of one of ``FORMATS``, without the time at which it was made."""
    if kind == PLAIN:
        return gzip.decompress(sample("NIfTI", 0, "fuzz")[1])
    if kind == "NIfTI":
        return _packed(sound(PLAIN))
    if kind in OTHER_VOLUMES:
        return _volume(kind)
    data = sample(kind, 0, "fuzz")[1]
    return zipped(_entries(data)) if kind == "zip" else data


def _volume(kind: str) -> bytes:
    """Returns the voxels of the NIfTI sample in another format."""
    image = nibabel.Nifti1Image.from_bytes(sound(PLAIN))
    voxels = np.asarray(image.dataobj, np.float32)
    if kind == "MGH":
        return bytes(nibabel.MGHImage(voxels, image.affine).to_bytes())
    if kind == "MATLAB":
        file = io.BytesIO()
        with h5py.File(file, "w", userblock_size=512) as made:
            made.create_dataset("cjdata/image", data=voxels[..., 0].astype(np.int16), chunks=(8, 8), compression="gzip")
        return b"MATLAB 7.3 MAT-file".ljust(512) + file.getvalue()[512:]
    sizes, stored = " ".join(map(str, voxels.shape)), voxels.tobytes(order="F")
    if kind == "NRRD":
        vectors = "(-1,0,0) (0,-1,0) (0,0,3)"
        header = f"NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
        return f"{header}space directions: {vectors}\nendian: little\nencoding: gzip\n\n".encode() + _packed(stored)
    header = f"ObjectType = Image\nNDims = 3\nElementSpacing = 1 1 3\nDimSize = {sizes}\n"
    return (
        f"{header}TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n".encode()
        + stored
    )


def mutant(number: int, seed: int) -> tuple[str, bytes]:
    """Returns one damaged file with its kind; the formats take turns."""
    kind = FORMATS[number % len(FORMATS)]
    chance = random.Random(f"{seed}/{number}")
    if chance.random() < 0.5:
        return kind, _damaged(sound(kind), chance)
    return kind, _CLOSED.get(kind, _damaged)(sound(kind), chance)


def zipped(entries: dict[str, bytes]) -> bytes:
    """Returns a zip file of these entries, all of one time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, compresslevel=1)
    return file.getvalue()


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Returns data after one or several mutations."""
    made = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        chance.choice(_MUTATIONS)(made, chance)
        if not made:
            break
    return bytes(made)


def _png(data: bytes, chance: random.Random) -> bytes:
    """Returns a PNG file of which one chunk, its kind included, is damaged; lengths and checksums are right."""
    blocks = _blocks(data)
    kind = chance.choice(sorted({block[:4] for block in blocks}))
    number = chance.choice([number for number, block in enumerate(blocks) if block.startswith(kind)])
    blocks[number] = _damaged(blocks[number], chance)
    lengths = (struct.pack(">I", max(0, len(block) - 4)) for block in blocks)
    closed = (block + struct.pack(">I", zlib.crc32(block)) for block in blocks)
    return data[:_PNG_START] + b"".join(part for pair in zip(lengths, closed, strict=True) for part in pair)


def _blocks(data: bytes) -> list[bytes]:
    """Returns kind and content of each chunk of a sound PNG file."""
    blocks, position = [], _PNG_START
    while position < len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        blocks.append(data[position + 4 : end])
        position = end + 4
    return blocks


def _nifti(data: bytes, chance: random.Random) -> bytes:
    return _packed(_damaged(data, chance))


def _zip(data: bytes, chance: random.Random) -> bytes:
    """Returns a zip file of which one entry is damaged, and the others and all checksums are right."""
    entries = _entries(data)
    name = chance.choice(list(entries))
    return zipped({**entries, name: _damaged(entries[name], chance)})


def _entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


_CLOSED: dict[str, Callable[[bytes, random.Random], bytes]] = {"PNG": _png, "zip": _zip, PLAIN: _nifti}


def _flip(data: bytearray, chance: random.Random) -> None:
    data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    size, order = chance.choice([1, 2, 4, 8]), "little" if chance.random() < 0.5 else "big"
    place = _place(data, chance)
    value = chance.choice(_NUMBERS) & (256**size - 1)
    data[place : place + size] = value.to_bytes(size, order)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _drop(data: bytearray, chance: random.Random) -> None:
    place = _place(data, chance)
    del data[place : place + chance.randrange(1, 200)]


def _repeat(data: bytearray, chance: random.Random) -> None:
    place = _place(data, chance)
    data[place:place] = data[place : place + chance.randrange(1, 200)] * chance.choice([1, 2, 50])


def _noise(data: bytearray, chance: random.Random) -> None:
    place = _place(data, chance)
    noise = chance.randbytes(chance.randrange(1, 64))
    data[place : place + len(noise)] = noise


_MUTATIONS: tuple[_Mutation, ...] = (_flip, _flip, _overwrite, _overwrite, _cut, _drop, _repeat, _noise)


def _place(data: bytearray, chance: random.Random) -> int:
    """Returns a place, more often near the start or the end, where headers and directories stand."""
    end = len(data)
    near = min(end, _HEADER)
    return chance.choice([chance.randrange(near), end - 1 - chance.randrange(near), chance.randrange(end)])
