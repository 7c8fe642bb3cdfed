"""Whether class and cohort are confounded: where they are, a classifier may learn the source of an image."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.registry import COHORTS
from sslmri.diseases import DISEASES, Disease, Notice, class_title


@dataclass(frozen=True)
class Confounding:
    """How the classes of a disease that are present, in clinical order, are distributed over cohorts."""

    disease: Disease
    cohorts: dict[str, frozenset[str]]

    @property
    def exclusive(self) -> list[str]:
        """The classes none of whose cohorts holds another class: their source alone may reveal them."""
        alone = [label for label, cohorts in self.cohorts.items() if not cohorts & self._of_others(label)]
        return alone if len(self.cohorts) > 1 else []

    @property
    def is_complete(self) -> bool:
        """Whether every class has cohorts of its own."""
        return len(self.exclusive) == len(self.cohorts) > 1

    @property
    def single_class_cohorts(self) -> list[tuple[str, str]]:
        """Cohort and class wherever a cohort holds one class only."""
        pairs = sorted((name, label) for label, names in self.cohorts.items() for name in names)
        n_classes = Counter(name for name, _ in pairs)
        return [(name, label) for name, label in pairs if n_classes[name] == 1]

    @property
    def notice(self) -> Notice | None:
        """A notice where the reference class shares no cohort with the other classes."""
        reference = self.disease.reference
        if reference not in self.exclusive:
            return None
        healthy, diseased = self.cohorts[reference], self._of_others(reference)
        known = {COHORTS[name].confounder for name in healthy | diseased if name in COHORTS} - {""}
        learned = " or ".join(sorted(known)) or "source"
        return Notice(
            self.disease.key,
            f"{class_title(reference).capitalize()} comes from {_listed(healthy)}, the other classes from "
            f"{_listed(diseased)}: the classifier may learn the {learned} instead of the disease.",
        )

    def _of_others(self, label: str) -> frozenset[str]:
        return frozenset().union(*(cohorts for other, cohorts in self.cohorts.items() if other != label))


def find_confounding(disease: Disease, labels: Iterable[str | None], cohorts: Iterable[str]) -> Confounding:
    """Returns how the classes of a disease are distributed over cohorts, from class and cohort of each slice."""
    pairs = set(zip(labels, cohorts, strict=True))
    by_class = {label: frozenset(name for own, name in pairs if own == label) for label in disease.classes}
    return Confounding(disease, {label: own for label, own in by_class.items() if own})


def find_all_confounding(records: Sequence[Record]) -> list[Confounding]:
    """Returns how the classes of each disease are spread over cohorts."""
    found = [(disease, [record for record in records if record.disease == key]) for key, disease in DISEASES.items()]
    return [find_confounding(disease, [r.label for r in own], [r.cohort for r in own]) for disease, own in found]


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
