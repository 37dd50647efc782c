"""The documentation site: what MkDocs does not do by itself, as hooks of its build."""
