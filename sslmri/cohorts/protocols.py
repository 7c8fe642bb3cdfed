"""How data are split into training, validation and test: by group, or by image as published. No pandas here."""

from typing import Literal

Protocol = Literal["group-disjoint", "as-published"]
GROUP_DISJOINT: Protocol = "group-disjoint"
AS_PUBLISHED: Protocol = "as-published"
EVIDENCE_FOLDERS: dict[str, str] = {
    GROUP_DISJOINT: "evidence",
    AS_PUBLISHED: "evidence/as-published",
}  # in the folder of a model
