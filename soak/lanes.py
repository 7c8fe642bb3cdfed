"""The trials at their full counts, and how they are run: one alone with the machine, then two lanes side by side."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from soak import (
    access,
    fuzz,
    hostile,
    injected_reports,
    injection,
    models,
    outside,
    privacy,
    served_models,
    sessions,
    training,
)
from soak.row import Row

Trial = Callable[[], Row]
ALONE: tuple[Trial, ...] = (sessions.rush,)
LANES: tuple[tuple[Trial, ...], ...] = (
    (
        *(sessions.crossings, sessions.cycles),
        *(privacy.canaries, privacy.forgotten, outside.connections),
        *(hostile.by_reader, hostile.by_command, hostile.by_page),
        access.send_forbidden_requests,
    ),
    (
        *(models.load_hostile_models, models.screen_with_hostile_models, models.show_hostile_models),
        served_models.serve_hostile_models,
        *(fuzz.mutants, fuzz.bit_flips),
        *(injection.in_browser, injected_reports.in_reports, injected_reports.in_commands),
        *training.TRIALS,
    ),
)


def run_all() -> Iterator[Row]:
    """Yields the row of every trial; each is printed with its seconds as soon as it ends."""
    yield from map(_run, ALONE)
    with ThreadPoolExecutor(len(LANES)) as lanes:
        for rows in lanes.map(_run_lane, LANES):
            yield from rows


def _run_lane(trials: Sequence[Trial]) -> list[Row]:
    return [_run(trial) for trial in trials]


def _run(trial: Trial) -> Row:
    """Returns the row of a trial in a process of its own, printed with its seconds; one that breaks has failed once."""
    begun = time.monotonic()
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:
            row = own.submit(trial).result()
    except Exception as error:  # the other trials go on, even if the process of this one was killed
        row = Row(str(trial), 1, 1, "", (f"{type(error).__name__}: {error}",))
    print(f"{time.monotonic() - begun:7.1f} s  {row}", file=sys.stderr, flush=True)
    return row
