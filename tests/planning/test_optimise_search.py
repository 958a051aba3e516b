"""Searches of a plan on closed-form objectives: the optimum, its limits, its starts, and what contradicts what."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.numerics.constrained_limits import LinearLimits, NonlinearLimits
from ipex_pd.planning.conflicts import find_conflicts
from ipex_pd.planning.objective import Evaluated
from ipex_pd.planning.optimise_search import PlanOptions, Searcher, best_end
from ipex_pd.planning.plan_checkpoint import PlanCheckpoint, checkpoint_from_json
from ipex_pd.planning.starts import START, PlanStart, starts_of

NAMES = ("first dose", "second dose", "third dose")
FALLING = LinearLimits(
    np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]),
    [0.0, 0.0],
    [np.inf, np.inf],
    ("second not above", "third not above"),
)


def template_with(linear=FALLING, lower=0.0, upper=10.0, start=(6.0, 4.0, 1.0)):
    variables = tuple(SimpleNamespace(kind="dose", order=0) for _ in NAMES)
    return SimpleNamespace(
        names=NAMES,
        lower=np.full(3, lower),
        upper=np.full(3, upper),
        start=np.array(start),
        linear=linear,
        variables=variables,
    )


@dataclass(frozen=True)
class Exposure:
    """-(doses - wish)^2, with a mean exposure of at least `least`; smoothing shifts the wish by a width's hundredth."""

    least: float = 4.0
    width: float = 1.0
    wish: tuple[float, ...] = (9.0, 2.0, 3.0)

    labels = ("mean dose",)

    @property
    def lower(self):
        return np.array([self.least])

    @property
    def upper(self):
        return np.array([np.inf])

    def sharpened(self, width):
        return replace(self, width=width)

    def told(self, x):
        return self.evaluate(x)

    def evaluate(self, x):
        away = x - np.array(self.wish) - 0.01 * (self.width - 1.0)
        mean = np.array([x.mean()])
        return Evaluated(
            x=x,
            value=-float(away @ away),
            limits=mean,
            exact=mean,
            parts={},
            goals={},
            members=np.zeros(1),
            gradient=-2 * away,
            jacobian=np.full((1, 3), 1 / 3),
        )


def searcher_of(objective=None, template=None, **options):
    told = []
    found = Searcher(
        "the plan",
        template or template_with(),
        objective or Exposure(),
        PlanOptions(gradient=1e-6, **options),
        lambda *what: told.append(what),
    )
    return found, told


def test_the_constrained_optimum_is_found_from_every_start():
    # doses may not rise: the second and third, wished at 2 and 3, meet at 2.5
    searcher, told = searcher_of(starts=5)
    starts = starts_of(searcher.template, 5, seed=1)
    ends = [searcher.search(start) for start in starts]
    for end in ends:
        np.testing.assert_allclose(end.x, [9, 2.5, 2.5], atol=1e-3)
        assert end.feasible
    assert len({name for name, *_ in told}) == 5
    assert best_end(ends).value == pytest.approx(-0.5, rel=1e-5)


def test_a_limit_that_binds_has_its_price():
    searcher, _ = searcher_of(Exposure(least=6.0))
    end = searcher.search(PlanStart(START, np.array([6.0, 4.0, 1.0]), 0.0))
    # the sum rises from 14 to 18: the first to its bound 10, the others to 4 each
    np.testing.assert_allclose(end.x, [10, 4, 4], atol=1e-4)
    prices = {m.label: m.price for m in end.minimum.multipliers}
    # one more of the mean is 3 more of the sum, 1.5 each on the second and third: 2 (2) 1.5 + 2 (1) 1.5
    assert prices["mean dose"] == pytest.approx(9.0, rel=1e-3)
    assert prices["first dose"] == pytest.approx(1.0, rel=1e-2)


@dataclass(frozen=True)
class Sawtooth(Exposure):
    """A day that is best at 214, with a peak of its own on every day, and a dose that is best at 3."""

    labels = ()

    @property
    def lower(self):
        return np.zeros(0)

    @property
    def upper(self):
        return np.zeros(0)

    def evaluate(self, x):
        day, dose = x
        phase = (day + 0.5) % 1.0 - 0.5
        return Evaluated(
            x=x,
            value=1.0 - 1e-6 * (day - 214.0) ** 2 - 2e-3 * abs(phase) - 0.01 * (dose - 3.0) ** 2,
            limits=np.zeros(0),
            exact=np.zeros(0),
            parts={},
            goals={},
            members=np.zeros(1),
            gradient=np.array([-2e-6 * (day - 214.0) - 2e-3 * np.sign(phase), -0.02 * (dose - 3.0)]),
            jacobian=np.zeros((0, 2)),
        )


@pytest.mark.parametrize("kind", ["transplant", "stop"])
def test_days_are_walked_over_the_peaks_that_doses_make(kind):
    template = SimpleNamespace(
        names=("day", "dose"),
        lower=np.array([30.0, 0.0]),
        upper=np.array([1460.0, 10.0]),
        start=np.array([60.0, 9.0]),
        linear=LinearLimits(np.zeros((0, 2)), [], [], ()),
        variables=(SimpleNamespace(kind=kind, order=None, lower=30.0, upper=1460.0), SimpleNamespace(kind="dose")),
    )
    searcher, told = searcher_of(Sawtooth(), template)
    end = searcher.search(PlanStart(START, template.start, 0.0))
    assert abs(end.x[0] - 214.0) < 3.0
    assert end.x[1] == pytest.approx(3.0, abs=0.05)
    assert f"the plan, {START}, days" in {name for name, *_ in told}
    # along slopes alone it ends on the peak of another day
    template.variables = (SimpleNamespace(kind="day"), SimpleNamespace(kind="dose"))
    stuck = searcher_of(Sawtooth(), template)[0].search(PlanStart(START, template.start, 0.0))
    assert abs(stuck.x[0] - 214.0) > 100.0


def test_feasible_ends_come_before_better_ones():
    searcher, _ = searcher_of()
    good = searcher.search(PlanStart(START, np.array([6.0, 4.0, 1.0]), 0.0))
    other, _ = searcher_of(Exposure(least=11.0))
    bad = replace(other.search(PlanStart("elsewhere", np.full(3, 5.0), 0.0)), value=1e3)
    assert not bad.feasible
    assert best_end([bad, good]) is good


def test_an_interrupt_ends_the_stages_and_keeps_the_best():
    def stop(name, iteration, value, violation):
        if iteration == 2:
            raise KeyboardInterrupt

    searcher = Searcher("the plan", template_with(), Exposure(), PlanOptions(), stop)
    end = searcher.search(PlanStart(START, np.array([6.0, 4.0, 1.0]), 0.0))
    assert end.minimum.interrupted
    assert end.value >= end.began


def test_a_search_goes_on_from_the_end_of_another_on_other_members():
    searcher, told = searcher_of(Exposure(wish=(9.0, 2.5, 2.5)))
    scouts, _ = searcher_of(Exposure(wish=(8.0, 2.0, 3.0)))
    end = scouts.search(PlanStart(START, np.array([6.0, 4.0, 1.0]), 0.0))
    stands = searcher.standing(end)
    assert stands.value == pytest.approx(-1.0, abs=1e-3)
    assert not stands.minimum.converged
    assert stands.minimum.interrupted
    found = searcher.polished(end.start, end.x)
    np.testing.assert_allclose(found.x, [9, 2.5, 2.5], atol=1e-3)
    assert found.minimum.converged
    assert {name for name, *_ in told} == {f"the plan, {START}, all members"}


def test_starts_keep_bounds_and_linear_limits_and_are_the_same_each_time():
    starts = starts_of(template_with(), 9, seed=3)
    assert [s.name for s in starts][:4] == [
        START,
        "middle of the bounds",
        "near the upper bounds",
        "near the lower bounds",
    ]
    for start in starts:
        assert (start.x >= 0).all()
        assert (start.x <= 10).all()
        assert (FALLING.excess(start.x) < 1e-9).all()
    np.testing.assert_array_equal(starts[0].x, [6.0, 4.0, 1.0])
    again = starts_of(template_with(), 9, seed=3)
    other = starts_of(template_with(), 9, seed=4)
    assert all(np.array_equal(a.x, b.x) for a, b in zip(starts, again, strict=True))
    assert not all(np.array_equal(a.x, b.x) for a, b in zip(starts, other, strict=True))


CONTRARY = LinearLimits(
    np.concatenate([FALLING.matrix, [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]]),
    [0.0, 0.0, 5.0, -np.inf],
    [np.inf, np.inf, np.inf, 12.0],
    (*FALLING.labels, "third at least", "total at most"),
)


def test_contradicting_limits_on_doses_leave_no_start_and_are_named():
    template = template_with(CONTRARY)
    assert starts_of(template, 3, seed=1) == ()
    found = find_conflicts(
        template.start, lower=template.lower, upper=template.upper, linear=CONTRARY, nonlinear=None, names=NAMES
    )
    assert set(found.irreducible) == {"second not above", "third not above", "third at least", "total at most"}
    alone = {conflict.label: conflict.alone for conflict in found.limits}
    # falling from a third dose of 5 the total is 15, and with a total of 12 the third dose is 4
    assert alone["total at most"] == pytest.approx(3.0, rel=1e-6)
    assert alone["third at least"] == pytest.approx(1.0, rel=1e-6)
    words = " ".join(found.in_words())
    assert words.startswith("No plan keeps all limits: `")
    assert "These cannot be kept together" in words


def test_contradicting_simulated_limits_are_named_too():
    template = template_with(FALLING)
    square = NonlinearLimits(
        lambda x: (np.array([x.mean(), float(x @ x)]), np.stack([np.full(3, 1 / 3), 2 * x])),
        [5.0, -np.inf],
        [np.inf, 48.0],
        ("mean dose", "burden"),
    )
    found = find_conflicts(
        np.full(3, 3.0), lower=template.lower, upper=template.upper, linear=FALLING, nonlinear=square, names=NAMES
    )
    alone = {conflict.label: conflict.alone for conflict in found.limits}
    # equal doses of 5 have a burden of 75, and a burden of 48 allows doses of 4
    assert alone["burden"] == pytest.approx(27.0, rel=1e-3)
    assert alone["mean dose"] == pytest.approx(1.0, rel=1e-3)
    assert {"mean dose", "burden"} <= set(found.irreducible)
    assert not found.exact


def test_limits_that_can_be_kept_are_no_conflict():
    template = template_with()
    assert (
        find_conflicts(
            template.start, lower=template.lower, upper=template.upper, linear=FALLING, nonlinear=None, names=NAMES
        )
        is None
    )


def test_a_checkpoint_comes_back_and_belongs_to_its_question():
    searcher, _ = searcher_of()
    end = searcher.search(PlanStart(START, np.array([6.0, 4.0, 1.0]), 0.0))
    kept = PlanCheckpoint("abc", {}).with_end("the plan", end)
    again = checkpoint_from_json(kept.to_json())
    assert again == kept
    np.testing.assert_array_equal(again.searches["the plan"][0].x, end.x)
    again.require("abc")
    with pytest.raises(RecordError, match="the checkpoint belongs to another question"):
        again.require("abd")
    with pytest.raises(RecordError, match="this is no checkpoint of a plan"):
        checkpoint_from_json('{"schema": "other"}')


@pytest.mark.parametrize(
    "wrong", [{"starts": 0}, {"algorithm": "simplex"}, {"widths": ()}, {"widths": (0.0,)}, {"neighbours": -1}]
)
def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(UsageError):
        PlanOptions(**wrong)
