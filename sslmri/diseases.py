"""The diseases that are screened: the only definition of class names, their order, caveats and limits."""

from dataclasses import dataclass
from typing import Literal

from sslmri.errors import ManifestError

MriSequence = Literal["T1", "T1ce", "T2", "FLAIR"]  # T1ce: with contrast agent
SequenceChoice = Literal[MriSequence, "unknown"]  # of a reader, who may also say that nobody knows


@dataclass(frozen=True)
class Disease:
    """One classifier.

    Attributes:
        key: short name used in files, manifests and JSON.
        title: name for display.
        classes: class keys in clinical order; ``classes[0]`` is the reference (healthy) class.
        any_title: all classes but the reference together, for display.
        question: what the classifier answers.
        sequences: the slices it is trained on, as they follow "trained on".
        caveat: what a reader must know before believing a number, whatever the training data.
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
    any_title: str
    question: str
    sequences: str
    caveat: str
    sequence: str | None = None
    form: Literal["acquired", "atlas"] = "acquired"
    limits: tuple[str, ...] = ()
    is_ordinal: bool = False
    is_focal: bool = False
    is_atrophy: bool = False

    @property
    def reference(self) -> str:
        """The healthy class."""
        return self.classes[0]


@dataclass(frozen=True)
class Notice:
    """A sentence that a reader must see, of one disease or of none in particular.

    Attributes:
        disease: key of the disease, or None.
        text: one plain sentence that does not repeat the disease's title.
    """

    disease: str | None
    text: str


DISEASES: dict[str, Disease] = {
    disease.key: disease
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
            question="Tumour: present or absent, and its type",
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
}
_CLASS_TITLES = {
    "non_demented": "no dementia",
    "very_mild_demented": "very mild dementia",
    "mild_demented": "mild dementia",
    "moderate_demented": "moderate dementia",
    "no_tumour": "no tumour",
    "pituitary": "pituitary tumour",
    "parkinsons": "Parkinson's",
}


def get_disease(key: str) -> Disease:
    """Returns the disease of that key.

    Raises:
        ManifestError: no disease has this key.
    """
    if key not in DISEASES:
        raise ManifestError(f"Expected a disease out of {', '.join(DISEASES)}, got {key!r}.")
    return DISEASES[key]


def class_title(label: str) -> str:
    """Returns the title of a class for display: ``very_mild_demented`` as ``very mild dementia``."""
    return _CLASS_TITLES.get(label, label.replace("_", " "))
