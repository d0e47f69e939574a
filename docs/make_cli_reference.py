"""Write docs/cli.md and a page for each command in docs/commands, from the commands themselves.

With --check nothing is written: the names of pages that are not up to date are printed, and the exit code is 1.
"""

import sys
from pathlib import Path

import click
from bchisto.cli import cli
from bchisto.commands import full_help

WIDTH = 76  # fits a code block of the site at 1280 pixels
DOCS = Path(__file__).parent
INTRODUCTION = """\
# Command line

`bchisto -h` lists the commands, `bchisto COMMAND -h` the main options of one, and `--help-all` in the
place of `-h` every option, as these pages do.

{commands}

On a terminal, lines are at most 100 characters, and in colour unless `NO_COLOR` is set. A pipe or a file gets
plain lines, one for each message.

Exit codes: 0 done; 1 the work failed or some items failed (`failures.csv`); 2 wrong usage or refused input;
130 after Ctrl-C; 143 after SIGTERM.

The Tab key completes commands, options and their values after one line in the start-up file of your shell:

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


def sections(command, path, level=1):
    """Yield the sections of the page of a command: its help, then that of its own commands."""
    context = context_of(command, path)
    yield f"{'#' * level} {' '.join(path)}\n\n```text\n{full_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from sections(command.get_command(context, name), [*path, name], level + 1)


def pages():
    """Return the text of each page by its path below docs."""
    context = context_of(cli, ["bchisto"])
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    rows = [
        f"| [{name}](commands/{name}.md) | {command.get_short_help_str(WIDTH)} |" for name, command in commands.items()
    ]
    table = "\n".join(["| command | what it does |", "| --- | --- |", *rows])
    links = "\n".join(f"commands/{name}" for name in commands)
    own = {f"commands/{name}.md": "\n".join(sections(command, ["bchisto", name])) for name, command in commands.items()}
    return {"cli.md": INTRODUCTION.format(commands=table, pages=links), **own}


def main():
    texts = pages()
    there = {"cli.md", *(f"commands/{path.name}" for path in (DOCS / "commands").glob("*.md"))}
    if "--check" in sys.argv:
        stale = [name for name, text in texts.items() if name not in there or (DOCS / name).read_text("utf-8") != text]
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
