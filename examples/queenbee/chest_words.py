"""The words of chest findings: data for `chest`, no rules.

Keys are the canonical names that answers use. `{p}` is the place, `{s}` the finding.
"""

from __future__ import annotations

PLACES: dict[str, tuple[str, ...]] = {
    "right upper lobe": ("the right upper lobe", "RUL", "right upper lobe", "the right apex"),
    "right middle lobe": ("the right middle lobe", "RML", "right middle lobe"),
    "right lower lobe": (
        "the right lower lobe",
        "RLL",
        "right lower lobe",
        "the right base",
        "the right lung base",
    ),
    "left upper lobe": ("the left upper lobe", "LUL", "left upper lobe", "the lingula"),
    "left lower lobe": (
        "the left lower lobe",
        "LLL",
        "left lower lobe",
        "the left base",
        "the left lung base",
    ),
    "right pleura": ("the right pleural space", "the right hemithorax", "the right side"),
    "left pleura": ("the left pleural space", "the left hemithorax", "the left side"),
}

# the same before a noun: "right pleural effusion"
ADJECTIVES: dict[str, tuple[str, ...]] = {
    "right upper lobe": ("right upper lobe", "RUL", "right apical"),
    "right middle lobe": ("right middle lobe", "RML"),
    "right lower lobe": ("right lower lobe", "RLL", "right basal", "right basilar"),
    "left upper lobe": ("left upper lobe", "LUL", "lingular"),
    "left lower lobe": ("left lower lobe", "LLL", "left basal", "left basilar"),
    "right pleura": ("right", "right-sided"),
    "left pleura": ("left", "left-sided"),
}

DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "atelectasis": ("atelectasis", "plate-like atelectasis", "volume loss", "linear atelectasis"),
    "effusion": ("pleural effusion", "effusion", "pleural fluid", "meniscus of pleural fluid"),
    "nodule": (
        "pulmonary nodule",
        "nodule",
        "rounded nodular lesion",
        "solid nodule",
        "spiculated nodule",
    ),
    "consolidation": (
        "consolidation",
        "airspace consolidation",
        "consolidation with air bronchograms",
        "lobar consolidation",
        "pneumonic infiltrate",
        "pneumonia",
    ),
    "pneumothorax": (
        "pneumothorax",
        "pneumothorax with visible pleural line",
        "pleural air",
        "tension pneumothorax",
    ),
}

SIZES = ("", "", "small", "moderate", "large", "subtle", "new", "persistent")

LINES = (
    "{s} in {p}",
    "{s} in {p}",
    "there is {s} in {p}",
    "{p}: {s}",
    "{s} is seen in {p}",
    "within {p} there is {s}",
    "{p} shows {s}",
    "{p} {s}",
)

EITHER = ("{a} or {b}", "either {a} or {b}", "{a} versus {b}", "{a} or possibly {b}")

# what a text leaves open and the odds of each finding
HEDGES: tuple[tuple[str, dict[str, float]], ...] = (
    ("atelectasis versus consolidation", {"atelectasis": 0.5, "consolidation": 0.5}),
    ("consolidation or atelectasis", {"atelectasis": 0.5, "consolidation": 0.5}),
    ("opacity, atelectasis or early pneumonia", {"atelectasis": 0.5, "consolidation": 0.5}),
    ("opacity, favoured to be atelectasis", {"atelectasis": 0.8, "consolidation": 0.2}),
    ("opacity, favoured to be consolidation", {"atelectasis": 0.2, "consolidation": 0.8}),
    ("possible nodule, may be a nipple shadow", {"none": 0.5, "nodule": 0.5}),
    ("questionable nodule", {"none": 0.5, "nodule": 0.5}),
    ("probable nodule", {"none": 0.15, "nodule": 0.85}),
    ("likely consolidation", {"atelectasis": 0.15, "consolidation": 0.85}),
    ("probable atelectasis", {"atelectasis": 0.85, "consolidation": 0.15}),
    ("opacity, consolidation more likely than nodule", {"nodule": 0.25, "consolidation": 0.75}),
    ("nodular opacity, nodule versus focal consolidation", {"nodule": 0.5, "consolidation": 0.5}),
    (
        "ill-defined opacity of uncertain nature",
        {"atelectasis": 1 / 3, "nodule": 1 / 3, "consolidation": 1 / 3},
    ),
    (
        "opacity that cannot be characterised on this portable film",
        {"atelectasis": 1 / 3, "nodule": 1 / 3, "consolidation": 1 / 3},
    ),
)

NEGATIONS: dict[str, tuple[str, ...]] = {
    "none": (
        "The lungs are clear.",
        "No focal opacity.",
        "No acute cardiopulmonary process.",
        "No pleural effusion or pneumothorax.",
    ),
    "effusion": ("No pleural effusion.", "No effusion.", "Costophrenic angles are sharp."),
    "pneumothorax": ("No pneumothorax.", "There is no pneumothorax."),
    "consolidation": ("No consolidation.", "No focal consolidation."),
    "nodule": ("No suspicious nodule.", "No pulmonary nodule."),
}

NORMAL = (
    "The lungs are clear.",
    "Lungs are clear bilaterally.",
    "Normal chest radiograph.",
    "No acute cardiopulmonary abnormality.",
    "No focal consolidation, effusion or pneumothorax.",
    "Unremarkable chest.",
)

HEADERS = (
    "PA and lateral chest.",
    "Portable AP chest radiograph.",
    "Chest radiograph.",
    "Indication: cough and fever.",
    "Indication: 64-year-old man with dyspnoea.",
    "History: chest pain after a fall.",
    "Comparison: none.",
    "Findings:",
)

TAILS = (
    "Heart size is normal.",
    "Mild cardiomegaly.",
    "Mediastinal contours are unremarkable.",
    "Degenerative change of the thoracic spine.",
    "Endotracheal tube in satisfactory position.",
    "Right internal jugular line ends in the superior vena cava.",
    "Old healed left rib fractures.",
    "Calcified granuloma, unchanged.",
    "Surgical clips in the right axilla.",
    "The aorta is tortuous.",
    "Bones are intact.",
    "Severe degenerative change of the left shoulder.",
)
