"""What signs with the key in a folder, opened as the settings say."""

from __future__ import annotations

import logging
from pathlib import Path

from proofs.keys import Signer
from tasks import bee_key
from tasks.settings import Settings

logger = logging.getLogger(__name__)


def open_signer(folder: Path, settings: Settings) -> Signer:
    """What signs with the key in a folder.

    Raises:
        KeyUnusable: there is no key, or it is not safe, not readable or not unlocked.
    """
    return bee_key.open_signer(
        folder,
        passphrase_file=settings.bee_passphrase_file,
        agent_socket=settings.ssh_agent_socket,
    )


def open_or_make(folder: Path, settings: Settings) -> Signer:
    """The same, with a new key where there is none.

    Raises:
        KeyUnusable: as above, or the folder cannot be written.
    """
    is_new = bee_key.is_missing(folder)
    if is_new:
        bee_key.create(folder, passphrase_file=settings.bee_passphrase_file)
    signer = open_signer(folder, settings)
    if is_new:
        logger.info(
            "made a key to sign receipts with: %s",
            folder / bee_key.PUBLIC,
            extra={"key_id": signer.public_key.fingerprint},
        )
    return signer
