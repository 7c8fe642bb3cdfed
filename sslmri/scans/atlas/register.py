"""Affine registration of an extracted brain to the average brain, by least squares of their intensities."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_LEVELS_MM = ((8.0, 6.0), (4.0, 4.0), (3.0, 2.0))  # distance of the points compared, and sigma of the smoothing
_MAX_STEPS = 40
_STILL_MM = 0.02  # a step that moves no corner of the brain further ends a level
_QUANTILES = np.linspace(0, 100, 21)


@dataclass(frozen=True)
class Image3d:
    """Intensities (X, Y, Z), 0 outside the brain, and the affine (4, 4) from their indices to millimetres.

    X grows to the patient's right, Y to the front and Z upwards.
    """

    values: np.ndarray
    affine: np.ndarray

    def at(self, points_mm: np.ndarray, smoothing_mm: float = 0.0) -> np.ndarray:
        """Returns intensities (N,) at points (3, N) in mm, read linearly; 0 outside the field of view."""
        indices = moved(np.linalg.inv(self.affine), points_mm)
        return np.asarray(ndimage.map_coordinates(self.smooth(smoothing_mm), indices, np.float32, order=1))

    def covers(self, points_mm: np.ndarray) -> np.ndarray:
        """Returns bool (N,): which points (3, N) in mm lie in the field of view."""
        indices = moved(np.linalg.inv(self.affine), points_mm)
        sizes = np.array(self.values.shape)[:, None]
        return np.asarray(((indices >= -0.5) & (indices <= sizes - 0.5)).all(axis=0))

    def smooth(self, sigma_mm: float) -> np.ndarray:
        """Returns the intensities after a Gaussian filter."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        return np.asarray(ndimage.gaussian_filter(self.values, sigma_mm / spacing)) if sigma_mm else self.values

    def points_mm(self, step_mm: float) -> np.ndarray:
        """Returns a lattice of points (3, X, Y, Z) over the field of view, a step apart along each axis."""
        ends = self.affine[:3, :3] @ (np.array(self.values.shape) - 1) + self.affine[:3, 3]
        axes = [np.arange(start, end, step_mm) for start, end in zip(self.affine[:3, 3], ends, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def matched_to(template: Image3d, brain: Image3d) -> Image3d:
    """Returns a brain with the intensities of the template, quantile by quantile."""
    target, own = (np.percentile(image.values[image.values > 0], _QUANTILES) for image in (template, brain))
    own += np.arange(len(own)) * 1e-6 * max(1e-6, float(own[-1] - own[0]))  # equal quantiles would not be a function
    matched = np.where(brain.values > 0, np.interp(brain.values, own, target), 0)
    return Image3d(matched.astype(np.float32), brain.affine)


def register(moving: Image3d, template: Image3d) -> np.ndarray:
    """Returns the affine (4, 4) that takes a point of the template to the same point of a brain, both in mm.

    The brain has the intensities of the template, see ``matched_to``. Inverse compositional
    Gauss-Newton (Baker and Matthews 2004, section 3.2) from coarse to fine, from a start that gives the brain the
    centre and the extents of the template.
    """
    transform = _start(moving, template)
    for step_mm, smoothing_mm in _LEVELS_MM:
        transform = _refine(moving, template, transform, step_mm, smoothing_mm)
    return transform


def correlation(moving: Image3d, template: Image3d, transform: np.ndarray) -> float:
    """Returns the correlation of the aligned brain with the template wherever one of them is brain."""
    points = template.points_mm(4.0).reshape(3, -1)
    first, second = template.at(points, 2.0), moving.at(moved(transform, points), 2.0)
    either = (first > 0.1 * first.max()) | (second > 0.1 * second.max())
    return float(np.corrcoef(first[either], second[either])[0, 1])


def moved(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns points (3, N) after an affine transform (4, 4)."""
    return np.asarray(transform[:3, :3] @ points + transform[:3, 3:])


def _start(moving: Image3d, template: Image3d) -> np.ndarray:
    (centre, extent), (template_centre, template_extent) = _moments(moving), _moments(template)
    scale = np.diag(extent / template_extent)
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = scale, centre - scale @ template_centre
    return transform


def _moments(image: Image3d) -> tuple[np.ndarray, np.ndarray]:
    """Returns centre and standard deviation along each axis of the voxels that are not 0, in mm."""
    indices = np.argwhere(image.values > 0).astype(np.float32)
    mm = indices @ image.affine[:3, :3].T + image.affine[:3, 3]
    return mm.mean(axis=0), mm.std(axis=0)


def _refine(
    moving: Image3d, template: Image3d, transform: np.ndarray, step_mm: float, smoothing_mm: float
) -> np.ndarray:
    lattice = template.points_mm(step_mm)
    points = lattice.reshape(3, -1)
    fixed = template.at(points, smoothing_mm).reshape(lattice.shape[1:])
    gradient = np.stack(np.gradient(fixed, step_mm)).reshape(3, -1)
    near = np.linalg.norm(gradient, axis=0) > 1e-3 * fixed.max()
    points, gradient, fixed = points[:, near], gradient[:, near], fixed.reshape(-1)[near]
    homogeneous = np.vstack([points, np.ones((1, points.shape[1]), np.float32)])
    jacobian = (gradient[:, None] * homogeneous[None]).reshape(12, -1)  # of the template, so it stays the same
    solve = np.linalg.pinv(jacobian @ jacobian.T) @ jacobian
    smoothed = Image3d(moving.smooth(smoothing_mm), moving.affine)
    corners = homogeneous[:, :: max(1, points.shape[1] // 1000)]
    for _ in range(_MAX_STEPS):
        error = smoothed.at(moved(transform, points)) - fixed
        change = np.eye(4)
        change[:3] += (solve @ error).reshape(3, 4)
        updated = transform @ np.linalg.inv(change)
        shift = np.abs((updated - transform) @ corners).max()
        transform = updated
        if shift < _STILL_MM:
            break
    return transform
