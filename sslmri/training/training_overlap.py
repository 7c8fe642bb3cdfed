"""What the encoder of a run was trained on: which groups, and whether with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslmri.cohorts.manifest import Record
from sslmri.models.cards import EncoderCard, TrainingData
from sslmri.models.evidence import Fold
from sslmri.models.folder import ENCODER_CARD, ENCODER_FILE, read_encoder_card, read_model_card
from sslmri.training.data import GROUPS_FILE, hash_of, read_names, split_again


@dataclass(frozen=True)
class TrainingOverlap:
    """The encoder of a run, and what it was trained on.

    Attributes:
        path: its weights: pre-trained where the run still holds these, otherwise those of the model.
        card: its card.
        groups: it was trained on.
        has_labels: whether it was fine-tuned, and so has seen labels of its groups too.
        training: the data of the model where the weights are the model's, otherwise those of the pre-training.
    """

    path: Path
    card: EncoderCard
    groups: frozenset[str]
    has_labels: bool
    training: TrainingData

    @property
    def says(self) -> str:
        """What a reader must know of the encoder, in a sentence."""
        if self.has_labels:
            return (
                "Linear probes on the model's encoder, which was fine-tuned with labels of its training groups and "
                "stopped on validation groups: results of folds with these groups say little."
            )
        return "Linear probes on the pre-trained encoder, which saw no labels."


def find_training_overlap(run: Path, records: Sequence[Record]) -> TrainingOverlap:
    """Returns the encoder of a run with the groups it was trained on.

    A run folder lists them. For a model folder alone the hashes in its cards tell whether they are those of the
    training split of the records.

    Raises:
        ModelError: there is no encoder, or its lists or cards are damaged.
        TrainingError: the records were split again since the model was trained.
    """
    pretrained = run / "pretrain"
    if (pretrained / ENCODER_CARD).exists():
        card = read_encoder_card(pretrained / ENCODER_CARD)
        groups = _groups(pretrained, run, card.data, records)
        return TrainingOverlap(pretrained / ENCODER_FILE, card, groups, False, card.data)
    model = read_model_card(run)
    groups = _groups(pretrained, model.folder, model.encoder.data, records)
    has_labels = any(head.regime == "fine-tune" for head in model.heads.values())
    if has_labels:
        labelled = [record for record in records if record.disease]
        groups |= _groups(run / "finetune", model.folder, model.training, labelled)
    return TrainingOverlap(model.folder / ENCODER_FILE, model.encoder, groups, has_labels, model.training)


def fold_summary(fold: int, records: Sequence[Record], overlap: TrainingOverlap) -> Fold:
    """Returns how many groups of a fold the encoder was trained on, in numbers and in a sentence."""
    groups = {record.group_key for record in records}
    n_seen = len(groups & overlap.groups)
    how = f", {'with' if overlap.has_labels else 'without'} labels: optimistic" if n_seen else ""
    says = f"Fold {fold}: the encoder was trained on {n_seen or 'none'} of its {len(groups)} groups{how}."
    return Fold(fold, len(groups), n_seen, says)


def _groups(step: Path, model: Path, data: TrainingData, records: Sequence[Record]) -> frozenset[str]:
    """Returns the groups among the records that a step was trained on, by its list or by the hash of the list."""
    listed = read_names(step / GROUPS_FILE)
    if listed is not None:
        return frozenset(listed)
    train = [record for record in records if record.split == "train"]
    if hash_of(train) == data.groups_sha256:
        return frozenset(record.group_key for record in train)
    if {record.cohort for record in records} & data.cohorts.keys():
        raise split_again(model)
    return frozenset()
