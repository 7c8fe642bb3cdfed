"""Strokes from which pictures that are no brain are made: ellipses, places and textures on one square."""

import numpy as np

SIDE = 160  # pixels along each side of a made-up picture


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows and columns of a picture, both (S, S) in -1..1."""
    axis = np.linspace(-1, 1, SIDE)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def disc(rng: np.random.Generator, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Returns a turned ellipse with a wavy edge, (S, S) bool; everything as shares of half a side."""
    rows, columns = grid()
    turn = rng.uniform(-0.5, 0.5)
    down, right = rows - centre[0], columns - centre[1]
    first = (down * np.cos(turn) + right * np.sin(turn)) / radii[0]
    second = (right * np.cos(turn) - down * np.sin(turn)) / radii[1]
    angle = np.arctan2(second, first)
    edge = 1 + rng.uniform(0, 0.12) * np.sin(rng.integers(2, 6) * angle + rng.uniform(0, 6))
    return np.asarray(np.hypot(first, second) < edge)


def spot(rng: np.random.Generator, spread: float = 0.6) -> tuple[float, float]:
    """Returns a place (row, column) at most ``spread`` from the middle along either axis."""
    return float(rng.uniform(-spread, spread)), float(rng.uniform(-spread, spread))


def texture(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Returns noise whose amplitude falls with frequency to that power, (S, S) of deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(SIDE, SIDE))) / frequency**slope
    noise = np.fft.irfft2(spectrum, s=(SIDE, SIDE))
    return np.asarray((noise - noise.mean()) / noise.std())
