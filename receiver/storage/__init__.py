"""All that knows SQL: what the rest of the service asks of a store, and SQLite, which answers it."""
