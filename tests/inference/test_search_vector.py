import numpy as np
import pytest
from scipy.stats import invwishart, lognorm, norm

from ipex_pd.errors import RecordError
from ipex_pd.inference.population import InverseWishart, OmegaBlock, Population, Prior, Theta

POPULATION = Population(
    (Theta("cl", 2.0, 0.0, scale="log"), Theta("f", 0.4, 0.0, 1.0), Theta("slope", -1.0), Theta("top", 3.0, upper=5.0)),
    (
        OmegaBlock(("eta_cl", "eta_f"), ((0.2, 0.05), (0.05, 0.3))),
        OmegaBlock(("kappa",), ((0.1,),), occasions=3),
        OmegaBlock(("eta_none",), ((0.0,),), fixed=True),
    ),
)


def test_pack_and_unpack_are_inverse():
    w = POPULATION.start + 0.3 * np.sin(np.arange(len(POPULATION.start)))
    theta, omega = POPULATION.unpack(w)
    np.testing.assert_allclose(POPULATION.pack(theta, omega), w, rtol=1e-12)
    assert 0 < theta[1] < 1
    assert theta[3] < 5


def test_the_start_is_what_was_written():
    theta, omega = POPULATION.unpack(POPULATION.start)
    np.testing.assert_allclose(theta, [2.0, 0.4, -1.0, 3.0])
    expected = np.zeros((6, 6))
    expected[:2, :2] = [[0.2, 0.05], [0.05, 0.3]]
    expected[2:5, 2:5] = 0.1 * np.eye(3)
    np.testing.assert_allclose(omega, expected, atol=1e-15)


def test_any_search_vector_is_a_valid_population():
    random = np.random.default_rng(1)
    for _ in range(20):
        theta, omega = POPULATION.unpack(2.0 * random.standard_normal(len(POPULATION.start)))
        assert theta[0] > 0
        assert np.linalg.eigvalsh(omega).min() > 0


def test_repeated_occasions_share_one_parameter():
    w = POPULATION.start.copy()
    w[POPULATION.names.index("omega(kappa)")] += 1.0
    _, omega = POPULATION.unpack(w)
    np.testing.assert_allclose(np.diag(omega)[2:5], 0.1 * np.exp(2.0))


def test_names():
    assert POPULATION.names == (
        *("cl", "f", "slope", "top"),
        *("omega(eta_cl)", "omega(eta_f,eta_cl)", "omega(eta_f)", "omega(kappa)", "omega(eta_none)"),
    )
    assert POPULATION.nonmem_names[-3:] == ("OMEGA(2,2)", "OMEGA(3,3)", "OMEGA(6,6)")
    assert POPULATION.eta_names == ("eta_cl", "eta_f", "kappa[1]", "kappa[2]", "kappa[3]", "eta_none")
    assert POPULATION.free.tolist() == [True] * 8 + [False]


def test_fixing_a_value_leaves_the_layout_as_it_was():
    fixed = Population((Theta("cl", 2.5, 0.0, fixed=True, scale="log"), *POPULATION.thetas[1:]), POPULATION.blocks)
    assert fixed.layout == POPULATION.layout
    assert hash(fixed.layout) == hash(POPULATION.layout)


def test_priors_are_densities_up_to_a_constant():
    scale = ((0.4, 0.1), (0.1, 0.6))
    population = Population(
        (
            Theta("a", 2.0, prior=Prior("normal", 1.5, 0.3)),
            Theta("b", 2.0, 0.0, prior=Prior("log_normal", np.log(1.8), 0.4)),
        ),
        (OmegaBlock(("u", "v"), ((0.2, 0.05), (0.05, 0.3)), prior=InverseWishart(5.0, scale)),),
    )

    def expected(w):
        theta, omega = population.unpack(w)
        log = norm.logpdf(theta[0], 1.5, 0.3) + lognorm.logpdf(theta[1], 0.4, scale=1.8)
        return -2 * (log + invwishart.logpdf(omega, 5.0, np.array(scale)))

    one, two = population.start, population.start + np.array([0.2, -0.3, 0.4, 0.1, -0.2])
    np.testing.assert_allclose(
        float(population.penalty(two)) - float(population.penalty(one)), expected(two) - expected(one), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Theta("k", 0.0, 0.0), "`k` starts at 0, not between 0 and inf"),
        (lambda: Theta("k", -1.0, scale="log"), "`k` is on a log scale and not positive"),
        (lambda: Theta("k", 1.0, scale="logit"), "not between two bounds"),
        (lambda: Prior("normal", 0.0, 0.0), "the sd 0 of a prior is not positive"),
        (lambda: OmegaBlock(("a",), ((-1.0,),)), "is not positive definite"),
        (lambda: OmegaBlock(("a",), ((0.0,),)), "is not positive definite"),
        (lambda: OmegaBlock(("a", "b"), ((1.0, 0.5), (0.4, 1.0))), "is not symmetric"),
        (lambda: OmegaBlock(("a", "b"), ((1.0,),)), "is not 2 by 2"),
        (lambda: Population((Theta("a", 1.0), Theta("a", 1.0))), "`a` is the name of two parameters"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(RecordError, match=message):
        make()
