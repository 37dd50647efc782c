"""Writes the table of presets, which the families' `config.py` have, into docs/train.md.

    python -m website.presets
"""

from pathlib import Path

from tfgen import registry

FAMILIES = ("vae", "gan", "flow", "classifier")
DOCUMENT = Path(__file__).parents[1] / "docs" / "train.md"
START, END = "<!-- python -m website.presets writes this table -->\n\n", "\n<!-- end of table -->"


def table() -> str:
    """The presets of all built-in families, as a Markdown table."""
    rows = [
        "| model | preset | network | epochs | minutes | result |",
        "|---|---|---|---:|---:|---|",
    ]
    for name in FAMILIES:
        for preset_name, preset in registry.family(name).presets.items():
            minutes = "–" if preset.minutes is None else f"{preset.minutes:g}"
            rows.append(
                f"| `{name}` | `{preset_name}` | {preset.summary} | {preset.epochs} | {minutes} | "
                f"{preset.result or '–'} |"
            )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Replace the table in docs/train.md."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{START}{table()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
