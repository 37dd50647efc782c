"""Writes the table of presets, which the families' `config.py` have, into docs/train.md.

python -m website.presets
"""

from pathlib import Path

from tfgen import registry

DOCUMENT = Path(__file__).parents[1] / "docs" / "train.md"
START, END = "<!-- python -m {} writes this table -->\n\n", "\n<!-- end of table -->"


def table() -> str:
    """The presets of all built-in families, as a Markdown table."""
    rows = [
        "| model | preset | network | epochs | minutes | [metric](judge.md) and its value |",
        "|---|---|---|---:|---:|---|",
    ]
    families = [family for family in registry.families() if family.model.startswith("tfgen.")]
    for family in families:
        for name, preset in family.presets.items():
            minutes = "–" if preset.minutes is None else f"{preset.minutes:g}"
            cells = [f"`{family.name}`", f"`{name}`", preset.summary, str(preset.epochs)]
            rows.append(f"| {' | '.join([*cells, minutes, with_direction(preset.result)])} |")
    return "\n".join(rows) + "\n"


def with_direction(result: str) -> str:
    """A preset's result with an arrow that says which values of its metric are better."""
    if not result:
        return "–"
    is_higher_better = result.startswith("accuracy") or result.endswith("modes")
    return f"{result} {'↑' if is_higher_better else '↓'}"


def replace_table(document: Path, module: str, table: str) -> None:
    """Replace the table that a module writes into a document.

    Args:
        document: path of the document.
        module: name of the module, which stands in the comment before the table.
        table: the new table.
    """
    start = START.format(module)
    before, rest = document.read_text(encoding="utf-8").split(start)
    _, after = rest.split(END)
    document.write_text(f"{before}{start}{table}{END}{after}", encoding="utf-8")


def main() -> None:
    """Replace the table in docs/train.md."""
    replace_table(DOCUMENT, "website.presets", table())


if __name__ == "__main__":
    main()
