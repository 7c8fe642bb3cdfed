"""All that is known of a cohort, once: source and terms, its caveat, what its groups are, how a download is read."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from sslmri.cohorts.cohort import Cohort, Folder, Recipe
from sslmri.diseases import get_disease, is_own

BIDS = "bids"  # begins the names of cohorts that were read from a BIDS dataset: their groups are its participants
UNKNOWN = "unknown-"  # how the name of a group begins that is not known to be one person
MIN_GROUPS = 5  # of a class in one split; below it results describe those few subjects rather than the class
SUBJECT, GROUP = "subject", "group"
_NOT_RECORDED = "origin and terms not recorded"

_HEALTHY = r"control|(?<!ab)normal|healthy"
_DEMENTIA = (
    Folder(r"^nondement", "non_demented"),
    Folder(r"^verymilddement", "very_mild_demented"),
    Folder(r"^milddement", "mild_demented"),
    Folder(r"^moderatedement", "moderate_demented"),
)
_TUMOURS = (
    Folder(r"^glioma", "glioma"),
    Folder(r"^meningioma", "meningioma"),
    Folder(r"^pituitary", "pituitary"),
)
_PARKINSONS = (
    Folder(rf"^non?(pd|parkinson)|{_HEALTHY}", "normal"),
    Folder(r"^pd|parkinson", "parkinsons"),
)
_MS = (Folder(rf"^nonms|^noms|{_HEALTHY}", "normal"), Folder(r"^ms|multiplesclerosis", "multiple_sclerosis"))
_IXI_NAME = r"(.*[-_])?(?P<subject>IXI\d{3})\D.*?(?P<slice>\d+)"

_TWO_MODERATE = "Only two subjects have moderate dementia."
_TWO_DATASETS = "In the training data most of them do."
_TWO_SCANNERS = "In the training data they were, and only two controls have a known origin."
_NINE_CONTROLS = "The training data have nine controls and mixed sequences."
_OASIS_2D = Cohort(
    "alzheimers",
    "public 6,400-image Alzheimer's set (Kaggle sachinkumar413), which is OASIS-1; OASIS data use agreement",
    has_subject_ids=True,
    caveat=_TWO_MODERATE,
    confounder="age",
    layout="folders Non_Demented, Very_Mild_Demented, Mild_Demented and Moderate_Demented",
    folders=_DEMENTIA,
    groups="6400",
    contrast="T1",
)


def _pair(disease: str, repository: str, folders: tuple[Folder, ...]) -> Cohort:
    return Cohort(
        disease,
        f"github {repository}; no licence stated",
        has_subject_ids=True,
        caveat="One subject per class: it can only show what a leak looks like.",
        confounder="subject",
        layout=f"a folder for each class of {disease}",
        folders=tuple(replace(folder, use="leak_demo") for folder in folders),
        groups="class",
        contrast="mixed",
    )


COHORTS: dict[str, Cohort] = {
    "simulated": Cohort(
        None,
        "simulated subjects made by this project from the MNI152 average brain shipped with nilearn (BSD)",
        has_subject_ids=True,
    ),
    "oasis": Cohort(
        "alzheimers",
        "OASIS-1 2-D slices; OASIS data use agreement; Marcus et al. 2007",
        has_subject_ids=True,
        caveat=_TWO_MODERATE,
        confounder="age",
        layout="folders Non Demented, Very mild Dementia, Mild Dementia and Moderate Dementia with files like "
        "OAS1_0028_MR1_mpr-1_100.jpg",
        folders=_DEMENTIA,
        groups=r"(?P<subject>OAS1_\d{4})_MR\d+_mpr-\d+_(?P<slice>\d+)",
        contrast="T1",
        recipe=Recipe(("T1",), (-8, 44), head_fraction=0.0, age_loss=1.2),
    ),
    "oasis_2d": _OASIS_2D,
    "alzheimers_6400": _OASIS_2D,
    "tumours": Cohort(
        "tumours",
        "public tumour slices sorted by class, most of them figshare 1512427 (Cheng et al. 2015) and Br35H, some "
        "mirrored or turned; terms of the download",
        caveat=_TWO_DATASETS,
        confounder="dataset",
        layout="folders glioma, meningioma, pituitary and perhaps notumor",
        folders=(*_TUMOURS, Folder(rf"^(no|non)tumou?r|{_HEALTHY}", "no_tumour")),
        groups="neighbours",
        may_lack=frozenset({"no_tumour"}),
        recipe=Recipe(("T1ce",), (-44, 60), head_fraction=1.0, age_loss=0.6),
    ),
    "cheng": Cohort(
        "tumours",
        "figshare 1512427, Cheng et al. 2015, CC BY 4.0; patient numbers not in the file names",
        caveat=_TWO_DATASETS,
        confounder="dataset",
        layout="folders glioma, meningioma and pituitary",
        folders=_TUMOURS,
        groups="neighbours",
        contrast="T1ce",
    ),
    "br35h": Cohort(
        "tumours",
        "Br35H (Kaggle ahmedhamada0), 119 distinct images among 318, mirrored and turned; no licence stated",
        caveat=_TWO_DATASETS,
        confounder="dataset",
        layout="a folder no or no_tumour",
        folders=(Folder(r"^no(tumou?r)?$", "no_tumour"),),
        groups="image",
        contrast="mixed",
        skip=r"yes|pred|masks?",
    ),
    "tcga_lgg": Cohort(
        "tumours",
        "TCGA-LGG (Kaggle mateuszbuda/lgg-mri-segmentation), lower-grade glioma; licence not stated there",
        has_subject_ids=True,
        layout="folders images (marked slices) and unlabelled, with files like lgg-000_t1post_12.jpg",
        folders=(Folder(r"^images$", "glioma", "localisation"), Folder(r"^unlabelled$", "")),
        groups=r"(?P<subject>lgg-\d+)_(?P<contrast>[a-z0-9]+)_(?P<slice>\d+)",
        may_lack=frozenset({"glioma", ""}),
    ),
    "ms": Cohort(
        "ms",
        "public multiple sclerosis slices sorted by class; no subject ids; terms of the download",
        caveat="In the public sets they were.",
        confounder="scanner",
        layout="folders MS... and Control...",
        folders=_MS,
        groups="neighbours",
        recipe=Recipe(("T2", "FLAIR"), (-2, 46), head_fraction=1.0, age_loss=0.3),
    ),
    "ehealth_cyprus": Cohort(
        "ms",
        "eHealth laboratory, University of Cyprus, free use with its notice; Loizou et al. 2011, 2013",
        has_subject_ids=True,
        caveat=_TWO_SCANNERS,
        confounder="scanner",
        layout="files like ms01_000.jpg",
        folders=(Folder("", "multiple_sclerosis"),),
        groups=r"(ms-)?(?P<subject>[A-Za-z]*\d+)_(?P<slice>\d+)",
        contrast="T2",
    ),
    "ixi_t2": Cohort(
        "ms",
        "IXI (brain-development.org), CC BY-SA 3.0",
        has_subject_ids=True,
        caveat=_TWO_SCANNERS,
        confounder="scanner",
        layout="files like IXI002-Guys-0828-T2_000.jpg",
        folders=(Folder("", "normal"),),
        groups=_IXI_NAME,
        contrast="T2",
    ),
    "web_controls": Cohort(
        "ms",
        "unverified controls, no subject ids, most of them copies of Br35H; origin and terms unknown",
        caveat=_TWO_SCANNERS,
        confounder="scanner",
        layout="images",
        folders=(Folder("", "normal"),),
        groups="image",
        contrast="mixed",
    ),
    "mendeley_ms": Cohort(
        "ms",
        "Mendeley Data 8bctsm8jz7, CC BY 4.0",
        has_subject_ids=True,
        layout="files like flair_108009.jpg: contrast, patient 108, slice 9",
        folders=(Folder("", "multiple_sclerosis", "localisation"),),
        groups=r"(mendeley_)?(?P<contrast>[a-z0-9]+)_(?P<subject>\d{3})(?P<slice>\d{3})",
    ),
    "ms_pair": _pair("ms", "Harinandkumar/Multiple-Sclerosis-Detection-using-Deep-Learning", _MS),
    "parkinsons": Cohort(
        "parkinsons",
        "public Parkinson's slices sorted by class, NTUA set or copies of it; academic use; Tagaris et al. 2018",
        caveat=_NINE_CONTROLS,
        confounder="subject",
        layout="folders parkinson or PD, and normal, control or Non PD",
        folders=_PARKINSONS,
        groups="neighbours",
        skip=r"\d*dat(scan)?",  # the NTUA set keeps DaT scans, which are no MRI, next to each subject's MRI
        recipe=Recipe(("T2",), (-22, -5), age_loss=1.0),
    ),
    "ntua_volumes": Cohort(
        "parkinsons",
        "derived from the NTUA Parkinson set, academic use; Tagaris et al. 2018",
        has_subject_ids=True,
        caveat=_NINE_CONTROLS,
        confounder="subject",
        layout="folders parkinsons and normal with files like pd-normal-00_03.png",
        folders=_PARKINSONS,
        groups=r"(?P<subject>.+)_(?P<slice>\d+)",
        contrast="mixed",
    ),
    "pd_pair": _pair("parkinsons", "srisathvig16/Parkinsons-Disease-MRI-Classifier", _PARKINSONS),
    "ixi_t1": Cohort(
        None,
        "IXI (brain-development.org), CC BY-SA 3.0",
        has_subject_ids=True,
        layout="files like IXI012-HH-1211-T1_044.jpg",
        folders=(Folder("", ""),),
        groups=_IXI_NAME,
        contrast="T1",
    ),
}


def terms_of(cohort: str) -> str:
    """Returns source and terms of a cohort, in one line."""
    return COHORTS[cohort].terms if cohort in COHORTS else _NOT_RECORDED


def caveat_of(disease: str, cohorts: Iterable[str]) -> str:
    """Returns what to know of a model of a disease: its caveat, what is known of the cohorts it was trained on, limits.

    The limits of built-in diseases were measured on models trained on the public cohorts; they are left out for a model
    of other data.
    """
    known = get_disease(disease)
    public = [cohort for key in sorted(set(cohorts)) if (cohort := COHORTS.get(key)) and cohort.disease == disease]
    facts = dict.fromkeys(cohort.caveat for cohort in public if cohort.caveat)
    return " ".join([known.caveat, *facts, *(known.limits if public or is_own(disease) else ())])


def recipe_of(disease: str) -> Recipe:
    """Returns the recipe of the simulated subjects of a disease, a plain one where no cohort gives one."""
    recipes = (cohort.recipe for cohort in COHORTS.values() if cohort.disease == disease)
    return next(filter(None, recipes), Recipe())


def unit_of(groups: Iterable[str]) -> Literal["subject", "group"]:
    """Returns ``subject`` where each of the groups is known to be one person, else ``group``.

    Groups are named as by ``Record.group_key``; the name of a cohort alone stands for groups that are all known.
    """
    named = {group.partition("/")[::2] for group in groups}
    people = {key for key, cohort in COHORTS.items() if cohort.has_subject_ids}
    is_known = all(
        (cohort in people or cohort.startswith(f"{BIDS}-")) and not group.startswith(UNKNOWN) for cohort, group in named
    )
    return "subject" if named and is_known else "group"


def meaning_of(unit: str) -> str:
    """Returns the sentence that says what a group is, for a unit of ``unit_of``."""
    if unit == SUBJECT:
        return "Each group is one subject."
    return "A group is one subject where identities are known; otherwise one image or a run of adjacent images."
