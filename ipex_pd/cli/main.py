"""The program `ipex-pd`: registers the commands and turns every error into one panel and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from ipex_pd import __version__
from ipex_pd.cli import console
from ipex_pd.cli.catalogue import catalogue
from ipex_pd.cli.check import check
from ipex_pd.cli.cohort import cohort
from ipex_pd.cli.compare import compare
from ipex_pd.cli.design import design
from ipex_pd.cli.diagnose import diagnose
from ipex_pd.cli.equations import equations
from ipex_pd.cli.fit import fit
from ipex_pd.cli.forecast import forecast
from ipex_pd.cli.optimise import optimise
from ipex_pd.cli.recover import recover
from ipex_pd.cli.replay import replay
from ipex_pd.cli.simulate import simulate
from ipex_pd.cli.uncertainty import uncertainty
from ipex_pd.cli.validate import validate
from ipex_pd.errors import IpexError, UsageError

# The class that all faults of the command line's grammar share; typer exports only its children.
_GRAMMAR_FAULT: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="ipex-pd",
    help="Simulate a child with IPEX syndrome under treatment, compare regimens, and fit models to data.",
    epilog="Research tool, not medical advice. Start with: ipex-pd catalogue",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    simulate,
    compare,
    validate,
    equations,
    check,
    catalogue,
    cohort,
    fit,
    diagnose,
    uncertainty,
    replay,
    forecast,
    optimise,
    design,
    recover,
):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.emit_text(f"ipex-pd {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Simulate a child with IPEX syndrome under treatment, compare regimens, and fit models to data."""
    if context.invoked_subcommand is None:
        console.emit_text(context.get_help())
        raise typer.Exit(console.EXIT_USAGE)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 findings or failed work, 2 wrong usage or input."""
    as_json = "--json" in arguments
    try:
        outcome = app(args=list(arguments), prog_name="ipex-pd", standalone_mode=False)
    except IpexError as error:
        console.show_error(error, as_json=as_json)
        return console.exit_code(error)
    except _GRAMMAR_FAULT as fault:
        console.show_error(_usage_error(fault, arguments), as_json=as_json)
        return console.EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        console.say("Interrupted.")
        return console.EXIT_INTERRUPTED
    except Exception as fault:
        traceback.print_exc()
        console.show_error(_internal_error(fault), as_json=as_json)
        return console.EXIT_FAILED
    return outcome if isinstance(outcome, int) else console.EXIT_OK


def _usage_error(fault: Exception, arguments: Sequence[str]) -> UsageError:
    describe = getattr(fault, "format_message", fault.__str__)
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    verb = next((argument for argument in arguments if argument in known), "")
    return UsageError(describe().rstrip("."), cure=f"See: ipex-pd {verb + ' ' if verb else ''}--help")


def _internal_error(fault: Exception) -> IpexError:
    return IpexError(
        f"{type(fault).__name__}: {fault}",
        code="internal",
        rule="This is a fault of ipex-pd, not of your input",
        cure="Report it with the lines above",
    )


def main() -> None:
    """Entry point of the program."""
    code = run(sys.argv[1:])
    # compiled code may still run in its thread after Ctrl-C, and taking it down costs half a second: just leave
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
