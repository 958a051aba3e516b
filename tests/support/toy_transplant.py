"""A plain regimen with a transplant, as data: a steroid until it, and none after."""

TOY = {"assumed": "a number of a test"}
PLAIN = {
    "name": "plain",
    "description": "A steroid, then a transplant.",
    "doses": [
        {
            "drug": "prednisolone",
            "amount": "1 mg/kg/day",
            "route": "oral",
            "every": "1 day",
            "stop": "transplant",
            "source": TOY,
        }
    ],
    "transplants": [
        {
            "day": 60,
            "conditioning": "reduced",
            "serotherapy": "alemtuzumab",
            "donor": "matched_unrelated",
            "graft": "marrow",
            "source": TOY,
        }
    ],
}
