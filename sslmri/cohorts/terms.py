"""Where each known cohort comes from, on what terms, and what its groups are: said of every model trained on it."""

from collections.abc import Iterable

from sslmri.cohorts.manifest import UNKNOWN

_NOT_RECORDED = "origin and terms not recorded"
_SET_6400 = "public 6,400-image Alzheimer's set, subjects recovered (OASIS-1 by subject counts); no licence stated"
TERMS = {
    "simulated": "simulated people made by this project from the MNI152 average brain shipped with nilearn (BSD)",
    "oasis_2d": _SET_6400,
    "alzheimers_6400": _SET_6400,
    "cheng": "figshare 1512427, Cheng et al. 2015; patient numbers not included, blocks of neighbouring numbers",
    "br35h": "Br35H, one picture of each near-identical cluster; no licence stated",
    "ehealth_cyprus": "eHealth laboratory, University of Cyprus, free use with its notice; Loizou et al. 2011, 2013",
    "ixi_t2": "IXI, CC BY-SA 3.0",
    "web_controls": "unverified controls, no subject ids; origin and terms unknown",
    "mendeley_ms": "Mendeley Data 8bctsm8jz7, CC BY 4.0",
    "ntua_volumes": "derived from the NTUA Parkinson set, academic use; Tagaris et al. 2018",
    "oasis": "OASIS-1 2-D slices; OASIS data use agreement; Marcus et al. 2007",
}
SUBJECT, GROUP = "subject", "group"
# The cohorts whose source says who is who; the groups of all others are pictures, or blocks of neighbouring pictures.
_OF_PEOPLE = {
    *("simulated", "oasis", "oasis_2d", "alzheimers_6400"),
    *("ehealth_cyprus", "ixi_t2", "mendeley_ms", "ntua_volumes"),
}
_MEANINGS = {
    SUBJECT: "Each group is one subject.",
    GROUP: "A group is a person where the source says who is who, otherwise one picture or a block of neighbouring "
    "pictures.",
}


def terms_of(cohort: str) -> str:
    """Returns source and terms of a cohort, in one line."""
    return TERMS.get(cohort, _NOT_RECORDED)


def unit_of(groups: Iterable[str]) -> str:
    """Returns ``subject`` where each of the groups is known to be one person, else ``group``.

    Args:
        groups: as ``Record.group_key`` names them; the name of a cohort alone stands for groups that are all known.
    """
    named = {group.partition("/")[::2] for group in groups}
    is_known = all(cohort in _OF_PEOPLE and not group.startswith(UNKNOWN) for cohort, group in named)
    return SUBJECT if named and is_known else GROUP


def meaning_of(unit: str) -> str:
    """Returns the sentence that says what a group is, for a unit of ``unit_of``."""
    return _MEANINGS[unit]
