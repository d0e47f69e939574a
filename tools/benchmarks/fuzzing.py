"""What campaigns of changed files share: random changes, and processes that read one changed file after another.

Each file is read in a child process, which is watched: a signal, an error that is none of ours or of several lines,
more than ten seconds of work, more memory than 1.5 GiB beside what the child began with, and whatever is written,
started, unpickled or connected to meanwhile are findings. Another child goes on behind the file that ended one.
"""

import argparse
import collections
import logging
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from bchisto.core import BchistoError

SECONDS, MOST_BYTES = 10, int(1.5 * 1024**3)
WATCHED = ("os.", "shutil.", "subprocess.", "socket.", "pickle.", "ctypes.dlopen", "tempfile.")

STRANGE = [
    b"",
    b"\0",
    b"\xff",
    b"-1",
    b"0",
    b"1e308",
    b"nan",
    b"inf",
    b"9" * 5000,
    b"../../x",
    b"/etc/passwd",
    b"{",
    b"[" * 2000,
    b'"',
    b"'",
    b",",
    b"\n",
    b"\r",
    b"\x1b[2J",
    b"=1+1",
    b"&a *a",
    b"!!int abc",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"2024-99-99",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    "é漢".encode(),
    b"x" * 100_000,
]


def mutated(data, chance):
    """Return bytes with a few changes: bits, bytes, cuts, repeats, exchanges, and strange words."""
    altered = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at, to = sorted(chance.randrange(len(altered) + 1) for _ in range(2))
        length, way = chance.choice((1, 1, 2, 4, 8, 64, 512)), chance.randrange(8)
        if way <= 1 and at < len(altered):
            altered[at] ^= 1 << chance.randrange(8)
        elif way == 2:
            altered[at : at + length] = chance.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * length
        elif way == 3:
            del altered[at : at + chance.choice((length, len(altered)))]
        elif way == 4:
            altered[at:at] = chance.choice(STRANGE)
        elif way == 5:
            altered[at:to] = altered[at:to][:4096] * chance.choice((0, 2, 3))
        elif way == 6:
            altered[at : at + length] = chance.randbytes(length)
        else:
            altered[at : at + length] = altered[to : to + length]
    return bytes(altered)


class Watch:
    """Counts what an audit hook sees while it is on."""

    def __init__(self):
        self.on, self.seen = False, collections.Counter()
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if not self.on:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes or (isinstance(path, str) and path.startswith("/etc")):
                self.seen[f"open {path} {mode}"] += 1
        elif event.startswith(WATCHED) and not event.startswith(
            ("os.scandir", "os.listdir", "os.putenv")
        ):
            self.seen[f"{event} {str(arguments)[:80]}"] += 1


def work(prepare, read, kind, folder, numbers, seed, report):
    """Read changed files; `report` holds what came of them, and the number of the one that is read."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.chdir(folder)
    watch, answers, odd, slowest = Watch(), collections.Counter(), [], 0.0
    began = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (began + MOST_BYTES,) * 2)
    for number in numbers:
        content, name = prepare(kind, random.Random(f"{seed} {kind} {number}"))
        path = folder / name
        path.write_bytes(content)
        before = set(path.parent.rglob("*"))
        report["at"] = number
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # no handler: the signal ends this process
        started = time.perf_counter()
        watch.on = number > numbers[0]  # the first one loads what is loaded late
        try:
            read(kind, path)
            answer = "read"
        except Exception as error:  # noqa: BLE001 - what is not refused on purpose is what is looked for
            # a name that no file has is a line of the command line
            ours = isinstance(error, BchistoError) or (
                isinstance(error, OSError) and error.filename
            )
            answer = "refused" if ours and "\n" not in str(error) else "unexpected"
            odd += [(number, traceback.format_exc()[-900:])] if answer == "unexpected" else []
        finally:
            watch.on = False
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.perf_counter() - started)
        answers[answer] += 1
        odd += [(number, f"left {other}") for other in sorted(set(path.parent.rglob("*")) - before)]
        odd += [(number, event) for event in watch.seen]
        watch.seen.clear()
        path.unlink(missing_ok=True)
        report.update(answers=dict(answers), odd=odd, slowest=slowest)


def campaign(prepare, read, kind, count, seed, expected):
    """Return what came of the changed files of a kind, the findings by number, and the longest time."""
    answers, odd, slowest, at = collections.Counter(), [], 0.0, 0
    with multiprocessing.Manager() as manager:
        while at < count:
            numbers = range(at, min(at + 2000, count))
            report = manager.dict(at=at, answers={}, odd=[], slowest=0.0)
            with tempfile.TemporaryDirectory(prefix="bchisto-fuzz-") as folder:
                child = multiprocessing.get_context("fork").Process(
                    target=work, args=(prepare, read, kind, Path(folder), numbers, seed, report)
                )
                child.start()
                child.join()
            answers.update(report["answers"])
            odd += report["odd"]
            slowest, at = max(slowest, report["slowest"]), report["at"] + 1
            if child.exitcode and expected(kind):
                answers["refused by the first look"] += 1
            elif child.exitcode:
                odd.append((report["at"], f"ended by {child.exitcode}"))
    return answers, odd, slowest


def main(description, shares, prepare, read, *, expected=lambda kind: False):
    """Run a campaign, and return its exit code.

    `shares` maps kinds of files to their share of all; `prepare` returns a changed file of a kind and its name;
    `expected` says whether the file that ended a child counts as refused.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executions", type=int, default=20_000, help="In all.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(shares))
    parser.add_argument("--keep", type=Path, help="Folder for the changed files of findings.")
    options = parser.parse_args()
    kinds, wrong = options.kinds.split(","), 0
    for kind in kinds:
        count = options.executions * shares[kind] // sum(shares[each] for each in kinds)
        answers, odd, slowest = campaign(prepare, read, kind, count, options.seed, expected)
        listed = ", ".join(f"{number:,} {answer}" for answer, number in sorted(answers.items()))
        print(
            f"{kind}: {count} executions, {listed}; {len(odd)} findings, slowest {slowest:.1f} s",
            flush=True,
        )
        for number, text in odd[:20]:
            print(f"  {number}: {text}")
        for number, _ in odd if options.keep else ():
            options.keep.mkdir(parents=True, exist_ok=True)
            content, name = prepare(kind, random.Random(f"{options.seed} {kind} {number}"))
            (options.keep / f"{number}-{Path(name).name}").write_bytes(content)
        wrong += len(odd)
    return int(wrong > 0)
