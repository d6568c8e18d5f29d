"""Scripts with which a shell completes commands and options.

It asks nightreel nothing while one types: starting Python at each press of Tab would be slower than typing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from nightreel.cli.root import app


class Shell(StrEnum):
    """The shells for which there are scripts."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True)
class Command:
    """A command with its subcommands and options.

    Attributes:
        typed: the words after `nightreel`.
        words: commands and options that may follow, with their help.
    """

    typed: str
    words: dict[str, str]


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell that the script is for.")],
) -> None:
    """Print a script that completes commands and options: source <(nightreel completion bash)."""
    commands = list(_commands(typer.main.get_command(app)))
    scripts = {Shell.BASH: _bash, Shell.ZSH: _zsh, Shell.FISH: _fish}
    print(scripts[shell](commands))


def _commands(group: Any, typed: str = "") -> Iterator[Command]:
    options = {
        name: one.help or "" for one in group.params if one.param_type_name == "option" for name in one.opts
    }
    inner = getattr(group, "commands", {})
    names = {name: command.get_short_help_str(80) for name, command in inner.items() if not command.hidden}
    yield Command(typed, names | options | {"--help": "Show the help."})
    for name, command in inner.items():
        yield from _commands(command, f"{typed} {name}".strip())


def _bash(commands: list[Command]) -> str:
    cases = "\n".join(f'    "{one.typed}") words="{" ".join(one.words)}" ;;' for one in commands)
    return f"""_nightreel() {{
  local typed="" words="" word n
  for ((n = 1; n < COMP_CWORD; n++)); do
    word="${{COMP_WORDS[n]}}"
    case " {_names(commands)} " in
      *" ${{typed:+$typed/}}$word "*) typed="${{typed:+$typed/}}$word" ;;
    esac
  done
  case "${{typed//\\// }}" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _nightreel nightreel"""


def _zsh(commands: list[Command]) -> str:
    # zsh understands bash's completion scripts.
    return (
        f"autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n{_bash(commands)}"
    )


def _fish(commands: list[Command]) -> str:
    lines = ["complete -c nightreel -f"]
    tops = commands[0].words
    for one in commands:
        parts = one.typed.split()
        if not parts:
            names = " ".join(name for name in tops if not name.startswith("-"))
            condition = f"not __fish_seen_subcommand_from {names}"
        else:
            condition = "; and ".join(f"__fish_seen_subcommand_from {part}" for part in parts)
        for word, said in one.words.items():
            kind = (
                f"-l {word[2:]}"
                if word.startswith("--")
                else f"-s {word[1:]}"
                if word[0] == "-"
                else f"-a {word}"
            )
            text = said.replace("\\\\", "").replace("'", "\\\\'")
            lines.append(f"complete -c nightreel -n '{condition}' {kind} -d '{text}'")
    return "\n".join(lines)


def _names(commands: list[Command]) -> str:
    """Every command by its words, with slashes between."""
    return " ".join(one.typed.replace(" ", "/") for one in commands if one.typed)
