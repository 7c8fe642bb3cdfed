"""What the registry keeps of a cohort."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Folder:
    """What the images of a folder are.

    Attributes:
        pattern: searched in the folder's name without case, spaces and punctuation; empty for any folder.
        label: their class, empty for images without a label.
        use: as in a manifest.
    """

    pattern: str
    label: str
    use: str = "train"


@dataclass(frozen=True)
class Recipe:
    """How simulated subjects look who stand for the cohorts of a disease, whatever their class.

    Attributes:
        contrasts: of the real cohorts; a subject gets one of them.
        heights_mm: superior millimetres between which slices are taken.
        head_fraction: fraction of subjects who keep skull and scalp; the others are skull-stripped.
        age_loss: how far the brain has aged; displacement of the walls of the ventricles in mm.
    """

    contrasts: tuple[str, ...] = ("T1",)
    heights_mm: tuple[float, float] = (-22.0, 50.0)
    head_fraction: float = 0.5
    age_loss: float = 0.8


@dataclass(frozen=True)
class Cohort:
    """One source of data, and how its download is read.

    Attributes:
        disease: key of the disease it has labels of, None where it has none.
        terms: source and terms, in one line.
        has_subject_ids: whether the source says who is who; groups of others are images, or blocks of adjacent ones.
        caveat: what is known of it that weakens results on its disease, one or two plain sentences.
        confounder: what its classes can be confounded with.
        layout: of its download, as an error says it; empty for the cohort that is made here.
        folders: the first whose pattern occurs in the name of the nearest folder above an image decides.
        groups: a pattern of file names with the named parts subject, slice and perhaps contrast; or ``neighbours``:
            the folder of a person, otherwise blocks of adjacent images; ``image``: each image for itself; ``class``:
            all images of a class; ``6400``: recovered from the order of the files.
        contrast: of all images, where it is known.
        may_lack: classes that a version of the dataset may do without.
        skip: pattern of whole folder names that hold other images.
        recipe: of the simulated subjects of its disease.
    """

    disease: str | None
    terms: str
    has_subject_ids: bool = False
    caveat: str = ""
    confounder: str = ""
    layout: str = ""
    folders: tuple[Folder, ...] = ()
    groups: str = ""
    contrast: str = ""
    may_lack: frozenset[str] = frozenset()
    skip: str = "masks?"
    recipe: Recipe | None = None
