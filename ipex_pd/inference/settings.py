"""Settings that only one method has: SaemOptions, ImpOptions, NutsOptions; made, read from text, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.imp import ImpOptions
from ipex_pd.inference.importance import ImportanceOptions
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.saem import SaemOptions

if TYPE_CHECKING:
    from ipex_pd.inference.bayes import NutsOptions

    Settings = SaemOptions | ImpOptions | NutsOptions

WITH_SETTINGS = ("saem", "imp", "nuts")
_SEEDS = ("seed", "importance.seed")


def default_settings(method: str, seed: int) -> Settings:
    """The settings of a method when none are given: its defaults, drawn with the seed of the fit.

    Raises:
        UsageError: the method has none.
    """
    if method == "saem":
        return SaemOptions(seed=seed)
    if method == "imp":
        return ImpOptions(importance=ImportanceOptions(seed=seed))
    if method == "nuts":
        from ipex_pd.inference.bayes import NutsOptions

        return NutsOptions(seed=seed)
    raise UsageError(
        f"`{method}` has no settings of its own",
        code="fit.option",
        rule="saem, imp and nuts have them",
        cure="Leave them out, or choose one of these methods",
    )


def settings_for(method: str, options: FitOptions) -> Settings:
    """The settings that a fit uses. Raises: UsageError, where those of another method are given."""
    own = default_settings(method, options.seed)
    given = options.settings
    if given is None:
        return own
    if type(given) is not type(own):
        raise UsageError(
            f"`{type(given).__name__}` are not the settings of `{method}`",
            code="fit.option",
            where="settings",
            rule=f"Method {method} takes {type(own).__name__}",
            cure="Give these, or leave them out",
        )
    return given


def setting_names(method: str) -> dict[str, Any]:
    """Names of the settings of a method, inner ones with a dot, and their defaults; the seed is that of the fit."""
    return {name: value for name, value in _leaves(default_settings(method, 1)) if name not in _SEEDS}


def settings_from_text(method: str, given: Mapping[str, str], seed: int) -> Settings:
    """Settings from what was typed: name -> value.

    Raises:
        UsageError: the method has no settings, or not this one; a value of the wrong kind or out of range.
    """
    settings, known = default_settings(method, seed), setting_names(method)
    for name, text in given.items():
        if name not in known:
            rule = "The seed is that of the fit: `--seed`" if name in _SEEDS else nearest_hint(name, known)
            raise UsageError(
                f"`{method}` has no option `{name}`",
                code="fit.option",
                where="--option",
                rule=rule,
                cure=f"Options of {method}: " + ", ".join(f"{n}={_shown(v)}" for n, v in known.items()),
            )
        settings = _with(settings, name.split("."), _value(name, text, known[name]))
    return settings


def options_from(method: str, plain: Mapping[str, Any]) -> FitOptions:
    """Options as `dataclasses.asdict` told them, as a record again. Raises: UsageError."""
    told = dict(plain)
    inner = told.pop("settings", None)
    if inner is None:
        return FitOptions(**told)
    settings = default_settings(method, int(told.get("seed", 1)))
    return FitOptions(**told, settings=_filled(settings, inner))


def _filled(record: Any, values: Mapping[str, Any]) -> Any:
    found = {k: _filled(getattr(record, k), v) if isinstance(v, Mapping) else v for k, v in values.items()}
    return replace(record, **found)


def _leaves(record: Any, head: str = "") -> Iterator[tuple[str, Any]]:
    for one in fields(record):
        value = getattr(record, one.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{head}{one.name}.")
        else:
            yield f"{head}{one.name}", value


def _with(record: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    return replace(record, **{name: _with(getattr(record, name), rest, value) if rest else value})


def _value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() in ("true", "yes", "false", "no"):
            return text.lower() in ("true", "yes")
        kind = "yes or no"
    else:
        try:
            return type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
    raise UsageError(f"`{text}` is not {kind}", code="fit.option", where=f"--option {name}", rule=f"It is {kind}")


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value:g}"


def plain_options(options: FitOptions) -> dict[str, Any]:
    """Options as plain data, which `options_from` reads."""
    return asdict(options)
