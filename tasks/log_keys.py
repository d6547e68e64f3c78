"""The keys that a log is or was signed with, as its own entries tell."""

from __future__ import annotations

from ledger import LogRow, Transaction, log_entries
from proofs.entry import EntryType, KeyHandoverEntry


def of(tx: Transaction, log: LogRow) -> list[str]:
    """The public keys in OpenSSH's form, sorted."""
    keys = {log.key}
    for row in log_entries.of_type(tx, log.number, EntryType.KEY_HANDOVER):
        entry = KeyHandoverEntry.from_bytes(row.data)
        keys |= {entry.old_key, entry.new_key}
    return sorted(keys)
