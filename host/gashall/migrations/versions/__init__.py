"""One module a schema version. They import nothing that a later version may change."""
