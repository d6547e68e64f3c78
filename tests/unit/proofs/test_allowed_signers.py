"""Who may sign is read as ssh-keygen reads it, or refused; each refusal has its own reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.allowed_signers import AllowedSigners, allowed_line
from proofs.errors import AllowedSignersInvalid, SignerRefused
from proofs.sshsig import BATCH_NAMESPACE, RECEIPT_NAMESPACE, sign
from tests.unit.proofs.examples import UNHURRIED
from tests.unit.proofs.signers import BEE, KEY, OTHER, key_of, keygen, needs_openssh

K = KEY.public_key.to_openssh()
K2 = OTHER.public_key.to_openssh()
RSA = "ssh-rsa AAAAB3NzaC1yc2E="


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


NOON = _at("2026-03-01T12:00:00")
"""When the signatures of these tests were made."""

TABLE: list[tuple[str, str | None]] = [
    (f"{BEE} {K}", None),
    (f"{BEE} {K} a comment", None),
    (f"  \t{BEE}\t{K}", None),
    (f"{BEE} {K}\r", None),
    (f"# a comment\n\n{BEE} {K}", None),
    (f'"{BEE}" {K}', None),
    (f'"wasp.example,{BEE}" {K}', None),
    (f"*.example {K}", None),
    (f"b??.* {K}", None),
    (f"!wasp.example,* {K}", None),
    (f"!bee.*,*.example {K}", "principal"),
    (f"wasp.example {K}", "principal"),
    ("", "principal"),
    ("# nobody", "principal"),
    (f"BEE.example {K}", "principal"),
    (f"{BEE} {K2}", "key"),
    (f"{BEE} {RSA}", "key"),
    (f"{BEE} {K2}\n{BEE} {K}", None),
    (f"wasp.example {K}\n{BEE} {K2}", "key"),
    (f'{BEE} namespaces="swarm-receipt" {K}', None),
    (f'{BEE} NameSpaces="swarm-receipt" {K}', None),
    (f'{BEE} namespaces="file,swarm-*" {K}', None),
    (f'{BEE} namespaces="swarm-merkle" {K}', "namespace"),
    (f'{BEE} namespaces="swarm-*,!swarm-receipt" {K}', "namespace"),
    (f'{BEE} namespaces="" {K}', "namespace"),
    (f'{BEE} namespaces="swarm-merkle" {K}\n{BEE} namespaces="swarm-receipt" {K}', None),
    (f'{BEE} valid-after="20260301Z" {K}', None),
    (f'{BEE} valid-after="202603011200Z" {K}', None),
    (f'{BEE} valid-after="20260301120000Z" {K}', None),
    (f'{BEE} valid-after="20260301120001Z" {K}', "not_yet"),
    (f'{BEE} valid-after="20260302Z" {K}', "not_yet"),
    (f'{BEE} valid-before="20260302Z" {K}', None),
    (f'{BEE} valid-before="20260301120000Z" {K}', None),
    (f'{BEE} valid-before="20260301115959Z" {K}', "no_longer"),
    (f'{BEE} valid-before="20260301Z" {K}', "no_longer"),
    (f'{BEE} valid-after="20260301Z",valid-before="20260302Z" {K}', None),
    (f'{BEE} namespaces="swarm-receipt",valid-before="20250101Z" {K}', "no_longer"),
    (f'{BEE} valid-before="20250101Z" {K}\n{BEE} valid-after="20260101Z" {K}', None),
]


def _refused(text: str, namespace: str = RECEIPT_NAMESPACE) -> str | None:
    signers = AllowedSigners.parse(text.encode())
    try:
        signers.require(KEY.public_key, principal=BEE, namespace=namespace, at=NOON)
    except SignerRefused as refused:
        assert KEY.public_key not in signers.keys(BEE, namespace, NOON)
        return str(refused.details["reason"])
    assert KEY.public_key in signers.keys(BEE, namespace, NOON)
    return None


@pytest.mark.parametrize(("text", "reason"), TABLE, ids=range(len(TABLE)))
def test_who_may_sign(text: str, reason: str | None) -> None:
    """The table says who may, and why others may not."""
    assert reason == _refused(text)


@needs_openssh
def test_ssh_keygen_says_the_same(tmp_path: Path) -> None:
    """For every line of the table: where it accepts we do, where it refuses we do."""
    allowed, signature = tmp_path / "allowed_signers", tmp_path / "x.sig"
    signature.write_bytes(sign(KEY, namespace=RECEIPT_NAMESPACE, message=b"x"))
    words = ("-Y", "verify", "-f", allowed, "-I", BEE, "-n", RECEIPT_NAMESPACE, "-s", signature)
    differing = []
    for text, reason in TABLE:
        allowed.write_text(text + "\n")
        theirs = keygen(*words, "-Overify-time=20260301120000Z", data=b"x")
        if (theirs.returncode == 0) != (reason is None):
            differing.append((text, theirs.stderr))

    assert [] == differing


def _message(text: str, namespace: str = RECEIPT_NAMESPACE) -> str:
    with pytest.raises(SignerRefused) as refused:
        AllowedSigners.parse(text.encode()).require(
            KEY.public_key, principal=BEE, namespace=namespace, at=NOON
        )
    return refused.value.message


def test_each_refusal_says_what_is_known() -> None:
    """Names, fingerprints and times, so that a person sees what to ask for."""
    print_of = KEY.public_key.fingerprint

    assert "the allowed signers name nobody 'bee.example'" == _message("")
    assert _message(f"{BEE} {K2}") == (
        f"{BEE} signs with {OTHER.public_key.fingerprint}, not with {print_of}"
    )
    assert f"signs with no ssh-ed25519 key, not with {print_of}" in _message(f"{BEE} {RSA}")
    told = _message(f'{BEE} namespaces="swarm-merkle" {K}')
    assert "may not sign in the namespace 'swarm-receipt', only in 'swarm-merkle'" in told
    told = _message(f'{BEE} valid-after="20270101Z" {K}')
    assert "from 2027-01-01T00:00:00Z on, not yet at 2026-03-01T12:00:00Z" in told
    told = _message(f'{BEE} valid-before="20250101Z" {K}')
    assert "until 2025-01-01T00:00:00Z, no longer at 2026-03-01T12:00:00Z" in told


def test_the_nearest_line_is_told() -> None:
    """A key that was valid once tells more than one that is for other things."""
    text = f'{BEE} namespaces="file" {K}\n{BEE} valid-before="20250101Z" {K}\n{BEE} {K2}'

    assert "no_longer" == _refused(text)


def test_without_a_time_no_window_counts() -> None:
    """Who asks for the keys of a log does not always have a time."""
    signers = AllowedSigners.parse(f'{BEE} valid-before="20250101Z" {K}'.encode())

    signers.require(KEY.public_key, principal=BEE, namespace=RECEIPT_NAMESPACE)
    assert (KEY.public_key,) == signers.keys(BEE, RECEIPT_NAMESPACE)
    assert () == signers.keys(BEE, RECEIPT_NAMESPACE, NOON)


def test_the_line_we_write_is_read() -> None:
    """What `honeyflow keys bee show` prints."""
    line = allowed_line(BEE, KEY.public_key, RECEIPT_NAMESPACE, BATCH_NAMESPACE)

    assert f'{BEE} namespaces="swarm-receipt,swarm-merkle" {K}' == line
    assert None is _refused(line)
    assert None is _refused(line, BATCH_NAMESPACE)
    assert "namespace" == _refused(line, "file")


@pytest.mark.parametrize("name", ["", "a b", "a,b", "*", "b?e", "!bee", "#bee", 'a"b', "a\nb"])
def test_a_name_that_says_more_than_itself_gets_no_line(name: str) -> None:
    """A worker may be called so, but nobody is to be let in by its name."""
    with pytest.raises(AllowedSignersInvalid, match="one principal alone"):
        allowed_line(name, KEY.public_key, RECEIPT_NAMESPACE)


BROKEN = {
    "principal alone": (BEE, "no key follows the principals"),
    "key alone": (K, "no key follows its options"),
    "nothing after": (f"{BEE} ", "no key follows the principals"),
    "an open quote": (f'"{BEE} {K}', "list of principals"),
    "a quote within": (f'b"e"e {K}', "no key follows the principals"),
    "no space after": (f'"{BEE}"{K}', "list of principals"),
    "an empty name": (f"{BEE},,a {K}", "list of principals"),
    "an empty list": (f'"" {K}', "list of principals"),
    "no key": (f'{BEE} namespaces="file"', "no key follows its options"),
    "half a key": (f"{BEE} {K[:-4]}", "binary form"),
    "no base64": (f"{BEE} ssh-ed25519 A!A", "not base64"),
    "another key inside": (f"{BEE} ssh-rsa {K.split()[1]}", "what follows its options"),
    "an unknown type": (f"{BEE} ssh-foo AAAA", "what follows its options"),
    "an authority": (f"{BEE} cert-authority {K}", "certificate authorities are not supported"),
    "an unknown option": (f'{BEE} from="a" {K}', "no option 'from'"),
    "a bare option": (f"{BEE} namespaces {K}", "namespaces has no value"),
    "an unquoted option": (f"{BEE} namespaces=file {K}", "malformed"),
    "an open option": (f'{BEE} namespaces="file {K}', "not a key"),
    "an option twice": (f'{BEE} namespaces="a",namespaces="b" {K}', "namespaces twice"),
    "a comma at the end": (f'{BEE} namespaces="a", {K}', "end in a comma"),
    "no comma between": (f'{BEE} namespaces="a"valid-after="20260101Z" {K}', "malformed"),
    "local time": (f'{BEE} valid-after="20260101" {K}', "is not in UTC"),
    "no time": (f'{BEE} valid-after="" {K}', "is not in UTC"),
    "no such day": (f'{BEE} valid-after="20260230Z" {K}', "is not YYYYMMDDZ"),
    "no such second": (f'{BEE} valid-after="20260101000060Z" {K}', "is not YYYYMMDDZ"),
    "ten digits": (f'{BEE} valid-before="2026010100Z" {K}', "is not YYYYMMDDZ"),
    "words": (f'{BEE} valid-before="nextyearZ" {K}', "is not YYYYMMDDZ"),
    "other digits": (
        f'{BEE} valid-before="\u0662\u0660\u0662\u0666\u0660\u0661\u0660\u0661Z" {K}',
        "not YYYYMMDDZ",
    ),
    "the epoch": (f'{BEE} valid-before="19700101Z" {K}', "not after 1970"),
    "an empty window": (
        f'{BEE} valid-after="20260101Z",valid-before="20260101Z" {K}',
        "not later than",
    ),
    "a zero byte": (f"{BEE} {K}\x00", "control character"),
    "a form feed": (f"{BEE}\x0c{K}", "control character"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_malformed_line_refuses_the_file(name: str) -> None:
    """With its number and its own reason, also if another line would have done."""
    text, reason = BROKEN[name]

    with pytest.raises(AllowedSignersInvalid, match=reason) as refused:
        AllowedSigners.parse(f"{BEE} {K}\n\n{text}\n".encode())
    assert {"line": 3} == refused.value.details
    assert refused.value.message.startswith("line 3 of the allowed signers is refused: ")


def test_a_file_has_limits() -> None:
    """Bytes, lines and their encoding."""
    with pytest.raises(AllowedSignersInvalid, match="1048577 bytes"):
        AllowedSigners.parse(b"#" * 1_048_577)
    with pytest.raises(AllowedSignersInvalid, match="more than 10000 lines"):
        AllowedSigners.parse(b"\n" * 10_000)
    with pytest.raises(AllowedSignersInvalid, match=r"line 2 .* not UTF-8"):
        AllowedSigners.parse(b"#\n\xff")


@UNHURRIED
@given(
    words=st.lists(
        st.sampled_from([*'ab,="\\ \t#!*\r\n', "namespaces", "ssh-ed25519", K]), max_size=30
    )
)
def test_any_text_is_read_or_refused(words: list[str]) -> None:
    """Nothing but our own error comes out."""
    try:
        signers = AllowedSigners.parse("".join(words).encode())
    except AllowedSignersInvalid:
        return
    assert signers.keys("a", "b") in ((), (KEY.public_key,) * len(signers.keys("a", "b")))


def test_many_keys_of_one_name_are_cut_in_the_message() -> None:
    """Eight are enough to see."""
    lines = "\n".join(f"{BEE} {key_of(str(n)).public_key.to_openssh()}" for n in range(20))

    assert 9 == _message(lines).count("SHA256:")
