"""The diseases that are screened: the only place where class names, their order and their caveats stand."""

from collections.abc import Iterable
from dataclasses import dataclass

from sslmri.errors import ManifestError


@dataclass(frozen=True)
class Disease:
    """One disease head.

    Attributes:
        key: short name used in files, manifests and JSON.
        title: name shown to people.
        classes: class keys in clinical order; ``classes[0]`` is the reference (healthy) class.
        question: what the head answers.
        applies_to: the kind of slice the head is meant for.
        caveat: what a reader must know before believing a number, whatever the model learned from.
        public_caveat: what is known of the public cohorts.
        public_cohorts: the cohorts of which that is told.
        is_ordinal: whether the classes are stages of growing severity.
    """

    key: str
    title: str
    classes: tuple[str, ...]
    question: str
    applies_to: str
    caveat: str
    public_caveat: str
    public_cohorts: frozenset[str]
    is_ordinal: bool = False

    @property
    def reference(self) -> str:
        """The healthy class."""
        return self.classes[0]

    def caveat_of(self, cohorts: Iterable[str]) -> str:
        """Returns the caveat for a model that learned from these cohorts: what is known of them is told as well."""
        return self.caveat if self.public_cohorts.isdisjoint(cohorts) else f"{self.caveat} {self.public_caveat}"


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
            question="How demented is the person, by the clinical dementia rating?",
            applies_to="axial T1 slices of people over 60",
            caveat="A stage that few people show can be neither learned nor evaluated between subjects.",
            public_caveat="Moderate dementia is two people in the public data.",
            public_cohorts=frozenset({"oasis", "oasis_2d", "alzheimers_6400"}),
            is_ordinal=True,
        ),
        Disease(
            key="tumours",
            title="Tumour",
            classes=("no_tumour", "glioma", "meningioma", "pituitary"),
            question="Is there a tumour, and of which type?",
            applies_to="T1 slices with contrast",
            caveat="Where pictures without and with a tumour come from different sources, telling them apart is partly "
            "telling the sources apart.",
            public_caveat="In the public data they come from different sources.",
            public_cohorts=frozenset({"br35h", "cheng"}),
        ),
        Disease(
            key="ms",
            title="Multiple sclerosis",
            classes=("normal", "multiple_sclerosis"),
            question="Are there signs of multiple sclerosis?",
            applies_to="axial T2 slices",
            caveat="Where patients and controls were scanned on different scanners, the scanner is learned along with "
            "the disease.",
            public_caveat="In the public data they were, and only two controls are of known origin.",
            public_cohorts=frozenset({"ehealth_cyprus", "ixi_t2", "web_controls"}),
        ),
        Disease(
            key="parkinsons",
            title="Parkinson's disease",
            classes=("normal", "parkinsons"),
            question="Are there signs of Parkinson's disease?",
            applies_to="slices of volumes of mixed sequences",
            caveat="Where controls are few and sequences are mixed, a result between subjects may be chance.",
            public_caveat="In the public data there are nine controls, and the sequences are mixed.",
            public_cohorts=frozenset({"ntua_volumes"}),
        ),
    )
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
    """Returns a class key as people write it: ``very_mild_demented`` as ``very mild demented``."""
    names = {"no_tumour": "no tumour", "parkinsons": "Parkinson's"}
    return names.get(label, label.replace("_", " "))


def any_title(disease: Disease) -> str:
    """Returns what stands for all classes but the reference: ``any tumour``, or the one other class."""
    names = {"alzheimers": "any dementia", "tumours": "any tumour"}
    is_binary = len(disease.classes) == 2
    return class_title(disease.classes[1]) if is_binary else names.get(disease.key, f"any {disease.title}")
