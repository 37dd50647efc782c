"""Importers of local files, one file for each format.

An importer is a function `import_<format>(source: Path, …)` that returns a `tfgen.data.Split` for
`train` and, if there is one, for `test`. It raises a `UsageError` that names the file at fault. To
add one, write its file here and make it a choice of `cli/data.py`, which hands the splits to
`tfgen.data.writing.write_prepared`. The importer of images holds only a part of them at a time, and
hands that to `write_batches`.
"""
