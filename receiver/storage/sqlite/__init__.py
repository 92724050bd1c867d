"""The SQLite store: one writing connection, readers beside it, migrations, named queries."""
