"""`shibafu completion`: scripts for shells, made of the parser itself, so that they cannot lag behind it."""

from argparse import Action, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    # argparse names the type of add_subparsers() only privately, and only for type checkers as a generic.
    Words = _SubParsersAction[ArgumentParser]

SHELLS = ("bash", "zsh", "fish")
# What a positional argument is called in the parser, and how a shell finds what it may be.
_NETWORKS = "shibafu network ls --quiet 2>/dev/null"
_COMPLETED = {"NETWORK": _NETWORKS}


@dataclass(frozen=True)
class Position:
    """What may come after some words.

    Args:
        words: such as `network inspect`; empty at the beginning.
        choices: subcommands and options, with what they are for.
        values: a shell command that lists what else may come; empty for file names.
        is_group: whether subcommands come here.
    """

    words: str
    choices: dict[str, str]
    values: str
    is_group: bool


def find_positions(parser: ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[Position]:
    """Yield every position in a parser, the outermost first."""
    choices: dict[str, str] = {}
    values = ""
    below: list[tuple[str, ArgumentParser]] = []
    for action in parser._actions:  # argparse has no public way to ask
        if isinstance(action, _SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._get_subactions()}
            choices |= {name: helps.get(name, "") for name in action.choices}
            below += action.choices.items()
        elif action.option_strings:
            choices[max(action.option_strings, key=len)] = (action.help or "").replace("%%", "%")
        else:
            choices |= {str(choice): "" for choice in action.choices or ()}
            values = _COMPLETED.get(str(action.metavar), values)
    yield Position(" ".join(words), choices, values, bool(below))
    for name, inner in below:
        yield from find_positions(inner, (*words, name))


def find_option_values(parser: ArgumentParser) -> dict[str, list[str]]:
    """Return the options that take one of a few values, in whichever subcommand."""
    return {
        option: [str(choice) for choice in action.choices]
        for action in _find_options(parser)
        if action.choices
        for option in action.option_strings
    }


def find_valued_options(parser: ArgumentParser) -> set[str]:
    """Return the options that are followed by a value, in every subcommand that has them."""
    actions = list(_find_options(parser))
    flags = {option for action in actions if not takes_value(action) for option in action.option_strings}
    valued = {option for action in actions if takes_value(action) for option in action.option_strings}
    return valued - flags


def _find_options(parser: ArgumentParser) -> Iterator[Action]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for inner in action.choices.values():
                yield from _find_options(inner)
        elif action.option_strings:
            yield action


def takes_value(action: Action) -> bool:
    """Return whether an option is followed by a value."""
    return bool(action.option_strings) and action.nargs != 0


def calc_bash(parser: ArgumentParser) -> str:
    """Return the script for bash."""
    valued = "|".join(sorted(find_valued_options(parser)))
    lines = [
        "# bash completion of shibafu; load it with: source <(shibafu completion bash)",
        "_shibafu() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        '    local word words="" skip="" choices=""',
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        '        if [[ -n $skip ]]; then skip=""; continue; fi',
        f"        case $word in {valued}) skip=1; continue ;; -*) continue ;; esac",
        '        case "$words $word" in',
    ]
    positions = list(find_positions(parser))
    known = [f'" {position.words}"' for position in positions if position.words]
    lines += [f'            {"|".join(known)}) words="$words $word" ;;', "        esac", "    done"]
    lines.append("    case $previous in")
    for option, values in sorted(find_option_values(parser).items()):
        lines.append(
            f"        {option}) COMPREPLY=($(compgen -W '{' '.join(values)}' -- \"$current\")); return ;;"
        )
    lines += [
        f'        {valued}) COMPREPLY=($(compgen -f -- "$current")); return ;;',
        "    esac",
        "    case $words in",
    ]
    for position in positions:
        pattern = f'" {position.words}"' if position.words else '""'
        extra = f" $({position.values})" if position.values else ""
        lines.append(f'        {pattern}) choices="{" ".join(position.choices)}{extra}" ;;')
    lines += [
        "    esac",
        '    COMPREPLY=($(compgen -W "$choices" -- "$current"))',
        "}",
        "complete -o default -F _shibafu shibafu",
    ]
    return "\n".join(lines)


def calc_zsh(parser: ArgumentParser) -> str:
    """Return the script for zsh."""
    valued = "|".join(sorted(find_valued_options(parser)))
    lines = [
        "#compdef shibafu",
        "# zsh completion of shibafu; load it with: source <(shibafu completion zsh)",
        "_shibafu() {",
        "    local word where='' skip=''",
        "    local -a choices",
        "    for word in ${words[2,CURRENT-1]}; do",
        "        if [[ -n $skip ]]; then skip=''; continue; fi",
        f"        case $word in ({valued}) skip=1; continue ;; (-*) continue ;; esac",
        '        case "$where $word" in',
    ]
    positions = list(find_positions(parser))
    known = [f'" {position.words}"' for position in positions if position.words]
    lines += [f'            ({"|".join(known)}) where="$where $word" ;;', "        esac", "    done"]
    lines.append("    case ${words[CURRENT-1]} in")
    for option, values in sorted(find_option_values(parser).items()):
        lines.append(f"        ({option}) compadd -- {' '.join(values)}; return ;;")
    lines += [f"        ({valued}) _files; return ;;", "    esac", "    case $where in"]
    for position in positions:
        pattern = f'" {position.words}"' if position.words else '""'
        items = " ".join(_quote(f"{name}:{what}") for name, what in position.choices.items())
        extra = f' ${{(f)"$({position.values})"}}' if position.values else ""
        lines.append(f"        ({pattern}) choices=({items}{extra}) ;;")
    lines += [
        "    esac",
        "    _describe 'shibafu' choices || _files",
        "}",
        "compdef _shibafu shibafu",
        "# As a file of $fpath this is run at the first completion, which it has to do, too.",
        'if [[ $funcstack[1] == _shibafu ]]; then _shibafu "$@"; fi',
    ]
    return "\n".join(lines)


def calc_fish(parser: ArgumentParser) -> str:
    """Return the script for fish."""
    valued = find_valued_options(parser)
    values = find_option_values(parser)
    lines = [
        "# fish completion of shibafu; load it with: shibafu completion fish | source",
        "function __shibafu_words",
        "    set -l skip ''",
        "    for word in (commandline -opc)[2..-1]",
        "        if test -n \"$skip\"; set skip ''; continue; end",
        "        switch $word",
        f"            case {' '.join(sorted(valued))}",
        "                set skip 1",
        "            case '-*'",
        "            case '*'",
        "                echo $word",
        "        end",
        "    end",
        "end",
        "function __shibafu_at",
        "    set -l words (__shibafu_words)",
        '    test "$words" = "$argv"',
        "end",
        "function __shibafu_in",
        "    set -l words (__shibafu_words)",
        '    string match -q -- "$argv *" "$words "',
        "end",
        "complete -c shibafu -f",
    ]
    for position in find_positions(parser):
        # A group's words come once; options and names of the last word may come many times.
        where = f"-n '__shibafu_{'at' if position.is_group else 'in'} {position.words}'"
        for name, what in position.choices.items():
            about = f" -d {_quote(what)}" if what else ""
            if not name.startswith("-"):
                lines.append(f"complete -c shibafu {where} -a {name}{about}")
                continue
            needs = (
                f" -x -a '{' '.join(values[name])}'" if name in values else " -r" if name in valued else ""
            )
            lines.append(f"complete -c shibafu {where} -l {name.removeprefix('--')}{needs}{about}")
        if position.values:
            lines.append(f"complete -c shibafu {where} -a '({position.values})'")
    return "\n".join(lines)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "") + "'"


_SCRIPTS = {"bash": calc_bash, "zsh": calc_zsh, "fish": calc_fish}


def calc_subcommand(build_parser: Callable[[], ArgumentParser]) -> Subcommand:
    """Return `shibafu completion`; it is made of the parser that it is a part of."""

    def add_arguments(parser: ArgumentParser) -> None:
        parser.add_argument("shell", choices=SHELLS, help="the shell")

    def run(context: Context, arguments: Namespace) -> int:
        script = _SCRIPTS[arguments.shell](build_parser())
        context.out.text(script)
        context.out.data({"shell": arguments.shell, "script": script})
        return 0

    return Subcommand(
        "completion",
        "print a completion script for a shell",
        "Print a script that completes subcommands, options and network names.",
        (
            "source <(shibafu completion bash)                                   # in this shell",
            "shibafu completion bash > /etc/bash_completion.d/shibafu            # in every bash",
            "shibafu completion zsh > /usr/local/share/zsh/site-functions/_shibafu",
            "shibafu completion fish > ~/.config/fish/completions/shibafu.fish",
        ),
        run,
        add_arguments,
    )
