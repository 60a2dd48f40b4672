"""Draw model_01.svg ... model_07.svg: one picture, a different part lit."""

from pathlib import Path

# lesson: label, x, y, width, height
BOXES = {
    5: ("tokenizer", 62, 96, 84, 38),
    2: ("embeddings", 188, 96, 98, 38),
    3: ("block × L", 306, 58, 226, 112),
    1: ("attention", 322, 96, 90, 38),
    4: ("head", 552, 96, 66, 38),
    6: ("optimizer", 322, 204, 90, 34),
    7: ("sampling", 322, 8, 90, 34),
}
WORDS = [
    ("text", 34, 119),
    ("ids", 169, 119),
    ("logits", 651, 119),
    ("loss", 710, 119),
]
ARROWS = [
    "M48 115 H60",
    "M147 115 H158",
    "M179 115 H186",
    "M287 115 H304",
    "M413 115 H425",
    "M533 115 H550",
    "M619 115 H631",
    "M672 115 H694",
    "M710 128 V221 H414",
    "M321 221 H238 V136",
    "M651 106 V25 H414",
    "M321 25 H34 V102",
]
NOTES = [
    ("gradients, backwards through every part", 560, 214),
    ("new parameters", 266, 236),
    ("probabilities of the next token", 530, 19),
    ("one token more", 180, 19),
]


def box(lesson, lit):
    """Return one part of the model as SVG, filled if it is the lit one."""
    label, x, y, width, height = BOXES[lesson]
    fill, ink = ("#1f5f8b", "white") if lit else ("#eef1f4", "#333")
    if lit and lesson == 3:  # an arrow and other boxes lie on it
        fill, ink = "#a9cbe0", "#333"
    text_y = y + (18 if lesson == 3 else height / 2 + 4)
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" '
        f'fill="{fill}" stroke="#555"/>'
        f'<text x="{x + width / 2}" y="{text_y}" fill="{ink}">'
        f"{lesson:02d} {label}</text>"
    )


def draw(lit):
    """Return the picture with the part of one lesson lit."""
    parts = [box(3, lit == 3)]
    parts += [
        '<rect x="428" y="96" width="92" height="38" rx="6" '
        'fill="#eef1f4" stroke="#555"/><text x="474" y="119">'
        "feed-forward</text>"
    ]
    parts += [box(n, n == lit) for n in (1, 2, 4, 5, 6, 7)]
    parts += [f'<text x="{x}" y="{y}">{word}</text>' for word, x, y in WORDS]
    parts += [
        f'<text x="{x}" y="{y}" class="note">{note}</text>'
        for note, x, y in NOTES
    ]
    parts += [
        f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#tip)"/>'
        for path in ARROWS
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 250" '
        'width="740" height="250" font-family="sans-serif" font-size="13" '
        'text-anchor="middle"><style>.note{font-size:11px;fill:#555}</style>'
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" '
        'markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 6 3 0 6z" fill="#555"/></marker></defs>'
        '<rect width="740" height="250" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    for lesson in BOXES:
        path = Path(__file__).with_name(f"model_{lesson:02d}.svg")
        path.write_text(draw(lesson), encoding="utf-8")
