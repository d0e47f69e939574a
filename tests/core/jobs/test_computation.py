"""One protocol of a run: what is finished is kept, the rest is done, and outputs are of exactly the inputs."""

from dataclasses import dataclass, field
from pathlib import Path

from bchisto.core import SettingsConflictError
from bchisto.core.jobs import Computation, Resources, Share, Work, compute, compute_all, set_aside
from bchisto.core.jobs.work import Shard
from refusals import refusing

NAMES = [f"{group}{number}" for group in "abc" for number in range(2)]


@dataclass
class Letters(Computation):
    """Files of letters; a unit is a file, its name the group and a number."""

    root: Path
    work: Work = field(default_factory=Work)
    suffix: str = ""
    together: bool = False
    in_one: bool = False
    calls: list = field(default_factory=list)
    steps_of_run: list = field(default_factory=list)

    label = "x"
    unit = "units"
    step_name = "steps"
    finished_clause = "units are done"
    resources = Resources(processes=1, cores=1)

    @property
    def folder(self):
        return self.root

    def check(self):
        self.steps_of_run.append("check")
        table = self.folder / "table"
        if table.is_file() and not table.read_text().startswith("made"):
            raise SettingsConflictError("{}: of other settings", table)

    def discard(self):
        self.steps_of_run.append("discard")
        for name in [*NAMES, "table", "list"]:
            set_aside(self.folder / name)

    def begin(self):
        self.steps_of_run.append("begin")

    def units(self, *, merges):
        self.steps_of_run.append(f"units merges={merges}")
        return NAMES

    def describe(self, units):
        self.steps_of_run.append("describe")

    def read(self, unit):
        path = self.folder / unit
        return path.read_text() if path.is_file() else None

    @property
    def do(self):
        return self.make

    def make(self, units, ticker):
        self.calls.append(list(units))
        for unit in units:
            (self.folder / unit).write_text(f"made {unit}{self.suffix}")
            ticker.tick()
        return len(units)

    def groups(self, units):
        if not self.together:
            return super().groups(units)
        return [tuple(unit for unit in units if unit[0] == group) for group in "abc"]

    def bundles(self, units):
        if self.in_one:
            return [tuple(units)]
        return [group for group in self.groups(units) if group]

    def note_work(self, units, environments):
        self.steps_of_run.append(f"note {list(environments)}")

    def list_units(self, units):
        self.steps_of_run.append("list")
        (self.folder / "list").write_text(" ".join(units))

    def rehearse(self, units):
        self.steps_of_run.append(f"rehearse {units if units is None else len(units)}")

    def end_shard(self):
        self.steps_of_run.append("end shard")

    def _content(self, kept):
        return " ".join(self.read(name) or "" for name in NAMES)

    def is_written(self, kept):
        table = self.folder / "table"
        return table.is_file() and table.read_text() == self._content(kept)

    def write(self, kept, made):
        self.steps_of_run.append("write")
        assert made == [len(call) for call in self.calls]
        (self.folder / "table").write_text(self._content(kept))
        (self.folder / "list").unlink(missing_ok=True)
        return kept


def test_finished_units_are_kept_and_the_rest_is_done(tmp_path, caplog):
    caplog.set_level("INFO", "bchisto")
    (tmp_path / "a1").write_text("made before")
    letters = Letters(tmp_path)
    computed = compute(letters)
    assert computed.result == [None, "made before", None, None, None, None]
    assert (computed.share, computed.unchanged) == (None, False)
    assert letters.calls == [["a0"], ["b0"], ["b1"], ["c0"], ["c1"]]
    assert "x: 1 of 6 units are done already" in caplog.text
    assert letters.steps_of_run == [
        "check",
        "begin",
        "units merges=True",
        "describe",
        "note [{}]",
        "list",
        "write",
    ]
    again = Letters(tmp_path)
    assert None not in compute(again).result
    assert again.calls == []
    assert again.steps_of_run == ["check", "begin", "units merges=True", "describe", "write"]


def test_outputs_that_are_kept_are_not_written_again(tmp_path):
    """As those of `predict --update`."""

    class Kept(Letters):
        rewrites = False

    assert compute(Kept(tmp_path, Work())).result is not None
    again = Kept(tmp_path)
    computed = compute(again)
    assert (computed.result, computed.unchanged) == (None, True)
    assert "write" not in again.steps_of_run
    (tmp_path / "table").write_text("made of other images")
    stale = Kept(tmp_path)
    assert compute(stale).result is not None
    assert stale.calls == []


def test_shards_are_dealt_by_what_belongs_together(tmp_path):
    """Before finished units are looked for, so that a share is the same whatever is there."""
    (tmp_path / "a0").write_text("made before")
    first = Letters(tmp_path, Work(shard=Shard(1, 2)), together=True)
    computed = compute(first)
    assert computed.result is None
    assert computed.share == Share(Shard(1, 2), own=4, done=4, units=6, unit="units")
    assert first.calls == [["a1"], ["c0", "c1"]]
    assert first.steps_of_run[-1] == "end shard"
    assert "units merges=False" in first.steps_of_run
    second = Letters(tmp_path, Work(shard="2/2"), together=True)
    assert compute(second).share.done == 6
    assert second.calls == [["b0", "b1"]]
    assert not (tmp_path / "table").exists()
    merge = Letters(tmp_path, together=True)
    assert compute(merge).result is not None
    assert merge.calls == []
    assert compute(Letters(tmp_path, Work(shard="2/2"))).unchanged


def test_missing_units_are_bundled(tmp_path):
    (tmp_path / "b0").write_text("made before")
    shard = Letters(tmp_path, Work(shard="1/2"), in_one=True)
    compute(shard)
    assert shard.calls == [["a0", "c0"]]
    rest = Letters(tmp_path, in_one=True)
    compute(rest)
    assert rest.calls == [["a1", "b1", "c1"]]


def test_a_check_does_and_writes_nothing_but_the_list(tmp_path):
    (tmp_path / "a0").write_text("made before")
    letters = Letters(tmp_path, Work(checks=True, shard="1/1"))
    computed = compute(letters)
    assert (computed.result, computed.unchanged, computed.share.done) == (None, False, 1)
    assert letters.calls == []
    assert letters.steps_of_run[-3:] == ["note [{}]", "list", "rehearse 5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a0", "list"]


def test_a_check_tells_whether_outputs_are_of_exactly_these_inputs(tmp_path):
    compute(Letters(tmp_path, Work()))
    complete = Letters(tmp_path, Work(checks=True))
    assert compute(complete).unchanged
    assert "list" not in complete.steps_of_run
    (tmp_path / "table").write_text("made of other images")
    stale = Letters(tmp_path, Work(checks=True))
    assert not compute(stale).unchanged
    assert "list" in stale.steps_of_run
    (tmp_path / "table").unlink()
    assert not compute(Letters(tmp_path, Work(checks=True))).unchanged


def test_overwriting_discards_all_before_any_work(tmp_path):
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        compute(Letters(folder, Work()))
        (folder / "table").write_text("of other settings")
    changed = [Letters(folder, suffix=" anew") for folder in folders]
    with refusing("of other settings", SettingsConflictError):
        compute_all(changed)
    assert changed[1].steps_of_run == []
    changed = [Letters(folder, Work(overwrite=True), suffix=" anew") for folder in folders]
    results = compute_all(changed)
    assert [each.result for each in results] == [[None] * 6] * 2
    assert [each.steps_of_run[:2] for each in changed] == [["discard", "begin"]] * 2
    assert (folders[1] / "c1").read_text() == "made c1 anew"


def test_a_check_removes_nothing(tmp_path):
    compute(Letters(tmp_path, Work()))
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    letters = Letters(tmp_path, Work(checks=True, overwrite=True))
    computed = compute(letters)
    assert (computed.result, computed.unchanged) == (None, False)
    assert letters.steps_of_run == ["rehearse None"]
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_a_table_has_no_shards():
    Work().refuse_shard("{shard} {}: one table")
    with refusing("`shard` 1/2: one table"):
        Work(shard="1/2").refuse_shard("{shard} {}: one table")
