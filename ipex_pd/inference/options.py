"""How a fit is searched and how its uncertainty is told, and which method takes which of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from ipex_pd.errors import UsageError, nearest_hint

if TYPE_CHECKING:
    from ipex_pd.inference.bayes import NutsOptions
    from ipex_pd.inference.imp import ImpOptions
    from ipex_pd.inference.saem import SaemOptions

CovarianceKind = Literal["auto", "sandwich", "r", "s", "none"]
Search = Literal["bfgs", "l-bfgs-b", "adam"]
Stages = Literal["global", "standard"]

DEFAULT_NODES = 9

_SEARCHED = ("pooled", "fo", "foce", "focei", "laplace", "agq")
_EVERYBODY = ("covariance", "level", "seed")
_OWN: dict[str, tuple[str, ...]] = {
    "agq": ("nodes",),
    "two_stage": ("stages", "iterations", "search", "gradient"),
    "map": (),
    "saem": ("settings",),
    "imp": ("settings",),
    "nuts": ("settings",),
}
_RULES = {
    "nodes": "Nodes are those of the quadrature of agq",
    "stages": "It says which estimates are the answer, of two_stage",
    "covariance": "Nothing is estimated by map, so that nothing has a standard error",
    "search": "It names the minimiser of methods that search an objective: saem, imp and map do not",
    "gradient": "It ends the polishing of methods that search an objective: saem, imp and map do not",
    "restarts": "Restarts are further searches of pooled, fo, foce, focei, laplace and agq",
    "spread": "It moves the starts of restarts, of pooled, fo, foce, focei, laplace and agq",
    "iterations": "It counts steps of a search; saem, imp and nuts have settings of their own, map searches nothing",
    "settings": "They are SaemOptions of saem, ImpOptions of imp, NutsOptions of nuts",
    "expansion": "Expansions serve pooled, fo, foce, focei and map",
}


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    Attributes:
        search: the minimiser.
        iterations: the most steps of one search.
        gradient: largest entry of the gradient, on the search scale, at which polishing ends.
        restarts: further searches, from the start values moved at random.
        spread: standard deviation of these moves on the search scale (log scale for most parameters).
        seed: of the moves.
        nodes: of the quadrature of `agq`, per random effect; 9 when not given.
        stages: `global` or `standard` two-stage estimates, of `two_stage`; global when not given.
        covariance: `sandwich` is R^-1 S R^-1 (NONMEM's default), `r` R^-1, `s` S^-1; `auto` is the sandwich, or `r`
            where S is of no use (priors, fewer subjects than parameters).
        level: of confidence intervals.
        expansion: whether `pooled`, `fo`, `foce`, `focei` and `map` expand predictions around the modes instead of
            differentiating the model inside the objective: the same numbers, much less to compile. When not given, they
            do it where predictions are costly (the disease) and can be expanded.
        settings: of `saem`, `imp` or `nuts` alone; made with `seed` when not given.
    """

    search: Search = "bfgs"
    iterations: int = 300
    gradient: float = 1e-4
    restarts: int = 1
    spread: float = 0.15
    seed: int = 20240
    nodes: int | None = None
    stages: Stages | None = None
    covariance: CovarianceKind = "auto"
    level: float = 0.95
    expansion: bool | None = None
    settings: SaemOptions | ImpOptions | NutsOptions | None = None

    def __post_init__(self) -> None:
        for name, kind in (("search", Search), ("covariance", CovarianceKind), ("stages", Stages)):
            given = getattr(self, name)
            if given is not None and given not in get_args(kind):
                raise UsageError(f"`{given}` is not a choice of `{name}`", rule=nearest_hint(given, get_args(kind)))
        for name in ("iterations", "gradient", "spread", "nodes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"`{name}` is {value:g}", rule="It must be above zero")
        if self.restarts < 0 or not 0 < self.level < 1:
            raise UsageError("`restarts` is below zero, or `level` not between 0 and 1")

    def require_for(self, method: str) -> None:
        """Refuse what was asked of a method that does not have it.

        Raises:
            UsageError: an option that is not the default, and not of this method.
        """
        taken = {*_EVERYBODY, *_OWN.get(method, ())} - ({"covariance"} if method == "map" else set())
        if method in _SEARCHED or method == "map":
            taken |= {"expansion"}
        if method in _SEARCHED:
            taken |= {"search", "iterations", "gradient", "restarts", "spread"}
        for one in fields(self):
            given: Any = getattr(self, one.name)
            if (
                one.name not in taken
                and given != one.default
                and (one.name, given) not in (("restarts", 0), ("covariance", "none"))
            ):
                raise UsageError(
                    f"`{method}` has no option `{one.name}`",
                    code="fit.option",
                    where=f"{one.name} = {given}",
                    rule=_RULES[one.name],
                    cure="Leave it out, or choose another method",
                )
        if method == "two_stage" and self.covariance not in ("auto", "none"):
            raise UsageError(
                f"covariance `{self.covariance}` is not offered by two_stage",
                code="fit.option",
                rule="R and S belong to a likelihood that is maximised; two stages have a covariance of their own",
                cure="Write `auto`, or fit with focei",
            )
