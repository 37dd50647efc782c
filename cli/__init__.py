"""The console scripts of tfgen, one file a verb; installed as the package `tfgen.cli`."""
