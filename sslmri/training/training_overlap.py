"""What the encoder of a run has seen before: which groups, and whether with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslmri.cohorts.manifest import Record
from sslmri.models.cards import ENCODER_CARD, ENCODER_FILE, EncoderCard, read_encoder_card, read_model_card
from sslmri.models.evidence import Fold
from sslmri.training.data import GROUPS_FILE, hash_of, read_names


@dataclass(frozen=True)
class TrainingOverlap:
    """The encoder of a run, and what it learned from.

    Attributes:
        path: its weights: pre-trained where the run still holds these, otherwise those of the model.
        card: its card.
        groups: it learned from; None where that cannot be told.
        has_labels: whether it was fine-tuned, and so has seen labels of its groups too.
        training: of the model where the weights are the model's, otherwise what is known of the pre-training.
    """

    path: Path
    card: EncoderCard
    groups: frozenset[str] | None
    has_labels: bool
    training: dict[str, Any]

    @property
    def says(self) -> str:
        """What a reader must know of the encoder, in a sentence."""
        if self.has_labels:
            return (
                "Linear probes on the model's encoder as it is, which was fine-tuned with labels of its training "
                "groups and stopped on validation groups: figures of folds that it knows say little."
            )
        return "Linear probes on the pre-trained encoder as it is, which saw no labels."


def find_training_overlap(run: Path, records: Sequence[Record]) -> TrainingOverlap:
    """Returns the encoder of a run with the groups it learned from.

    They stand in lists beside the checkpoints. Where these were not kept, the hash in the card tells whether they are
    those of the training side of the records; otherwise they are unknown.

    Raises:
        ModelError: there is no encoder, or its lists or cards are damaged.
    """
    pretrained = run / "pretrain"
    if (pretrained / ENCODER_CARD).exists():
        card = read_encoder_card(pretrained / ENCODER_CARD)
        groups = _groups(pretrained, card.groups_sha256, records)
        return TrainingOverlap(pretrained / ENCODER_FILE, card, groups, False, card.pretraining or {})
    model = read_model_card(run)
    groups = _groups(pretrained, model.encoder.groups_sha256, records)
    has_labels = any(head.regime == "fine-tune" for head in model.heads.values())
    if has_labels:
        labelled = [record for record in records if record.disease]
        taught = _groups(run / "finetune", model.training.get("groups_sha256"), labelled)
        groups = None if groups is None or taught is None else groups | taught
    return TrainingOverlap(run / ENCODER_FILE, model.encoder, groups, has_labels, model.training)


def fold_summary(fold: int, records: Sequence[Record], exposure: TrainingOverlap) -> Fold:
    """Returns how many groups of a fold the encoder has seen (None: unknown), in numbers and in a sentence."""
    groups = {record.group_key for record in records}
    n_seen: int | None
    if exposure.groups is not None:
        n_seen = len(groups & exposure.groups)
    else:
        cohorts = {*exposure.card.cohorts, *exposure.training.get("cohorts", ())}
        n_seen = None if {record.cohort for record in records} & cohorts else 0
    if n_seen is None:
        says = "whether the encoder has learned from its groups before is unknown, its figures may be optimistic."
    elif n_seen:
        how = "with labels" if exposure.has_labels else "without labels"
        says = f"the encoder has learned from {n_seen} of its {len(groups)} groups before, {how}: optimistic."
    else:
        says = f"the encoder has learned from none of its {len(groups)} groups."
    return Fold(fold, len(groups), n_seen, f"Fold {fold}: {says}")


def _groups(folder: Path, sha256: str | None, records: Sequence[Record]) -> frozenset[str] | None:
    """Returns what a step learned from, by its list or by the hash of it; None where neither tells."""
    listed = read_names(folder / GROUPS_FILE)
    if listed is not None:
        return frozenset(listed)
    training = [record for record in records if record.split == "train"]
    return frozenset(record.group_key for record in training) if hash_of(training) == sha256 else None
