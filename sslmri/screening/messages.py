"""What a reader is told of a screening in plain sentences."""

from collections.abc import Sequence

from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import HeadCard, ModelCard


def one_sided(card: HeadCard) -> str | None:
    """Returns why a head says the same of every scan, whatever it shows: it learned one side only."""
    reference = class_title(card.classes[0])
    if card.classes[0] in card.unlearned:
        return f"No training slice was {reference}: this head cannot tell {reference} from any other class."
    if set(card.classes[1:]) <= set(card.unlearned):
        return f"Every training slice was {reference}: this head cannot tell {reference} from any other class."
    return None


def left_out(numbers: Sequence[int], n_file_slices: int) -> list[str]:
    """Returns a sentence about the slices of a file that were not looked at, if there are any."""
    if len(numbers) == n_file_slices:
        return []
    if len(numbers) == 1:
        return [f"Only slice {numbers[0]} of {n_file_slices} was screened."]
    if len(numbers) < numbers[-1] - numbers[0] + 1:  # slices between them lie closer than was learned, or show no head
        span = f"from slice {numbers[0]} to slice {numbers[-1]}"
        return [f"Only {len(numbers)} of {n_file_slices} slices were screened, {span}."]
    return [f"Only slices {numbers[0]} to {numbers[-1]} of {n_file_slices} were screened."]


def unlearned(card: ModelCard) -> list[str]:
    """Returns a sentence for each class that nobody in training was of."""
    return [
        f"{DISEASES[head.disease].title}: nobody in training was {class_title(label)}, so it cannot be predicted."
        for head in card.heads.values()
        for label in head.unlearned
    ]
