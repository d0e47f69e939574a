"""Write docs/cli.md and a page for each group of commands in docs/commands, from the commands themselves.

With --check nothing is written: the names of pages that are not up to date are printed, and the exit code is 1.
"""

import copy
import sys
from pathlib import Path

import click
from bchisto.cli import GROUPS, cli
from bchisto.commands import full_help
from bchisto.commands.help import COMMON, is_flag
from bchisto.core import declared_options
from bchisto.data import ImageSelection

WIDTH = 76  # fits a code block of the site at 1280 pixels
DOCS = Path(__file__).parent
READING_PAGE = "../cli.md#options-on-how-images-are-read"
READING = {field.name for field, _, _ in declared_options(ImageSelection)} - {"images", "only"}
"""Options on how labelled images are read, which several commands have."""

INTRODUCTION = """\
# Command line

`bchisto -h` lists the commands, `bchisto COMMAND -h` the main options of one, and `--help-all` every option, of a
group of commands those of each.

{commands}

Exit codes: 0 done; 1 the work failed or some items failed (`failures.csv`); 2 wrong usage or refused input; 130 after
Ctrl-C; 143 after SIGTERM. Lines are coloured on a terminal unless `NO_COLOR` is set; a pipe or file gets one line for
each message.

## Options of every command

```text
{common}
```

What stands under "Only in a file of options" is a line of the file that `--config` names, such as `l2: 0.001`.

## Options on how images are read

These commands have them: {readers}.

```text
{reading}
```

## Completion

The Tab key completes commands, options and values after one line in the start-up file of your shell:

```text
bash (~/.bashrc)   eval "$(_BCHISTO_COMPLETE=bash_source bchisto)"
zsh (~/.zshrc)     eval "$(_BCHISTO_COMPLETE=zsh_source bchisto)"
fish               _BCHISTO_COMPLETE=fish_source bchisto > ~/.config/fish/completions/bchisto.fish
```

```{{toctree}}
:hidden:

{pages}
```
"""


def context_of(command, path):
    return click.Context(
        command,
        info_name=" ".join(path),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )


def reads_images(command):
    return {parameter.name for parameter in command.params} >= READING


def listed(command, names):
    """Return the help of some options of a command, sorted by group as its help is."""
    formatter = click.HelpFormatter(width=WIDTH)
    context = context_of(command, ["bchisto"])
    options = [option for option in command.params if option.name in names]
    formatter.write_dl([option.get_help_record(context) for option in options])
    return formatter.getvalue().rstrip()


def without_shared(command):
    """Return a command without the options that cli.md lists for several commands."""
    own = copy.copy(command)
    shared = {*COMMON, *(READING - set(command.first) if reads_images(command) else ())}
    own.params = [
        parameter
        for parameter in command.params
        if parameter.name not in shared or not is_flag(parameter)
    ]
    own.add_help_option = False
    return own


def sections(command, path, level):
    """Yield the section of a command: its help, or those of its own commands."""
    context = context_of(command, path)
    yield f"{'#' * level} {' '.join(path)}\n"
    if isinstance(command, click.Group):
        yield f"{command.help}\n"
        for name in command.list_commands(context):
            yield from sections(command.get_command(context, name), [*path, name], level + 1)
        return
    help_text = full_help(context_of(without_shared(command), path)).rstrip()
    yield f"```text\n{help_text}\n```\n"
    if reads_images(command):
        yield f"Also [how images are read]({READING_PAGE}).\n"


def pages():
    """Return the text of each page by its path below docs."""
    context = context_of(cli, ["bchisto"])
    rows, texts = [], {}
    for title, names in GROUPS.items():
        page = f"commands/{title.split()[0].lower()}"
        commands = {name: cli.get_command(context, name) for name in names}
        rows += [
            f"- [{name}]({page}.md#bchisto-{name}): {command.get_short_help_str(WIDTH)}"
            for name, command in commands.items()
        ]
        own = (
            text
            for name, command in commands.items()
            for text in sections(command, ["bchisto", name], 2)
        )
        texts[f"{page}.md"] = "\n".join([f"# {title}\n", *own])
    sample = cli.get_command(context, "featurize")
    parts = "\n".join(texts.values()).split("# bchisto ")
    readers = [f"`{part.splitlines()[0]}`" for part in parts if READING_PAGE in part]
    index = INTRODUCTION.format(
        commands="\n".join(rows),
        pages="\n".join(page.removesuffix(".md") for page in texts),
        common=listed(sample, COMMON),
        reading=listed(sample, READING),
        readers=", ".join(readers),
    )
    return {"cli.md": index, **texts}


def main():
    texts = pages()
    there = {"cli.md", *(f"commands/{path.name}" for path in (DOCS / "commands").glob("*.md"))}
    if "--check" in sys.argv:
        stale = [
            name
            for name, text in texts.items()
            if name not in there or (DOCS / name).read_text("utf-8") != text
        ]
        sys.stdout.write("".join(f"{name}\n" for name in sorted({*stale, *(there - texts.keys())})))
        return int(bool(stale or there - texts.keys()))
    (DOCS / "commands").mkdir(exist_ok=True)
    for name in there - texts.keys():
        (DOCS / name).unlink()
    for name, text in texts.items():
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
