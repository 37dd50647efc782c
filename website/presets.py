"""Writes the table of presets, which the families' `config.py` have, into docs/train.md.

python -m website.presets
"""

from pathlib import Path

from tfgen import registry

DOCUMENT = Path(__file__).parents[1] / "docs" / "train.md"
START, END = "<!-- python -m website.presets writes this table -->\n\n", "\n<!-- end of table -->"


def table() -> str:
    """The presets of all built-in families, as a Markdown table."""
    rows = [
        "| model | preset | network | epochs | minutes | result |",
        "|---|---|---|---:|---:|---|",
    ]
    families = [family for family in registry.families() if family.model.startswith("tfgen.")]
    for family in families:
        for name, preset in family.presets.items():
            minutes = "–" if preset.minutes is None else f"{preset.minutes:g}"
            cells = [f"`{family.name}`", f"`{name}`", preset.summary, str(preset.epochs)]
            rows.append(f"| {' | '.join([*cells, minutes, preset.result or '–'])} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Replace the table in docs/train.md."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{START}{table()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
