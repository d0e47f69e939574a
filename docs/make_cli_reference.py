"""Write docs/cli.md from the commands themselves."""

import sys
from pathlib import Path

import click
from bchisto.cli import cli
from bchisto.commands import full_help

WIDTH = 100


def pages(command, path):
    context = click.Context(
        command,
        info_name=" ".join(path),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield path, full_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from pages(command.get_command(context, name), [*path, name])


def text():
    parts = [
        "# Command line\n",
        "`bchisto -h` lists the commands, `bchisto COMMAND -h` the main options of one, and"
        " `--help-all` in the place of `-h` every option, as here.\n",
        "On a terminal lines are at most 100 characters, and in colour unless `NO_COLOR` is set; a pipe or a file gets"
        " plain lines, one for each message.\n",
        "Exit codes: 0 done; 1 the work failed or some items failed (`failures.csv`); 2 wrong usage or refused"
        " input; 130 after Ctrl-C; 143 after SIGTERM.\n",
        "The Tab key completes commands, options and their values after one line in the start-up file of your shell:"
        '\n\n```text\nbash (~/.bashrc)   eval "$(_BCHISTO_COMPLETE=bash_source bchisto)"\n'
        'zsh (~/.zshrc)     eval "$(_BCHISTO_COMPLETE=zsh_source bchisto)"\n'
        "fish               _BCHISTO_COMPLETE=fish_source bchisto > ~/.config/fish/completions/bchisto.fish\n```\n",
    ]
    for path, page in pages(cli, ["bchisto"]):
        parts.append(f"## `{' '.join(path)}`\n\n```text\n{page.rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(text())
    else:
        (Path(__file__).parent / "cli.md").write_text(text(), encoding="utf-8")
