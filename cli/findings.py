"""The findings that the demo submits, from clear to truly ambiguous."""

FINDINGS = (
    "L4-L5: severe central canal stenosis.",
    "L5-S1: mild disc bulge without significant stenosis.",
    "At L3-L4 there is moderate spinal canal narrowing.",
    "L4-L5: mild to moderate central canal stenosis.",
    "L5-S1: borderline narrowing of the canal.",
    "L2-L3: no stenosis. L3-L4: no stenosis. L4-L5: severe stenosis.",
)
