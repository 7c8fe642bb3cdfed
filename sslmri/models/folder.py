"""The model folder: written once, read whole.

A run folder holds ``pretrain`` and ``finetune``, which are needed to resume, and ``model``, the model folder with its
evidence. A model folder may be copied anywhere and used alone. Wherever a model is named, a run folder may be named.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from sslmri.diseases import add_diseases
from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_atomically
from sslmri.models.cards import FORMAT, INTENDED_USE, EncoderCard, HeadCard, ModelCard, ModelFile, TrainingData
from sslmri.models.integrity import parse_as, read_bounded, read_listed

MODEL_FILE, ENCODER_FILE, ENCODER_CARD, HEADS = "model.json", "encoder.safetensors", "encoder.json", "heads"
BANK_FILE, BANK_CARD = "bank.safetensors", "bank.json"
SEQUENCE_FILE = "sequence.safetensors"
MODEL, EVIDENCE = "model", "evidence"
FORMER_FORMAT = "sslmri-2"
_TRIES = 5  # a reader may meet the former model, its other name, no model and the new one
_T = TypeVar("_T")


def find_model(folder: Path) -> Path:
    """Returns the model folder in a run folder, or the folder itself where it is no run folder with a model.

    A process that was killed between the two renames of ``replaced`` leaves the former model under its other name: then
    that is the model.
    """
    for candidate in (folder, folder / MODEL):
        for found in (candidate, _former(candidate)):
            if (found / MODEL_FILE).exists():
                return found
    return folder


@contextmanager
def replaced(folder: Path, is_kept: bool = True) -> Iterator[Path]:
    """Gives a hidden folder in which a model is built, and puts it in the place of ``folder`` when the block ends well.

    Nothing of it is seen before. A process that is killed at any time leaves the former model, the new one, or none
    where there was none, never a part of one: the former folder is renamed, then the new one, and between the two
    renames ``find_model`` returns the former. An exception leaves the former model as it was. With ``is_kept`` the
    new folder begins with all files of the former, otherwise with its evidence alone. They are linked, not copied: to
    change one, write it again (``write_atomically``).
    """
    folder = folder.resolve()
    new, former = folder.with_name(f".{folder.name}-new"), _former(folder)
    if former.exists() and not folder.exists():
        former.replace(folder)
    for left_over in (new, former):
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        for name in (os.listdir(folder) if is_kept else [EVIDENCE]) if folder.exists() else []:
            _link(folder / name, new / name)
        yield new
        if folder.exists():
            folder.replace(former)
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)


def write_card(path: Path, card: EncoderCard | HeadCard | ModelFile) -> None:
    """Writes a card as JSON."""
    content = TypeAdapter(type(card)).dump_json(card, indent=1) + b"\n"
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_model_file(
    folder: Path, name: str, training: TrainingData, created: str, evidence_note: str | None = None
) -> None:
    """Writes ``model.json`` with the hashes of the weights and cards in a folder, which makes it a model."""
    paths = [folder / ENCODER_FILE, folder / ENCODER_CARD, *sorted((folder / HEADS).iterdir())]
    paths += [folder / name for name in (SEQUENCE_FILE, BANK_FILE, BANK_CARD) if (folder / name).exists()]
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    write_card(folder / MODEL_FILE, ModelFile(FORMAT, name, INTENDED_USE, created, training, evidence_note, files))


def read_unreplaced(folder: Path, read: Callable[[Path], _T]) -> _T:
    """Returns what ``read`` makes of a folder, read again where it may have met files of two models: one was replaced.

    Raises:
        ModelError: of ``read``.
    """
    for _ in range(_TRIES - 1):
        with suppress(ModelError):
            return read(folder)
    return read(folder)


def read_model_card(folder: Path) -> ModelCard:
    """Returns the cards of a model folder, or of the model in a run folder, after checking the hash of every file.

    Diseases of one's own that it learned are known from then on.

    Raises:
        ModelError: no model there, another format, a file that is changed, missing or not listed, a card that breaks a
            rule, or a head of another encoder.
    """
    return read_unreplaced(folder, _read_model_card)


def _read_model_card(folder: Path) -> ModelCard:
    folder = find_model(folder)
    path = folder / MODEL_FILE
    data = read_bounded(folder, MODEL_FILE, "run `python train.py all` or name a folder with a finished model")
    check_format(parse_as(dict[str, Any], data, path, "a JSON object").get("format"), folder)
    listed = parse_as(ModelFile, data, path)
    _check_heads_listed(folder, listed)
    encoder = parse_as(EncoderCard, read_listed(folder, listed.files, ENCODER_CARD), folder / ENCODER_CARD)
    heads = {}
    for name in sorted({ENCODER_FILE, *listed.files}):  # all are read, one at a time; only cards are kept
        data = read_listed(folder, listed.files, name)
        if name.startswith(f"{HEADS}/") and name.endswith(".json"):
            heads[Path(name).stem] = _head_card(data, folder / name, listed.files[ENCODER_FILE])
    digest = hashlib.sha256(json.dumps(listed.files, sort_keys=True).encode()).hexdigest()
    return ModelCard(**vars(listed), folder=folder, sha256=digest, encoder=encoder, heads=heads)


def read_encoder_card(path: Path) -> EncoderCard:
    """Returns an encoder's card.

    Raises:
        ModelError: the file is missing, damaged or of another version.
    """
    return parse_as(EncoderCard, read_bounded(path.parent, path.name), path)


def check_format(found: object, folder: Path) -> None:
    """Refuses a model of another format, naming the command that converts one of the former.

    Raises:
        ModelError: it is of another format.
    """
    if found != FORMAT:
        advice = f"run `python -m sslmri convert {folder}`" if found == FORMER_FORMAT else "train it again"
        raise ModelError(f"Expected a model of format {FORMAT} in {folder}, got {found!r:.40}: {advice}.")


def _head_card(data: bytes, path: Path, encoder_sha256: str) -> HeadCard:
    head = parse_as(HeadCard, data, path)
    if path.stem != head.disease:
        raise ModelError(f"Expected the card of a head named {path.stem} in {path}, got {head.disease}: copy it again.")
    if head.encoder_sha256 != encoder_sha256:
        raise ModelError(
            f"Expected a {head.disease} head of the encoder {encoder_sha256[:12]}, "
            f"got one of {head.encoder_sha256[:12]} in {path}: fine-tune the head on this encoder."
        )
    if head.definition:
        add_diseases([head.definition], path)
    return head


def _check_heads_listed(folder: Path, listed: ModelFile) -> None:
    """Refuses a file among the heads that is not listed; hidden ones are those of writers that were stopped."""
    present = {f"{HEADS}/{path.name}" for path in folder.glob(f"{HEADS}/*") if not path.name.startswith(".")}
    for name in sorted(present - listed.files.keys()):
        raise ModelError(f"Expected every head of the model {folder} in its list, got {name} as well: remove it.")


def _former(folder: Path) -> Path:
    """Returns where the former model is kept while a new one takes its place."""
    return folder.with_name(f".{folder.name}-former")


def _link(source: Path, target: Path) -> None:
    """Links a file, or all files of a folder, into another folder; copies where the file system has no links."""
    if source.is_dir():
        target.mkdir()
        for path in source.iterdir():
            _link(path, target / path.name)
    elif source.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
