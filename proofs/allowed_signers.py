"""Allowed signers: which key may sign as whom, for what, and when, in OpenSSH's own file format.

Each line is: principals, options, key. The same file serves stock `ssh-keygen -Y verify -f`:

    bee.example namespaces="swarm-receipt,swarm-merkle",valid-after="20251231Z" ssh-ed25519 AAAA…

Principals and namespaces are lists of patterns with `*`, `?` and `!`, as ssh-keygen reads them.
Where ssh-keygen is lenient this is not, since a line that is silently left out changes who may
sign: a malformed line refuses the file, times must be UTC (end in Z), and certificate authorities
are not supported. A key of another type than Ed25519 is kept and never matches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn, Self

from proofs.errors import SignerRefused
from proofs.keys import KEY_TYPE, PublicKey
from proofs.patterns import matches_list
from proofs.signer_lines import SignerLine, read_lines, refused

_PLAIN_PRINCIPAL = re.compile(r'[^\s#!,*?"][^\s!,*?"]*')


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSigners:
    """The lines of a file of allowed signers, in order."""

    lines: tuple[SignerLine, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file.

        Raises:
            AllowedSignersInvalid: A line is malformed, or says what is not supported.
        """
        return cls(lines=tuple(read_lines(data)))

    def keys(self, principal: str, namespace: str, at: int | None = None) -> tuple[PublicKey, ...]:
        """Return the keys that may sign as a principal in a namespace.

        Args:
            principal: Whom the signature is said to be of.
            namespace: What it is for.
            at: When, in seconds since 1970; None leaves the time out of account.
        """
        return tuple(
            line.key
            for line in self.lines
            if line.key is not None
            and matches_list(principal, line.principals)
            and line.refusal(namespace, at) is None
        )

    def keys_lasting(self, principal: str, namespace: str, *, until: int) -> tuple[PublicKey, ...]:
        """Return those of `keys` whose time is not over at `until`, whenever it begins."""
        return tuple(
            line.key
            for line in self.lines
            if line.key is not None
            and matches_list(principal, line.principals)
            and line.refusal(namespace, None) is None
            and (line.valid_before is None or until <= line.valid_before)
        )

    def require(
        self, key: PublicKey, *, principal: str, namespace: str, at: int | None = None
    ) -> None:
        """Refuse a key that may not sign as a principal in a namespace at a time.

        Raises:
            SignerRefused: `details["reason"]` is `principal`, `key`, `namespace`, `not_yet` or
                `no_longer`; of several lines with the key, the one that came nearest is told.
        """
        named = [line for line in self.lines if matches_list(principal, line.principals)]
        if not named:
            _refuse("principal", f"the allowed signers name nobody {principal!r}")
        reasons = []
        for line in named:
            if line.key == key:
                refusal = line.refusal(namespace, at)
                if refusal is None:
                    return
                reasons.append(refusal)
        if not reasons:
            told = [line.key.fingerprint for line in named if line.key is not None]
            known = ", ".join(told[:8]) or f"no {KEY_TYPE} key"
            _refuse("key", f"{principal} signs with {known}, not with {key.fingerprint}")
        rank, reason = max(reasons)
        code = ("namespace", "not_yet", "no_longer")[rank]
        _refuse(code, f"the key {key.fingerprint} of {principal} is refused: {reason}")


def allowed_line(principal: str, key: PublicKey, *namespaces: str) -> str:
    """Return the line, without a newline, that lets a key sign as a principal.

    Raises:
        AllowedSignersInvalid: The principal would be read as a pattern, a list or a comment.
    """
    if _PLAIN_PRINCIPAL.fullmatch(principal) is None:
        raise refused(0, f"{principal[:80]!a} cannot stand for one principal alone")
    return f'{principal} namespaces="{",".join(namespaces)}" {key.to_openssh()}'


def _refuse(reason: str, message: str) -> NoReturn:
    raise SignerRefused(
        message,
        suggested_action="Ask the signer for the key, and compare it over another channel.",
        details={"reason": reason},
    )
