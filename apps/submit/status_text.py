"""A status as lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.jobs import format_seconds
from .status import RunStatus, Stage


def status_lines(status: RunStatus) -> list[str]:
    """Return a status as lines for people."""
    lines = [f"{status.run}: {status.state}"]
    for stage in status.stages:
        parts = [f"{stage.command}: {stage.state}"]
        if stage.units:
            parts.append(f"{stage.unit} done: {stage.done} of {stage.units}")
            if stage.begun:
                parts.append(f"{stage.begun} in progress")
        whole = sum(complete for _, complete in stage.folders)
        if stage.folders:
            kind = "feature files" if stage.command == "featurize" else "folders"
            parts.append(f"{kind} complete: {whole} of {len(stage.folders)}")
        if stage.per_minute is not None and stage.seconds_left is not None:
            parts.append(f"{stage.per_minute:.3g} a minute, {format_seconds(stage.seconds_left)} left")
        lines.append("; ".join(parts))
        lines += [f"  {line}" for line in _shard_lines(stage)]
    if status.failed_images:
        lines.append(f"failed images: {status.failed_images}, listed in {Path(status.run) / 'failures.csv'}")
    if status.log:
        lines.append(f"read: {status.log}")
    if status.then:
        lines.append(f"next: {status.then}")
    return lines


def _shard_lines(stage: Stage) -> list[str]:
    """Return a line for shards of the same state and reason: a run may have hundreds."""
    alike: dict[tuple[str, str], list[str]] = {}
    for shard in stage.shards:
        alike.setdefault((shard.state, shard.reason), []).append(shard.shard.partition("/")[0])
    count = len(stage.shards)
    if list(alike.values()) == [[""]]:  # no shard
        return [stage.shards[0].reason]
    return [
        f"{'shard' if len(numbers) == 1 else 'shards'} {_spans(list(map(int, numbers)))} of {count}: {state}"
        + (f" ({reason})" if reason else "")
        for (state, reason), numbers in alike.items()
    ]


def _spans(numbers: Sequence[int]) -> str:
    """Return numbers in order as text.

    Examples
    --------
    >>> _spans([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
