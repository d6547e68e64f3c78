"""The findings that the demo submits, from clear to truly ambiguous.

`seed` is the request's own, chosen so that three, five and seven samples and a review all occur;
`kind` says how clear the text is, not what must come out: the answers are drawn.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One text to submit."""

    kind: Literal["clear", "mid", "ambiguous"]
    seed: int
    text: str


FINDINGS = (
    Finding(
        "clear",
        1,
        "L4-L5: Moderate central canal stenosis due to facet arthropathy and "
        "ligamentum flavum hypertrophy.",
    ),
    Finding(
        "clear",
        1,
        "MRI lumbar spine without contrast. L3-L4: mild disc bulge. No significant "
        "stenosis. L4-L5: broad-based disc protrusion with severe central canal "
        "stenosis (AP diameter 5 mm). L5-S1: no neural compression.",
    ),
    Finding(
        "mid",
        1,
        "L3-L4: mild, possibly moderate right foraminal stenosis. L4-L5: no "
        "significant stenosis. No fracture or marrow oedema.",
    ),
    Finding(
        "clear",
        1,
        "L5-S1: grade 1 anterolisthesis with severe bilateral foraminal stenosis. "
        "Vertebral body heights are maintained.",
    ),
    Finding(
        "ambiguous",
        1,
        "L4-L5 or L5-S1 (transitional anatomy): central canal stenosis, read as mild, "
        "moderate and severe by three readers.",
    ),
    Finding(
        "clear",
        1,
        "L1-L2: no stenosis.\nL2-L3: mild left foraminal stenosis.\nL3-L4: moderate "
        "right lateral recess stenosis with facet hypertrophy.\nL4-L5: mild central "
        "canal narrowing.\nMarrow signal is normal.",
    ),
    Finding(
        "mid",
        7,
        "Indication: neurogenic claudication in a 71-year-old woman. L4-L5: moderate, "
        "perhaps severe central canal stenosis due to ligamentum flavum thickening.",
    ),
    Finding(
        "clear",
        1,
        "No significant stenosis at any level. Conus medullaris terminates at L1 and is normal.",
    ),
    Finding(
        "clear",
        1,
        "History: left leg pain and numbness. At L4-L5, severe facet arthropathy and "
        "mild left subarticular stenosis. Remaining levels are unremarkable.",
    ),
    Finding(
        "ambiguous",
        1,
        "Technique: sagittal T1, T2 and STIR, axial T2. L3-L4 or L4-L5 (numbering "
        "uncertain): spinal canal stenosis, grade cannot be determined because of "
        "motion.",
    ),
    Finding(
        "mid",
        7,
        "At L2-L3 there is at least moderate left foraminal narrowing. L5-S1: mild "
        "disc bulge, no neural compression. Alignment is anatomic.",
    ),
    Finding(
        "clear",
        1,
        "Indication: 58-year-old man with right sciatica. L5/S1: Lee grade 3 right "
        "foraminal stenosis with nerve root collapse due to disc extrusion. Mild disc "
        "desiccation throughout.",
    ),
)
