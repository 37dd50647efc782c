"""The documentation site: what ProperDocs does not do by itself, as hooks of its build."""
