"""The trials at their full counts: some run alone with the machine, then two lanes side by side."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.soak import (
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
    stability,
    training,
)
from tests.soak.result import Row
from tests.soak.running import Trial, run

# their figures are times, and memory that follows from how fast sessions come and go: another trial would change both
ALONE: tuple[Trial, ...] = (sessions.rush, sessions.cycles)
LANES: tuple[tuple[Trial, ...], ...] = (
    (
        sessions.crossings,
        *(privacy.canaries, privacy.on_disk, privacy.forgotten, outside.connections),
        *(hostile.by_reader, hostile.by_command, hostile.by_page),
        access.send_forbidden_requests,
        *(injection.in_browser, injected_reports.in_reports, injected_reports.in_commands),
        *(stability.harmless_changes, served_models.serve_hostile_models),
    ),
    (
        *(models.load_hostile_models, models.screen_with_hostile_models, models.show_hostile_models),
        *(fuzz.mutants, fuzz.bit_flips),
        *training.TRIALS,
    ),
)


def run_all() -> Iterator[Row]:
    """Yields the row of every trial; each is printed with its seconds as soon as it ends."""
    yield from map(run, ALONE)
    with ThreadPoolExecutor(len(LANES)) as lanes:
        for rows in lanes.map(run_lane, LANES):
            yield from rows


def run_lane(trials: Sequence[Trial]) -> list[Row]:
    """Returns the rows of trials that are run one after the other."""
    return [run(trial) for trial in trials]
