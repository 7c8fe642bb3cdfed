"""Atlas preparation: a T1 volume of a whole head becomes the aligned slices that a classifier learned from.

``align`` is the entry point; extraction and registration run in a process of their own, within limits.
"""

from sslmri.scans.atlas.process import HEAD_MM, AlignedBrain, align

__all__ = ["HEAD_MM", "AlignedBrain", "align"]
