"""A disease of one's own, as docs/reproduce.md defines it, and drawn slices of 20 people with and without it."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import train
from sslmri import __main__ as command_line

DOCS = Path(__file__).resolve().parents[1] / "docs" / "reproduce.md"
KEY = "small_vessel"


def write_definition(path: Path) -> Path:
    """Writes the example of the documentation and returns its path."""
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    path.write_text(example, encoding="utf-8")
    return path


def command(program: str, *words: object) -> int:
    """Runs a command line in this process and returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [program, *map(str, words)])
        return train.main() if program == "train.py" else command_line.main()


def documented_commands(names: Mapping[str, Path]) -> list[list[str]]:
    """Returns the commands below the example, program first, with names of files in place of the documentation's."""
    block = DOCS.read_text(encoding="utf-8").split("```toml\n")[1].split("```sh\n")[1].split("```")[0]
    lines = [line.partition(" # ")[0].removeprefix("python ").removeprefix("-m ") for line in block.splitlines()]
    for name, path in names.items():
        lines = [line.replace(name, str(path)) for line in lines]
    return [line.split() for line in lines]


def draw_slices(folder: Path, people: int = 10, slices: int = 2, size: int = 96) -> Path:
    """Draws heads, those of the second class with bright spots: a folder for each class and each person."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for label in ("no lesions", "white matter lesions"):
        for person in range(people):
            path = folder / label / f"patient{person:02d}"
            path.mkdir(parents=True)
            for number in range(slices):
                head = 120 + 900 * ndimage.gaussian_filter(rng.standard_normal(rows.shape), 6)
                for _ in range(6 * label.startswith("white")):
                    y, x = rng.uniform(-0.45, 0.45, 2)
                    head[(rows - y) ** 2 + (columns - x) ** 2 < 0.01] = 250
                head = np.where((rows / 0.85) ** 2 + (columns / 0.7) ** 2 < 1, head, 0)
                noisy = np.clip(head + rng.normal(0, 4, head.shape), 0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(path / f"{number}.png")
    return folder
