"""What a training starts from: the pre-training of its run, a model's encoder, or the weights of a ResNet-50."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import Protocol
from sslmri.errors import ModelError, TrainingError
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder
from sslmri.learning.model import Model, encoder_of, save_encoder
from sslmri.models.architecture import RESNET50
from sslmri.models.cards import Counts, EncoderCard, TrainingData
from sslmri.models.folder import (
    ENCODER_CARD,
    ENCODER_FILE,
    MODEL_FILE,
    read_encoder_card,
    write_card,
)
from sslmri.models.history import created_now, versions
from sslmri.text import count, printable_line
from sslmri.training.data import check_same_split, hash_of, held_out_cohorts, may_have_seen
from sslmri.training.fit import Pretrained, load_pretrained
from sslmri.training.options import RunOptions


def open_start(options: RunOptions, records: Sequence[Record], start: Path | None = None) -> Pretrained:
    """Returns the encoder that the fine-tuning of a run starts from.

    ``start`` becomes its pre-trained encoder, as in ``adopt``; None for the one that the run has.

    Raises:
        ModelError: there is none, or one of another protocol, architecture or format.
        TrainingError: it may have learned from what is now held out.
    """
    folder = options.run / "pretrain"
    if start is not None:
        adopt(start, options, [records])
    if not (folder / ENCODER_CARD).exists():
        raise ModelError(
            f"Expected a pre-trained encoder in {folder}, got none: run `python train.py pretrain` first, or name one "
            "with --start."
        )
    pretrained = load_pretrained(folder)
    check_same_split(f"encoder in {folder}", pretrained.card.data, records, options.protocol)
    return pretrained


def adopt(start: Path, options: RunOptions, splits: Sequence[Sequence[Record]]) -> None:
    """Makes an encoder trained elsewhere the pre-trained encoder of a run.

    The start is a model folder, a run folder with a model, a folder ``pretrain``, or a file of weights.

    Raises:
        ModelError: the start is damaged, or of another architecture or format.
        TrainingError: it may have learned from what is held out, or the run has another start.
    """
    encoder, card = read_start(start, options, splits)
    folder = options.run / "pretrain"
    if (folder / ENCODER_CARD).exists():
        if read_encoder_card(folder / ENCODER_CARD).pretraining != card.pretraining:
            raise TrainingError(
                f"Expected a run that starts from {start}, got another start in {folder}: name another --run."
            )
        return
    save_encoder(folder / ENCODER_FILE, encoder)
    write_card(folder / ENCODER_CARD, replace(card, versions=versions(), created=created_now()))
    if card.start:
        print(printable_line(card.start))


def read_start(start: Path, options: RunOptions, splits: Sequence[Sequence[Record]]) -> Pretrained:
    """Returns an encoder trained elsewhere, with the cohorts of both its trainings on its card.

    Arguments and errors are those of ``adopt``.
    """
    (encoder, card), labelled = _read(start, options)
    check_unseen(start, card.data, labelled, splits, options.protocol)
    tested = set().union(*map(held_out_cohorts, splits))  # of these it saw nothing but the groups that train here
    added = {cohort: terms for cohort, terms in labelled.cohorts.items() if cohort not in tested}
    data = replace(card.data, protocol=options.protocol, cohorts=card.data.cohorts | added)
    return Pretrained(encoder, replace(card, data=data))


def continued(start: Path, options: RunOptions, records: Sequence[Record]) -> Pretrained:
    """Returns the encoder that a pre-training on the records of a split continues from; errors as of ``adopt``.

    ``start`` on its card says what it learned from.
    """
    encoder, card = read_start(start, options, [records])
    learned, said = card.data, card.start
    if learned.counts.groups:
        groups = f"{count(learned.counts.groups, 'group')} of {', '.join(learned.cohorts)}"
        said = f"{said} It continues a pre-training on {groups} that ended {card.created}.".strip()
    return Pretrained(encoder, replace(card, pretraining=card.pretraining | {"start": said}))


def check_unseen(
    start: Path,
    pretrained: TrainingData,
    labelled: TrainingData,
    splits: Sequence[Sequence[Record]],
    protocol: Protocol,
) -> None:
    """Refuses a start that may have learned, without or with labels, from what one of the splits holds out.

    Raises:
        TrainingError: naming the cohorts.
    """
    seen = [may_have_seen(pretrained, split, protocol) for split in splits]
    seen += [may_have_seen(labelled, [r for r in split if r.disease], protocol) for split in splits]
    if cohorts := sorted(set().union(*seen)):
        raise TrainingError(
            f"Expected a start that learned from none of the groups held out for validation and test, got {start}, "
            f"which learned from {', '.join(cohorts)} with other training groups than these: name another start, or "
            "let these cohorts train only."
        )


def _read(start: Path, options: RunOptions) -> tuple[Pretrained, TrainingData]:
    """Returns the encoder of a start, with its card and what it was fine-tuned on with labels."""
    if not start.exists():
        raise ModelError(f"Expected a model or weights at {start}, got no such file or folder: name another --start.")
    none = TrainingData(options.protocol, hash_of([]), None, Counts(0, 0), {})
    folder = start.parent if start.is_file() and (start.parent / ENCODER_CARD).exists() else start
    if (folder / ENCODER_CARD).exists() and not (folder / MODEL_FILE).exists():
        return load_pretrained(folder), none
    if folder.is_dir():
        model = Model.load(folder)
        learned, former = model.card.training, model.card.encoder
        sentence = (
            f"Its training started from the encoder of the model {model.card.name} ({model.card.sha256[:12]}), which "
            f"had learned from {count(learned.counts.groups, 'labelled group')} of {', '.join(learned.cohorts)}."
        )
        settings = former.pretraining | {"start": f"{former.start} {sentence}".strip()}
        return Pretrained(model.encoder, replace(former, pretraining=settings)), learned
    encoder = read_resnet50(start)
    sentence = (
        f"Its training started from the weights {start.name} ({sha256_of(start)[:12]}), which do not record what they "
        "learned from: it may have been what is tested here."
    )
    card = EncoderCard(RESNET50, options.preparation, {"start": sentence}, none, None, versions(), created_now())
    return Pretrained(encoder, card), none


def read_resnet50(path: Path) -> Encoder:
    """Returns an encoder with the weights of a ResNet-50, in a file of safetensors or of a PyTorch state dict.

    Parameters have torchvision's names; the classifier is left out. The filters of a stem for three channels are
    summed, not averaged: a grey image in three equal channels has the same maps then, in the range that the batch norm
    behind the stem was trained on.

    Raises:
        ModelError: the file is damaged, holds something else, or another architecture.
    """
    read = load_file if path.suffix == ".safetensors" else partial(torch.load, map_location="cpu", weights_only=True)
    try:
        state = {name: value.float() for name, value in read(path).items() if "num_batches" not in name}
    except OSError:
        raise
    except Exception as error:  # torch raises many classes for damaged files
        raise ModelError(
            f"Expected the state dict of a ResNet-50 in {path}, got a damaged file or something else: save it again by "
            "`torch.save(model.state_dict(), path)`."
        ) from error
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    stem = state.get("conv1.weight")
    if stem is not None and stem.shape[1:2] == (3,):
        state["conv1.weight"] = stem.sum(dim=1, keepdim=True)
    return encoder_of(RESNET50, state, path)
