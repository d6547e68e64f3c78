"""How a ledger came to look as it does: one Alembic revision per step, never changed afterwards."""
