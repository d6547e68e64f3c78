"""The ledger on real stores: one suite, SQLite and PostgreSQL."""
