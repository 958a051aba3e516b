"""Linear kinetics with a closed form: which compartments and parameters they have, and their rates in words."""

from __future__ import annotations

from typing import Any, Literal

from ipex_pd.records.record import Record

_COMPARTMENTS = {
    "depot": "drug waiting to be absorbed",
    "central": "drug in the central compartment",
    "peripheral": "drug in the first peripheral compartment",
    "peripheral_2": "drug in the second peripheral compartment",
}
_PARAMETERS = {
    "clearance": ("elimination clearance", "volume/time"),
    "volume_central": ("volume of the central compartment", "volume"),
    "intercompartmental_clearance": ("clearance between central and first peripheral compartment", "volume/time"),
    "volume_peripheral": ("volume of the first peripheral compartment", "volume"),
    "intercompartmental_clearance_2": ("clearance between central and second peripheral compartment", "volume/time"),
    "volume_peripheral_2": ("volume of the second peripheral compartment", "volume"),
    "absorption_rate": ("first-order rate of absorption from the depot", "1/time"),
}


class Kinetics(Record):
    """Linear disposition in one to three compartments, with or without first-order absorption.

    Attributes:
        disposition: number of compartments without the depot.
        absorption: `first_order` from a depot, or `none`.
    """

    disposition: Literal[1, 2, 3]
    absorption: Literal["none", "first_order"] = "none"

    @property
    def compartments(self) -> tuple[str, ...]:
        """Names, in the order of CMT 1, 2, ..."""
        depot = ("depot",) if self.absorption == "first_order" else ()
        return (*depot, *("central", "peripheral", "peripheral_2")[: self.disposition])

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that need values."""
        disposition = tuple(_PARAMETERS)[: 2 * self.disposition]
        return (*disposition, "absorption_rate") if self.absorption == "first_order" else disposition

    def rates(self) -> dict[str, str]:
        """d(amount)/dt of every compartment, as text."""
        absorbed = "absorption_rate * depot" if self.absorption == "first_order" else ""
        out, back = ["clearance / volume_central * central"], list[str]()
        found = {"depot": f"-{absorbed}"} if absorbed else {}
        peripheral: dict[str, str] = {}
        for suffix in ("", "_2")[: self.disposition - 1]:
            flow, volume = f"intercompartmental_clearance{suffix}", f"volume_peripheral{suffix}"
            away, home = f"{flow} / volume_central * central", f"{flow} / {volume} * peripheral{suffix}"
            out.append(away)
            back.append(home)
            peripheral[f"peripheral{suffix}"] = f"{away} - {home}"
        gains = " + ".join([*([absorbed] if absorbed else []), *back])
        found["central"] = f"{gains} - {' - '.join(out)}" if gains else f"-{' - '.join(out)}"
        return {**found, **peripheral}

    def description(self) -> dict[str, dict[str, Any]]:
        """Compartments, parameters and the output of a model that says nothing but its kinetics."""
        return {
            "compartments": {name: {"meaning": _COMPARTMENTS[name], "unit": "amount"} for name in self.compartments},
            "parameters": {
                name: dict(zip(("meaning", "unit"), _PARAMETERS[name], strict=True)) for name in self.parameters
            },
            "outputs": {
                "concentration": {
                    "formula": "central / volume_central",
                    "meaning": "concentration in the central compartment",
                    "unit": "amount/volume",
                }
            },
        }
