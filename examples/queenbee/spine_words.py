"""The words of lumbar findings: data for `spine`, no rules.

Keys are the canonical names that answers use. `{g}` is a grade, `{a}` an adjective of the place,
`{n}` a noun of it, `{p}` the disc level, `{s}` the phrase about stenosis, `{c}` its cause.
"""

from __future__ import annotations

# canonical site: (adjectives before "stenosis", nouns after "narrowing of")
SITES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "": (("", "spinal"), ("the canal",)),
    "central canal": (
        ("central canal", "spinal canal", "central", "canal", "central spinal canal"),
        ("the spinal canal", "the central canal", "the thecal sac"),
    ),
    "left foraminal": (
        ("left foraminal", "left neural foraminal", "left-sided foraminal"),
        ("the left neural foramen", "the left foramen"),
    ),
    "right foraminal": (
        ("right foraminal", "right neural foraminal", "right-sided foraminal"),
        ("the right neural foramen", "the right foramen"),
    ),
    "bilateral foraminal": (
        ("bilateral foraminal", "bilateral neural foraminal", "biforaminal"),
        ("both neural foramina", "the neural foramina bilaterally"),
    ),
    "left lateral recess": (
        ("left lateral recess", "left subarticular"),
        ("the left lateral recess", "the left subarticular zone"),
    ),
    "right lateral recess": (
        ("right lateral recess", "right subarticular"),
        ("the right lateral recess", "the right subarticular zone"),
    ),
}

GRADE_WORDS: dict[str, tuple[str, ...]] = {
    "mild": ("mild", "mild", "mild", "mild", "slight", "minor", "low-grade"),
    "moderate": (
        "moderate",
        "moderate",
        "moderate",
        "moderate",
        "moderate-grade",
        "intermediate-grade",
    ),
    "severe": (
        "severe",
        "severe",
        "severe",
        "severe",
        "marked",
        "high-grade",
        "critical",
        "very severe",
        "pronounced",
    ),
}

# the same with words for a second, lesser narrowing of one level
LESSER_WORDS: dict[str, tuple[str, ...]] = {
    **GRADE_WORDS,
    "none": ("no", "no significant", "no appreciable"),
}

PATENT = (
    "no significant {a} stenosis",
    "no significant {a} stenosis",
    "no {a} stenosis",
    "no {a} narrowing",
    "no evidence of {a} stenosis",
    "no appreciable {a} stenosis",
    "no narrowing of {n}",
    "patent canal and foramina",
    "no stenosis",
    "no neural compression",
)

# grade, last word of the site: phrases that name no grade
IMPLICIT: dict[str, dict[str, tuple[str, ...]]] = {
    "mild": {
        "canal": ("slight indentation of the thecal sac with preserved CSF",),
        "foraminal": ("Lee grade 1 {a} stenosis", "slight effacement of the fat in {n}"),
    },
    "moderate": {
        "canal": (
            "partial effacement of the CSF around the nerve roots",
            "Schizas grade B canal stenosis",
        ),
        "foraminal": ("Lee grade 2 {a} stenosis",),
    },
    "severe": {
        "canal": (
            "complete effacement of the CSF with crowding of the cauda equina",
            "Schizas grade D canal stenosis",
        ),
        "foraminal": (
            "Lee grade 3 {a} stenosis with nerve root collapse",
            "obliteration of the fat in {n} with nerve root compression",
        ),
    },
}

# hedged grade words and the share of readers who settle on the higher grade `{b}`
HEDGES: dict[str, tuple[tuple[str, float], ...]] = {
    "none": (
        ("questionable", 0.5),
        ("equivocal", 0.5),
        ("at most {b}", 0.7),
        ("possible {b}", 0.6),
        ("no more than {b}", 0.7),
        ("minimal", 0.8),
        ("trace", 0.75),
    ),
    "graded": (
        ("{a} to {b}", 0.5),
        ("{a}-to-{b}", 0.5),
        ("{a} to {b}", 0.5),
        ("{a}/{b}", 0.5),
        ("borderline {b}", 0.5),
        ("{a} if not {b}", 0.5),
        ("{a}, approaching {b}", 0.3),
        ("{a}, possibly {b}", 0.25),
        ("at least {a}", 0.3),
        ("{a}, perhaps {b}", 0.2),
        ("probably {b}, at least {a}", 0.8),
        ("likely {b}", 0.85),
    ),
}

_THREE = {"mild": 1 / 3, "moderate": 1 / 3, "severe": 1 / 3}
OPEN_HEDGES: tuple[tuple[str, dict[str, float]], ...] = (
    ("{noun} of uncertain grade", _THREE),
    ("{noun}, grade cannot be determined because of motion", _THREE),
    ("{noun}, read as mild, moderate and severe by three readers", _THREE),
    ("{noun}, anywhere from mild to severe", _THREE),
    ("{noun}, grading limited by artefact", _THREE),
    ("significant {noun}", {"moderate": 0.5, "severe": 0.5}),
    (
        "{noun}, called mild on sagittal and moderate on axial images",
        {"mild": 0.5, "moderate": 0.5},
    ),
    (
        "{noun}, moderate on the first read but severe on the second",
        {"moderate": 0.5, "severe": 0.5},
    ),
    ("{noun}, mild on the first read but severe on the second", {"mild": 0.5, "severe": 0.5}),
)

# canonical cause: how reports word it; `{sev}` is a grade that is not the stenosis's
CAUSES: dict[str, tuple[str, ...]] = {
    "disc bulge": (
        "{sev}disc bulge",
        "{sev}disc bulge",
        "{sev}bulging disc",
        "{sev}diffuse disc bulge",
    ),
    "disc protrusion": ("{sev}disc protrusion", "{sev}disc herniation"),
    "disc extrusion": ("{sev}disc extrusion", "sequestered disc fragment"),
    "disc height loss": ("{sev}disc height loss", "{sev}disc space narrowing"),
    "facet arthropathy": (
        "{sev}facet arthropathy",
        "{sev}facet hypertrophy",
        "{sev}facet joint osteoarthritis",
    ),
    "ligamentum flavum thickening": (
        "{sev}ligamentum flavum thickening",
        "{sev}ligamentum flavum hypertrophy",
    ),
    "anterolisthesis": ("grade 1 anterolisthesis", "grade 2 spondylolisthesis"),
    "synovial cyst": ("facet synovial cyst", "synovial cyst"),
    "osteophytes": ("{sev}endplate osteophytes", "{sev}disc-osteophyte complex"),
}

ALSO = ("and", "with", "plus")

# AP diameters of the canal that go with a grade, in millimetres
MILLIMETRES: dict[str, tuple[int, ...]] = {
    "mild": (10, 11, 12),
    "moderate": (8, 9),
    "severe": (4, 5, 6, 7),
}

SEVERITY_TRAPS = (
    "",
    "",
    "",
    "mild",
    "moderate",
    "severe",
    "broad-based",
    "left paracentral",
    "right paracentral",
    "circumferential",
    "bilateral",
    "advanced",
    "small",
)

UNNUMBERED = (
    "No significant stenosis at any level.",
    "No spinal canal or foraminal stenosis.",
    "The canal and foramina are patent throughout.",
    "No stenosis at any lumbar level.",
)

WHOLLY_NORMAL = (
    "Normal lumbar spine MRI.",
    "Unremarkable study.",
    "No disc herniation or stenosis at any lumbar level.",
)

GRADED_FORMS = ("{g} {a} stenosis",) * 4 + (
    "{g} {a} narrowing",
    "{g} narrowing of {n}",
    "{g} stenosis of {n}",
    "{a} stenosis, {g}",
)

# sentences about a level without a cause, with a cause beside, with the cause blamed at the end
UNCAUSED = (
    "{p}: {s}",
    "{p}: {s}",
    "at {p}, {s}",
    "at {p} there is {s}",
    "at the {p} level there is {s}",
    "{p} shows {s}",
    "{p} - {s}",
)
CAUSED = (
    "{p}: {c}. {S}",
    "{p}: {c} with {s}",
    "at {p}, {c} and {s}",
    "at {p} there is {c} with {s}",
    "{p}: {c}, {s}",
)
BLAMED = ("{p}: {s}", "at {p} there is {s}", "at {p}, {s}")
LINKS = ("due to", "secondary to", "from", "with")
LONE = ("{p} {s}", "{s} at {p}", "there is {s} at {p}", "{s} is seen at {p}")

# two levels of which one is meant
EITHER = (
    "{a} or {b}",
    "either {a} or {b}",
    "what is either {a} or {b}",
    "{a} versus {b}",
    "{a} or {b} (numbering uncertain)",
    "{a} or {b} (transitional anatomy)",
)

REST = (
    "Remaining levels are unremarkable.",
    "Other levels: no significant stenosis.",
    "The other levels are patent.",
    "No stenosis elsewhere.",
)

WORST_LEADS = (
    "multilevel degenerative changes, worst at {p} with {s}",
    "degenerative changes, most pronounced at {p}, where there is {s}",
    "multilevel spondylosis; at {p} there is {s}",
    "the worst level is {p} with {s}",
)

HEADERS = (
    "MRI lumbar spine without contrast.",
    "MRI of the lumbar spine.",
    "Clinical history: low back pain.",
    "History: left leg pain and numbness.",
    "Indication: neurogenic claudication in a 71-year-old woman.",
    "Indication: 58-year-old man with right sciatica.",
    "Comparison: none.",
    "Technique: sagittal T1, T2 and STIR, axial T2.",
    "Five lumbar-type vertebrae are assumed.",
    "Findings:",
    "Dear colleague, thank you for the referral.",
)

TAILS = (
    "Conus medullaris terminates at L1 and is normal.",
    "Vertebral body heights are maintained.",
    "Marrow signal is normal.",
    "Mild levoscoliosis.",
    "Severe fatty atrophy of the multifidus.",
    "Moderate degenerative change of the sacroiliac joints.",
    "Simple cyst in the left kidney.",
    "Alignment is anatomic.",
    "Paraspinal soft tissues are unremarkable.",
    "No fracture or marrow oedema.",
    "Schmorl node in the upper endplate of L2.",
    "Mild disc desiccation throughout.",
    "Haemangioma in the body of L3.",
    "No abnormal enhancement.",
    "Prior laminectomy changes.",
    "Aorta is of normal calibre.",
    "No change since the prior study.",
    "Compression of the traversing L5 nerve root.",
    "Please correlate clinically.",
)
