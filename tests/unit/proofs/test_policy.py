"""Policies are read as C2SP writes them, and a quorum is what the file says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import Checkpoint, cosign, log_vkey, sign, witness_vkey
from proofs.errors import (
    CheckpointInvalid,
    LogUnlisted,
    PolicyInvalid,
    QuorumMissing,
    SignatureInvalid,
)
from proofs.note import Note, NoteSignature, VerifierKey
from proofs.policy import Policy
from tests.unit.proofs.examples import UNHURRIED
from tests.unit.proofs.signers import KEY, ORIGIN, OTHER, key_of

HEAD = Checkpoint(origin=ORIGIN, size=300, root=bytes(range(32)))
NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
WITNESSES = {name: key_of(name) for name in NAMES}
VKEYS = {
    name: witness_vkey(f"{name}.example", key.public_key).text for name, key in WITNESSES.items()
}
LOG = log_vkey(ORIGIN, KEY.public_key).text
SIX = "".join(f"witness {name} {vkey}\n" for name, vkey in VKEYS.items())
# The two levels of groups that the specification shows.
TWO_LEVELS = f"""# two organisations
log {LOG}

{SIX}group X-witnesses 2 X1 X2 X3
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def _note(*names: str, head: Checkpoint = HEAD, log: bool = True) -> Note:
    own = [sign(head, KEY)] if log else []
    cosigned = [
        cosign(head, WITNESSES[name], name=f"{name}.example", at=1_766_000_000) for name in names
    ]
    return Note(text=head.body, signatures=(*own, *cosigned))


def _parse(text: str) -> Policy:
    return Policy.parse(text.encode())


def test_two_levels_of_groups() -> None:
    """Of all 64 sets of witnesses, exactly those with two of X and one of Y are enough."""
    policy = _parse(TWO_LEVELS)
    for size in range(len(NAMES) + 1):
        for names in itertools.combinations(NAMES, size):
            enough = sum(n[0] == "X" for n in names) >= 2 and any(n[0] == "Y" for n in names)
            if enough:
                assert names == policy.check(_note(*names))
            else:
                with pytest.raises(QuorumMissing):
                    policy.check(_note(*names))


def test_a_missing_quorum_says_who_is_there_and_what_is_needed() -> None:
    """So that a person knows whether to wait."""
    with pytest.raises(QuorumMissing) as refused:
        _parse(TWO_LEVELS).check(_note("X1", "Y2"))
    assert refused.value.message == (
        "the policy needs 2 of X-witnesses, Y-witnesses and has 1; cosigned by X1, Y2"
    )
    assert {"quorum": "X-and-Y", "cosigned": ["X1", "Y2"]} == refused.value.details
    with pytest.raises(QuorumMissing, match="needs witness X1; cosigned by none of its witnesses"):
        _parse(f"{SIX}quorum X1\n").check(_note())


def test_one_witness_can_be_the_quorum() -> None:
    """And others are told all the same."""
    policy = _parse(f"{SIX}quorum X1\n")

    assert ("X1",) == policy.check(_note("X1"))
    assert ("X1", "Y3") == policy.check(_note("Y3", "X1"))
    assert () == policy.logs


def test_no_quorum_needs_no_witness() -> None:
    """`none` is a name of its own."""
    policy = _parse(f"log {LOG} https://log.example/\nquorum none\n")

    assert () == policy.check(_note())
    assert (VerifierKey.parse(LOG),) == policy.logs


def test_a_log_that_is_not_listed_is_refused() -> None:
    """By its name, by its key, and without a signature of its own."""
    elsewhere = Checkpoint(origin="wasp.example/1", size=1, root=bytes(32))
    policy = _parse(f"log {LOG}\nquorum none\n")
    other = _parse(f"log {log_vkey(ORIGIN, OTHER.public_key).text}\nquorum none\n")

    for asked, note in (
        (policy, _note(head=elsewhere)),
        (other, _note()),
        (policy, _note("X1", log=False)),
    ):
        with pytest.raises(LogUnlisted, match="no log of the policy has signed"):
            asked.check(note)


def test_two_keys_of_one_log_may_be_listed() -> None:
    """As after a handover; either is enough."""
    both = f"log {log_vkey(ORIGIN, OTHER.public_key).text}\nlog {LOG}\nquorum none\n"

    assert () == _parse(both).check(_note())


def test_a_false_cosignature_refuses_the_checkpoint() -> None:
    """Even if others are enough."""
    note = _note("X1", "X2", "Y1")
    line = note.signatures[3]
    false = NoteSignature(name=line.name, key_id=line.key_id, signature=bytes(72))
    changed = Note(text=note.text, signatures=(*note.signatures[:3], false))

    with pytest.raises(SignatureInvalid, match=r"cosignature of Y1.example"):
        _parse(f"{SIX}quorum X1\n").check(changed)


def test_a_note_that_is_no_checkpoint_is_refused() -> None:
    """Whoever signed it."""
    note = Note(text="a letter\n", signatures=_note().signatures)

    with pytest.raises(CheckpointInvalid):
        _parse("quorum none\n").check(note)


def test_names_are_bytes() -> None:
    """Also such as are no UTF-8; two that look alike are two."""
    text = b"witness \xff %s\nwitness K %s\nwitness \xe2\x84\xaa %s\n"
    text += b"group g all \xff K \xe2\x84\xaa\nquorum g\n"
    policy = Policy.parse(text % tuple(VKEYS[name].encode() for name in ("X1", "X2", "X3")))

    assert 3 == len(policy.check(_note("X1", "X2", "X3")))
    with pytest.raises(QuorumMissing) as refused:
        policy.check(_note("X1", "X2"))
    refused.value.message.encode("utf-8")


W1, W2 = (f"witness {name} {VKEYS[name]}\n" for name in ("X1", "X2"))
COSIGNER = witness_vkey("a", KEY.public_key)
BROKEN = {
    "an empty file": ("", None, "no quorum line"),
    "no quorum": (SIX, None, "no quorum line"),
    "no last newline": (f"{SIX}quorum X1", None, "cut off"),
    "two quorums": ("quorum none\nquorum none\n", 2, "second quorum line"),
    "an unknown quorum": (f"{W1}quorum X2\n", 2, "X2 is not defined before it"),
    "a quorum too early": (f"quorum X1\n{W1}", 1, "X1 is not defined before it"),
    "a quorum of two": (f"{W1}quorum X1 X1\n", 2, "quorum line does not have 2 items"),
    "an unknown keyword": ("quota none\n", 1, "no keyword quota"),
    "another case": ("Quorum none\n", 1, "no keyword Quorum"),
    "a log without a key": ("log\n", 1, "log line does not have 0 items"),
    "a log with too much": (f"log {LOG} a b\n", 1, "log line does not have 3 items"),
    "a log twice": (f"log {LOG}\nlog {LOG}\n", 2, "same log key a second time"),
    "a witness as a log": (f"log {VKEYS['X1']}\n", 1, "kind 0x04 cannot check a log's signature"),
    "a log as a witness": (f"witness a {LOG}\n", 1, "kind 0x01 cannot check a cosignature"),
    "a key of another kind": (
        f"witness a {VerifierKey(name='a', kind=6, public_key=bytes(1312)).text}\n",
        1,
        "kind 0x06 cannot check a cosignature; 0x04 can",
    ),
    "no key": ("witness a b\n", 1, "plus signs between"),
    "a witness twice": (f"{W1}witness again {VKEYS['X1']}\n", 2, "same witness key a second time"),
    "a key under two names": (
        f"witness a {witness_vkey('a', KEY.public_key).text}\n"
        f"witness b {witness_vkey('b', KEY.public_key).text}\n",
        2,
        "same witness key a second time",
    ),
    "a name twice": (f"{W1}witness X1 {VKEYS['X2']}\n", 2, "X1 is defined a second time"),
    "a group like a witness": (f"{W1}{W2}group X1 any X2\n", 3, "X1 is defined a second time"),
    "a witness named none": (f"witness none {VKEYS['X1']}\n", 1, "none is taken"),
    "a group named none": (f"{W1}group none any X1\n", 2, "none is taken"),
    "none in a group": (f"{W1}group g any X1 none\n", 2, "none is not defined before it"),
    "a group in itself": (f"{W1}group g any g\n", 2, "g is not defined before it"),
    "an empty group": ("group g any\n", 1, "group line does not have 2 items"),
    "a member twice": (f"{W1}group g 2 X1 X1\n", 2, "X1 is in a group already"),
    "a member of two": (f"{W1}group g any X1\ngroup h any X1\n", 3, "X1 is in a group already"),
    "too many of them": (f"{W1}group g 2 X1\n", 2, "2 is not all, any or a number from 1 to 1"),
    "none of them": (f"{W1}group g 0 X1\n", 2, "0 is not all"),
    "a leading zero": (f"{W1}group g 01 X1\n", 2, "01 is not all"),
    "no number": (f"{W1}group g most X1\n", 2, "most is not all"),
    "a huge number": (f"{W1}group g {'9' * 5000} X1\n", 2, "is not all"),
    "a carriage return": ("quorum none\r\n", 1, "byte 0x0d"),
    "a zero": ("\nquorum none\x00\n", 2, "byte 0x00"),
    "a delete": ("\n\nquorum none\x7f\n", 3, "byte 0x7f"),
    "a huge file": ("#" * 262_144 + "\n", None, "262145 bytes"),
    "many lines": ("\n" * 4097, None, "more than 4096 lines"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_policy_that_cannot_be_relied_on_is_refused(name: str) -> None:
    """With the line and its own reason."""
    text, line, reason = BROKEN[name]

    with pytest.raises(PolicyInvalid, match=reason) as refused:
        _parse(text)
    assert line == refused.value.details.get("line")


def test_blanks_and_comments_do_not_matter() -> None:
    """Spaces and tabs, anywhere between the words."""
    text = f"\t # a comment\n \n  witness\tX1  {VKEYS['X1']}\t\n\tquorum X1 \n# the end\n"

    assert ("X1",) == _parse(text).check(_note("X1"))


def test_deep_nesting_is_no_trouble() -> None:
    """A chain of a thousand groups."""
    chain = "".join(f"group g{n} any g{n - 1}\n" for n in range(1, 1000))
    policy = _parse(f"{W1}group g0 any X1\n{chain}quorum g999\n")

    assert ("X1",) == policy.check(_note("X1"))
    with pytest.raises(QuorumMissing, match="needs 1 of g998 and has 0"):
        policy.check(_note())


@UNHURRIED
@given(
    words=st.lists(
        st.sampled_from(
            [
                "log",
                "witness",
                "group",
                "quorum",
                "none",
                "any",
                "2",
                "a",
                "b",
                "\n",
                LOG,
                *VKEYS.values(),
            ]
        ),
        max_size=30,
    )
)
def test_any_words_are_a_policy_or_refused(words: list[str]) -> None:
    """Nothing but our own error comes out."""
    try:
        _parse(" ".join(words) + "\n")
    except PolicyInvalid:
        pass
