"""The commands of the command line."""

import json
from pathlib import Path

import click
from bchisto.apps.submit import planning
from bchisto.cli import cli
from bchisto.commands.help import is_flag
from bchisto.core.runs import read_entries


def commands(group=cli, words=()):
    """Yield (words, command) of every command, also of those in groups."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from commands(command, (*words, name))
            else:
                yield (*words, name), command


EVERY = {" ".join(words): command for words, command in commands()}
"""Each command by the words that call it."""


def flags(command):
    return {
        flag
        for option in command.params
        if isinstance(option, click.Option)
        for flag in (*option.opts, *option.secondary_opts)
    }


def with_file(file, name, *words):
    """Return the words of a command; what only files of options have is written into one, as JSON."""
    only_in_files = {
        flag: option
        for option in EVERY[name].params
        if not is_flag(option)
        for flag in (*option.opts, *option.secondary_opts)
    }
    plain = [name]
    options = {}
    rest = iter(words)
    for word in rest:
        option = only_in_files.get(word)
        if option is None:
            plain.append(word)
        elif option.is_flag:
            options[option.name] = word in option.opts
        elif option.multiple:
            options.setdefault(option.name, []).append(next(rest))
        else:
            options[option.name] = next(rest)
    file.write_text(json.dumps(options))
    return (*plain, "--config", file)


def check_here(cli, monkeypatch):
    """Let `submit` check commands in this process, which saves starting one for each."""

    def check(stage, warn, *, repeats):
        shard = ("--shard", "1/1") if stage.command in ("featurize", "boost") else ()
        code, _, err = cli(stage.command, "--check", *shard, *stage.words)
        assert code in (0, 4), err
        for line in err.splitlines():
            warn(line)
        stage.megabytes = 800
        if stage.command == "featurize":
            checks = [
                each
                for each in read_entries(Path(stage.run, "run.json"))
                if each.command == "submit"
            ]
            stage.stores = checks[-1].notes["stores"]
        return code == 0

    monkeypatch.setattr(planning, "_check", check)
