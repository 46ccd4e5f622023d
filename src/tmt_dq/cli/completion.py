"""``tmt-dq completion``."""

import os
from pathlib import Path

import click

from tmt_dq.errors import ConfigError

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_TMT_DQ_COMPLETE"


@click.command("completion", short_help="Print the script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def command(shell: str | None) -> None:
    """Print the script that makes a shell complete tmt-dq's verbs, options and values.

    Without SHELL it is for the shell that the variable SHELL names.

    \b
    Examples:
      eval "$(tmt-dq completion bash)"        # in ~/.bashrc
      eval "$(tmt-dq completion zsh)"         # in ~/.zshrc, after compinit
      tmt-dq completion fish > ~/.config/fish/completions/tmt-dq.fish
    """
    from click.shell_completion import get_completion_class

    if shell is None:
        shell = Path(os.environ.get("SHELL", "")).name
        if shell not in _SHELLS:
            raise ConfigError(
                f"the variable SHELL names {shell or 'no shell'}, for which there is no script",
                hint=f"Name one: tmt-dq completion {'|'.join(_SHELLS)}",
            )
    kind = get_completion_class(shell)
    assert kind is not None
    group = click.get_current_context().find_root().command
    # Not source(): for bash it starts one to learn its version, which may not be the user's.
    script = kind(group, {}, "tmt-dq", _VARIABLE)
    click.echo(script.source_template % script.source_vars())
