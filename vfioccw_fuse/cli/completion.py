"""`vfioccw completion`: what a shell needs to complete the command line, and values of options.

The mechanism is click's. Its script for bash gets what bash made of the line, which breaks words at
`:`, `=` and `@`: ours gets the line itself, so that devices can be completed.
"""

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from . import COMPLETE, EXIT_OK

SHELLS = ("bash", "zsh", "fish")
"""The shells there is a script for."""
_MORE = ("/", ":", "=", ",", "@", "+", ".")
"""How a value ends behind which no blank is to follow."""
_SCRIPT = """\
%(complete_func)s() {
    local IFS=$'\\n' answer item type value
    answer=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete $1)
    COMPREPLY=()
    for item in $answer; do
        IFS=',' read -r type value <<<"$item"
        case $type in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        more) compopt -o nospace; COMPREPLY+=("$value") ;;
        plain) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class WholeLine(BashComplete):
    """bash, asked for what it completes by the line up to the cursor."""

    source_template = _SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        """Give the words before the one that is completed, and that one as far as it is typed."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        self._behind = _behind_the_last_break(incomplete)
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Give the item without what bash takes for words that are typed already."""
        kind = "more" if item.type == "plain" and item.value.endswith(_MORE) else item.type
        return f"{kind},{item.value[self._behind :]}"


def _behind_the_last_break(incomplete: str) -> int:
    """Where the word begins that bash itself completes, within *incomplete*."""
    breaks = os.environ.get("COMP_BREAKS", "")
    return max(incomplete.rfind(letter) for letter in f"{breaks} ") + 1


def prepare() -> None:
    """Let click know how this completes; before a shell's question is answered."""
    add_completion_class(WholeLine)


@click.command(name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> int:
    """Print the script by which SHELL completes commands, options, mounts, subchannels, devices.

    \b
    Examples, each for the shells that are started from then on:
      echo 'eval "$(vfioccw completion bash)"' >>~/.bashrc
      echo 'eval "$(vfioccw completion zsh)"' >>~/.zshrc
      mkdir -p ~/.config/fish/completions
      vfioccw completion fish >~/.config/fish/completions/vfioccw.fish
    \b
    In a bash that is there already:
      eval "$(vfioccw completion bash)"
    """
    prepare()
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "vfioccw", COMPLETE).source(), nl=False)
    return EXIT_OK
