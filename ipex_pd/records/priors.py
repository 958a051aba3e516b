"""What is known of a parameter before the data: normal, log-normal, and inverse Wishart for covariances."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ipex_pd.records.matrices import Triangle, is_positive_definite
from ipex_pd.records.provenance import Source
from ipex_pd.records.record import Number, Record, fault


class Normal(Record):
    """The parameter is normal around `mean`, in its own unit."""

    distribution: Literal["normal"]
    mean: Number
    sd: Number = Field(gt=0)
    source: Source | None = None


class LogNormal(Record):
    """The logarithm of the parameter is normal around log(`median`) with standard deviation `sd`."""

    distribution: Literal["log_normal"]
    median: Number = Field(gt=0)
    sd: Number = Field(gt=0)
    source: Source | None = None


class InverseWishart(Record):
    """A covariance block is inverse Wishart.

    ```
    density proportional to |Omega|^-((degrees + d + 1)/2) exp(-tr(scale Omega^-1)/2)
    ```

    Attributes:
        degrees: degrees of freedom, more than d - 1 for a block of d random effects.
        scale: lower triangle of the scale matrix, row by row; `degrees` times the prior guess of the covariance is the
            form of NONMEM's NWPRI.
    """

    distribution: Literal["inverse_wishart"] = "inverse_wishart"
    degrees: Number = Field(gt=0)
    scale: Triangle
    source: Source | None = None

    @model_validator(mode="after")
    def _proper(self) -> InverseWishart:
        size = len(self.scale)
        if self.degrees <= size - 1:
            what = f"{self.degrees:g} degrees of freedom for {size} random effects"
            raise fault(what, rule=f"An inverse Wishart needs more than {size - 1}", at=("degrees",))
        if not is_positive_definite(self.scale):
            raise fault("the scale is not positive definite", rule="A scale matrix is a covariance", at=("scale",))
        return self
