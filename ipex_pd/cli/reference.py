"""The command line's reference page, written from the commands themselves.

Run ``python -m ipex_pd.cli.reference > docs/reference/cli.md`` after a change; a test keeps both equal.
"""

from __future__ import annotations

from typing import Any

import typer

from ipex_pd.cli.main import app

_HEAD = """# Command line

Written from the commands by `python -m ipex_pd.cli.reference`.

Wherever a name is asked for, a shipped name (`ipex-pd catalogue`) or a YAML file will do. Results go to standard output,
messages and progress to standard error. With `--json` standard output holds one JSON value and nothing else; an error is then
`{"error": {"code", "where", "what", "rule", "cure"}}`. Exit codes: 0 done; 1 findings, or the work failed; 2 wrong usage or
input; 130 interrupted, with what was finished kept.
"""


def command_reference() -> str:
    """All commands with their arguments, options and defaults, as Markdown."""
    group: Any = typer.main.get_command(app)
    sections = [_section(name, command) for name, command in group.commands.items()]
    return "\n".join([_HEAD, *sections])


def _section(name: str, command: Any) -> str:
    lines = [f"## ipex-pd {name}", "", *_prose(command.help or ""), "", "| argument or option | meaning | default |"]
    lines.append("|---|---|---|")
    lines += [_row(parameter) for parameter in command.params]
    return "\n".join(lines) + "\n"


def _prose(help_text: str) -> list[str]:
    lines = []
    for line in help_text.strip().splitlines():
        sign, example = line.strip().partition("Example: ")[1:]
        lines.append(f"Example: `{example}`" if sign else line.strip())
    return lines


def _row(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    label = ", ".join(f"`{text}`" for text in parameter.opts) if is_option else f"`{parameter.metavar}`"
    value = parameter.metavar if is_option and parameter.metavar else ""
    help_text = (parameter.help or "").replace("|", "\\|")
    return f"| {label}{' ' + value.replace('|', ' or ') if value else ''} | {help_text} | {_default(parameter)} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value == "" or value is False:
        return ""
    return f"`{getattr(value, 'value', value)}`"


if __name__ == "__main__":
    print(command_reference(), end="")
