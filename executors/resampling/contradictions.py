"""Schemas that no document can ever meet, and where they contradict themselves. Pure.

`Search.first` reports only what it can prove; what it does not understand (patterns, formats, most
of `not`) it takes as possible. It goes by all schemas that speak about one place at once, and asks
for every type whether a value of it could be there. Documents are finite, so a schema that needs
itself again below is a contradiction, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from executors.resampling.facets import (
    ALL_KINDS,
    Contradiction,
    Facet,
    Facets,
    Given,
    asks_nothing,
)

#: How many places are looked at before a schema is taken as possible.
MAX_PLACES = 1_000
#: How many of the first items of an array are looked at.
MAX_ITEMS = 100
#: The keywords whose schemas are among the facets already.
_JOINED = frozenset({"$ref", "allOf"})


class _Enough(Exception):
    """The schema is too large to be searched."""


class Search:
    """One search through one schema.

    `meets` says whether a value meets a part of the schema, `resolve` gives what a `$ref` refers
    to, `keywords` are those that the schema's dialect knows, and with `ref_alone` a `$ref` hides
    the keywords beside it, as before draft 2019-09.
    """

    def __init__(
        self,
        *,
        meets: Callable[[Any, Mapping[str, Any]], bool],
        resolve: Callable[[str], Any],
        keywords: frozenset[str],
        ref_alone: bool,
    ) -> None:
        self._meets = meets
        self._resolve = resolve
        self._keywords = keywords
        self._ref_alone = ref_alone
        self._open: list[frozenset[int]] = []
        self._places = 0

    def first(self, root: Any) -> Contradiction | None:
        """A contradiction that makes the whole schema impossible, if one is found."""
        try:
            return self._place([("", root)])
        except (_Enough, RecursionError):
            return None

    def _place(self, given: Sequence[Given]) -> Contradiction | None:
        """Why no value meets all the schemas that are given for one place."""
        self._places += 1
        if self._places > MAX_PLACES:
            raise _Enough
        schemas: list[Facet] = []
        for pointer, schema in self._flat(given):
            if schema is False:
                return Contradiction(pointer=pointer, reason="it is `false`")
            schemas.append((pointer, schema))
        here = frozenset(id(schema) for _, schema in schemas)
        if here in self._open:
            return Contradiction(
                pointer=schemas[0][0], reason="every document would have to hold a smaller one"
            )
        facets = Facets(schemas=schemas, keywords=self._keywords)
        self._open.append(here)
        try:
            return self._no_value(facets) or self._no_branch(facets)
        finally:
            self._open.pop()

    def _flat(self, given: Sequence[Given]) -> Iterator[Given]:
        """The schemas that hold at a place: those given, and what they refer to or join."""
        waiting = list(given)
        known: set[int] = set()
        while waiting:
            pointer, schema = waiting.pop(0)
            if schema is False:
                yield pointer, False
            if not isinstance(schema, Mapping) or id(schema) in known:
                continue
            known.add(id(schema))
            reference = schema.get("$ref")
            if isinstance(reference, str):
                waiting.append((reference.removeprefix("#"), self._resolve(reference)))
                if self._ref_alone:
                    continue
            yield pointer, schema
            if isinstance(parts := schema.get("allOf"), list):
                waiting += [(f"{pointer}/allOf/{n}", part) for n, part in enumerate(parts)]

    def _no_value(self, facets: Facets) -> Contradiction | None:
        if listed := facets.listed():
            pointer, values = min(listed, key=lambda pair: len(pair[1]))
            if any(self._met(value, facets) for value in values):
                return None
            why = "none of its values meets the rest" if values else "it lists no value"
            return Contradiction(pointer=pointer, reason=why)
        kinds = ALL_KINDS
        for pointer, schema in facets:
            kinds &= facets.kinds(schema)
            if not kinds:
                return Contradiction(pointer=f"{pointer}/type", reason="no type is left")
            kinds -= self._forbidden(facets, schema)
            if not kinds:
                return Contradiction(pointer=f"{pointer}/not", reason="it forbids what is left")
        found = None
        for kind in sorted(kinds):
            if (found := self._no_value_of(kind, facets)) is None:
                return None
        return found

    def _forbidden(self, facets: Facets, schema: Mapping[str, Any]) -> frozenset[str]:
        """The kinds that a `not` forbids outright."""
        match facets.get(schema, "not"):
            case True:
                return ALL_KINDS
            case Mapping() as denied if asks_nothing(denied, but="type"):
                return facets.kinds(denied)
        return frozenset()

    def _no_value_of(self, kind: str, facets: Facets) -> Contradiction | None:
        match kind:
            case "null" | "boolean":
                values = (None,) if kind == "null" else (True, False)
                if any(self._met(value, facets) for value in values):
                    return None
                return Contradiction(pointer=facets.schemas[0][0], reason=f"no {kind} meets it")
            case "string":
                return facets.crossed("minLength", "maxLength")
            case "array":
                return facets.crossed("minItems", "maxItems") or self._no_items(facets)
            case "object":
                crossed = facets.crossed("minProperties", "maxProperties")
                return crossed or facets.too_few_names() or self._no_members(facets)
        return facets.no_number(whole=kind == "integer")

    def _no_items(self, facets: Facets) -> Contradiction | None:
        for place in range(int(min(facets.least("minItems"), MAX_ITEMS))):
            if found := self._place(facets.item(place)):
                return found
        for pointer, schema in facets:
            if not facets.has(schema, "contains"):
                continue
            wanted = facets.count(schema, "minContains", 1)
            allowed = min(facets.most("maxItems"), facets.count(schema, "maxContains", wanted))
            if wanted > allowed:
                return Contradiction(
                    pointer=f"{pointer}/contains", reason="it wants more items than may be there"
                )
            if wanted and (found := self._place([(f"{pointer}/contains", schema["contains"])])):
                return found
        return None

    def _no_members(self, facets: Facets) -> Contradiction | None:
        required = facets.required()
        if len(required) > facets.most("maxProperties"):
            return Contradiction(
                pointer=next(iter(required.values())), reason="it requires more than may be there"
            )
        for name, pointer in required.items():
            names = [facets.get(schema, "propertyNames") for _, schema in facets]
            if not all(
                part is not False and (not isinstance(part, Mapping) or self._meets(name, part))
                for part in names
            ):
                return Contradiction(
                    pointer=pointer, reason=f"it requires {name!r:.60}, which is no allowed name"
                )
            if found := self._place(facets.member(name)):
                return found
        return None

    def _no_branch(self, facets: Facets) -> Contradiction | None:
        """Whether some `anyOf` or `oneOf` has no branch that can be met beside the rest."""
        for pointer, schema in facets:
            for keyword in ("anyOf", "oneOf"):
                branches = facets.get(schema, keyword)
                if not isinstance(branches, list):
                    continue
                beside = [
                    (at, _without(part, {keyword, *_JOINED} if part is schema else _JOINED))
                    for at, part in facets
                ]
                if all(
                    self._place([*beside, (f"{pointer}/{keyword}/{n}", branch)])
                    for n, branch in enumerate(branches)
                ):
                    return Contradiction(
                        pointer=f"{pointer}/{keyword}", reason="none of its branches can be met"
                    )
        return None

    def _met(self, value: Any, facets: Facets) -> bool:
        return all(self._meets(value, schema) for _, schema in facets)


def _without(schema: Mapping[str, Any], keywords: AbstractSet[str]) -> Mapping[str, Any]:
    if not schema.keys() & keywords:
        return schema
    return {key: value for key, value in schema.items() if key not in keywords}
