"""The reference pages, written from the code: run ``python docs/reference_pages.py`` after a change.

A test keeps the pages and the code equal.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

import ipex_pd
from ipex_pd.cli.equations import all_parameters
from ipex_pd.cli.main import app
from ipex_pd.equations.document import equations_markdown

FOLDER = Path(__file__).parent / "reference"

_COMMANDS_HEAD = """# Command line

Written from the commands by `python docs/reference_pages.py`.

Wherever a name is asked for, a shipped name (`ipex-pd catalogue`) or a YAML file will do. Results go to standard
output, messages and progress to standard error. With `--json` standard output holds one JSON value and nothing else;
an error is then `{"error": {"code", "where", "what", "rule", "cure"}}`. Exit codes: 0 done; 1 findings, or the work
failed; 2 wrong usage or input; 130 interrupted, with what was finished kept.
"""


def command_reference() -> str:
    """All commands with their arguments, options and defaults, as Markdown."""
    group: Any = typer.main.get_command(app)
    sections = [_section(name, command) for name, command in group.commands.items()]
    return "\n".join([_COMMANDS_HEAD, *sections])


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


_API_HEAD = """# Python

Written from the docstrings by `python docs/reference_pages.py`.

`import ipex_pd as ipx`; everything below is a name in `ipx`. Nothing heavy is loaded before a name is first used.
"""


def api_reference() -> str:
    """Every public name with its signature and docstring, as Markdown."""
    return "\n".join([_API_HEAD, *(_entry(name) for name in ipex_pd.__all__)])


def _entry(name: str) -> str:
    value = getattr(ipex_pd, name)
    lines = [f"## `{name}`", ""]
    if not inspect.isclass(value):
        lines += ["```python", _signature(name, value), "```", ""]
    return "\n".join([*lines, "```text", inspect.getdoc(value) or "", "```"]) + "\n"


def _signature(name: str, value: Callable[..., Any]) -> str:
    signature = inspect.signature(value)
    arguments = [_argument(parameter) for parameter in signature.parameters.values()]
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        arguments.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    whole = f"{name}({', '.join(arguments)}) -> {signature.return_annotation}"
    if len(whole) <= 100:
        return whole
    return f"{name}(\n    " + ",\n    ".join(arguments) + f",\n) -> {signature.return_annotation}"


def _argument(parameter: inspect.Parameter) -> str:
    value = parameter.default
    told = value.__name__ if inspect.isfunction(value) else repr(value)
    default = "" if value is parameter.empty else f" = {told}"
    return f"{parameter.name}: {parameter.annotation}{default}"


def equation_reference() -> str:
    """The model with the shipped parameters, as `ipex-pd equations` writes it."""
    return equations_markdown(parameter_set=all_parameters())


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": command_reference,
    "api.md": api_reference,
    "equations.md": equation_reference,
}


if __name__ == "__main__":
    for page, write in PAGES.items():
        (FOLDER / page).write_text(write(), encoding="utf-8")
