"""The diseases that are screened: the only definition of class names, their order, caveats and limits.

A file, or the card of a model that learned them, adds diseases of one's own.
"""

import json
import os
import re
import tomllib
from collections import UserDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from sslmri.errors import ManifestError, ModelError

VARIABLE = "SSLMRI_DISEASES"  # names the file whose diseases the dashboard and the command line know too
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # of files, columns and JSON
_RESERVED = {"all", "brain", "cohort", "group", "label", "name", "predicted"}  # stand next to keys or classes
_MARKUP = frozenset("<>[]{}*_`$|#~\\")  # a model comes from anyone, and pages draw these texts as Markdown
_MAX_TEXT, _MAX_CLASSES = 300, 20
MriSequence = Literal["T1", "T1ce", "T2", "FLAIR"]  # T1ce: with contrast agent
SequenceChoice = Literal[MriSequence, "unknown"]  # of a reader, who may also say that nobody knows


@dataclass(frozen=True)
class Disease:
    """One classifier.

    Attributes:
        key: short name used in files, manifests and JSON.
        title: name for display.
        classes: class keys in clinical order; ``classes[0]`` is the reference (healthy) class.
        question: what the classifier answers.
        sequences: the slices it is trained on, as they follow "trained on".
        caveat: what a reader must know before believing a number, whatever the training data.
        any_title: all classes but the reference together, for display; of two classes by default the second one.
        sequence: the one it is trained on, None where these are several.
        form: in which a volume reaches it: ``acquired``, or ``atlas``, the extracted brain in the average's place.
        limits: plain sentences on what was measured of classifiers trained on the public cohorts.
        is_ordinal: whether the classes are stages of growing severity.
        is_focal: whether the finding is a lesion at one place, which decides the answer however small it is.
        is_atrophy: whether the finding is tissue that has shrunk and fluid in its place, all over the slice.
    """

    key: str
    title: str
    classes: tuple[str, ...]
    question: str
    sequences: str
    caveat: str
    any_title: str = ""
    sequence: MriSequence | None = None
    form: Literal["acquired", "atlas"] = "acquired"
    limits: tuple[str, ...] = ()
    is_ordinal: bool = False
    is_focal: bool = False
    is_atrophy: bool = False
    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Refuses keys that no file can have, fewer than two classes, and texts that are not plain."""
        if not self.any_title:
            is_pair = len(self.classes) == 2
            any_title = class_title(self.classes[1]) if is_pair else f"any {self.title[:1].lower()}{self.title[1:]}"
            object.__setattr__(self, "any_title", any_title)
        for name in (self.key, *self.classes):
            if name in _RESERVED or not _NAME.fullmatch(name):
                raise ValueError(f"{name:.60} is no key: write another, of small letters, digits and underscores")
        if not 2 <= len(set(self.classes)) == len(self.classes) <= _MAX_CLASSES:
            raise ValueError(f"{self.key} has two to {_MAX_CLASSES} classes, each once, not {len(self.classes)}")
        for text in (self.title, self.any_title, self.question, self.sequences, self.caveat, *self.limits):
            if not text.isprintable() or not 0 < len(text) <= _MAX_TEXT or _MARKUP & set(text):
                raise ValueError(f"the texts of {self.key} have 1 to {_MAX_TEXT} characters, none of them markup")

    @property
    def reference(self) -> str:
        """The healthy class."""
        return self.classes[0]


@dataclass(frozen=True)
class Notice:
    """A sentence that a reader must see, of one disease (its key) or of none in particular.

    It is plain and does not repeat the title of the disease.
    """

    disease: str | None
    text: str


@dataclass(frozen=True)
class _File:
    disease: tuple[Disease, ...]
    __pydantic_config__: ClassVar = {"extra": "forbid"}


_CLASS_TITLES = {
    "non_demented": "no dementia",
    "very_mild_demented": "very mild dementia",
    "mild_demented": "mild dementia",
    "moderate_demented": "moderate dementia",
    "no_tumour": "no tumour",
    "pituitary": "pituitary tumour",
    "parkinsons": "Parkinson's",
}


def class_title(label: str) -> str:
    """Returns the title of a class for display: ``very_mild_demented`` as ``very mild dementia``."""
    return _CLASS_TITLES.get(label, label.replace("_", " "))


DISEASES: UserDict[str, Disease] = UserDict(  # its content is replaced, never changed: a thread may be reading it
    (disease.key, disease)
    for disease in (
        Disease(
            key="alzheimers",
            title="Alzheimer's stage",
            classes=("non_demented", "very_mild_demented", "mild_demented", "moderate_demented"),
            any_title="any dementia",
            question="Dementia severity (Clinical Dementia Rating)",
            sequences="skull-stripped axial T1 from people over 60",
            sequence="T1",
            form="atlas",
            caveat="A stage with few subjects can be neither learned nor evaluated on unseen subjects.",
            limits=("The classifier mostly measures the size of the ventricles.",),
            is_ordinal=True,
            is_atrophy=True,
        ),
        Disease(
            key="tumours",
            title="Tumour",
            classes=("no_tumour", "glioma", "meningioma", "pituitary"),
            any_title="any tumour",
            question="Presence and type of a tumour",
            sequences="T1 with contrast agent",
            sequence="T1ce",
            caveat="Where tumour and no-tumour images come from different datasets, the classifier may have learned "
            "the dataset rather than the tumour.",
            limits=("Tumours other than gliomas, meningiomas and pituitary tumours are unknown to it.",),
            is_focal=True,
        ),
        Disease(
            key="ms",
            title="Multiple sclerosis",
            classes=("normal", "multiple_sclerosis"),
            any_title="multiple sclerosis",
            question="Signs of multiple sclerosis",
            sequences="axial T2",
            sequence="T2",
            caveat="Where patients and controls were scanned on different scanners, scanner differences may explain "
            "the result.",
        ),
        Disease(
            key="parkinsons",
            title="Parkinson's disease",
            classes=("normal", "parkinsons"),
            any_title="Parkinson's disease",
            question="Signs of Parkinson's disease",
            sequences="volumes of mixed sequences",
            caveat="With few controls and mixed sequences, results across patients may be due to chance.",
        ),
    )
)
_BUILT_IN = frozenset(DISEASES)


def get_disease(key: str) -> Disease:
    """Returns the disease of that key.

    Raises:
        ManifestError: no disease has this key.
    """
    if key not in DISEASES:
        raise ManifestError(f"Expected a disease out of {', '.join(DISEASES)}, got {key!r}.")
    return DISEASES[key]


def is_own(key: str) -> bool:
    """Returns whether a disease is one that a file or a model added."""
    return key in DISEASES and key not in _BUILT_IN


def add_diseases(diseases: Iterable[Disease], source: Path) -> None:
    """Adds diseases of one's own to ``DISEASES``, in place of those of the same keys and classes.

    ``source`` is the file, or the model, that defines them.

    Raises:
        ModelError: another disease has the key or the title.
    """
    known = dict(DISEASES)
    for disease in diseases:
        former = known.get(disease.key)
        if former and former != disease and (disease.key in _BUILT_IN or former.classes != disease.classes):
            raise ModelError(
                f"Expected a key that no other disease has in {source}, got {disease.key}, which is {former.title} "
                f"with the classes {', '.join(former.classes)} already: choose another key, or start the program again."
            )
        known[disease.key] = disease
        if sum(other.title == disease.title for other in known.values()) > 1:
            raise ModelError(f"Expected each title once, got {disease.title} twice in {source}: choose another title.")
    DISEASES.data = known


def load_diseases(file: Path | None = None) -> None:
    """Adds the diseases of a TOML file, by default of the one that ``SSLMRI_DISEASES`` names, if any.

    Raises:
        ModelError: the file is missing or not TOML, or a disease lacks a field or breaks a rule.
    """
    if file is None and not os.environ.get(VARIABLE):
        return
    from pydantic import TypeAdapter, ValidationError

    path = file or Path(os.environ[VARIABLE])
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        own = TypeAdapter(_File).validate_json(json.dumps(content, default=str), strict=True).disease
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field, message = ".".join(map(str, first["loc"])) or "the file", first["msg"].removeprefix("Value error, ")
        raise ModelError(f"Expected diseases in {path}, got {field:.120}: {message:.200}; correct the file.") from error
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"Expected diseases in the TOML file {path}, got {got}: correct it.") from error
    keys = [disease.key for disease in own]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise ModelError(f"Expected each key once in {path}, got {repeated[0]} twice: choose another key.")
    add_diseases(own, path)
