"""What of the ledger can be told without a store."""
