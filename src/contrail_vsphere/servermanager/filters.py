"""``where``: which objects are meant, as an expression over their fields. Pure.

The seed era put the text of ``--where`` into an SQL statement. What people wrote there is understood here, and nothing
else: comparisons joined by ``and``, ``or`` and ``not``. A field is a name of the object's document, with dots into it
(``tag.rack``); a list is equal to each of its entries. Numbers compare as numbers, everything else as text.

    cluster_id = 'c1' and (roles = 'controller' or host_name like 'db%') and not state in ('provisioned', 'checked')
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from contrail_vsphere.model.errors import InvalidArgument

LONGEST: Final = 2000
"""Letters of an expression."""
DEEPEST: Final = 20
"""Parentheses within one another."""
HINT: Final = "cluster_id = 'c1' and roles = 'controller'"

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*'|\"[^\"]*\")|(?P<sign><=|>=|<>|!=|==|=|<|>|\(|\)|,)|(?P<word>[^\s'\"<>=!(),]+))"
)
_WORDS: Final = ("and", "or", "not", "in", "like", "is", "null")

Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(expression: str, *, fields: Collection[str] = ()) -> Test:
    """The expression as a test of documents; ``InvalidArgument`` says where it is not understood.

    ``fields`` are names that a document may leave out; the test refuses other names that the document does not have.
    """
    if len(expression) > LONGEST:
        raise InvalidArgument(f"the expression has more than {LONGEST} letters", hint=HINT)
    reader = _Reader(_tokens(expression), fields)
    test = reader.alternatives(DEEPEST)
    reader.end()
    return test


def _tokens(expression: str) -> list[_Token]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise InvalidArgument(f"not understood from letter {at + 1} on: {expression[at : at + 20]!r}", hint=HINT)
        kind = str(match.lastgroup)
        text = match[kind]
        if kind == "text":
            text = text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
        elif kind == "word" and text.lower() in _WORDS:
            kind, text = "keyword", text.lower()
        found.append(_Token(kind, text, match.start(match.lastgroup or 0) + 1))
        at = match.end()
    return [*found, _Token("end", "", len(expression) + 1)]


class _Reader:
    """Recursive descent, one method per level of binding."""

    def __init__(self, tokens: list[_Token], fields: Collection[str]) -> None:
        self._tokens = tokens
        self._fields = fields
        self._place = 0

    def alternatives(self, depth: int) -> Test:
        tests = [self._together(depth)]
        while self._take("keyword", "or"):
            tests.append(self._together(depth))
        return tests[0] if len(tests) == 1 else lambda document: any(test(document) for test in tests)

    def end(self) -> None:
        if self._now.kind != "end":
            raise self._error("'and' or 'or' is expected")

    def _together(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._take("keyword", "and"):
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda document: all(test(document) for test in tests)

    def _one(self, depth: int) -> Test:
        if depth == 0:
            raise self._error("nested too deeply")
        if self._take("keyword", "not"):
            inner = self._one(depth - 1)
            return lambda document: not inner(document)
        if self._take("sign", "("):
            inner = self.alternatives(depth - 1)
            self._need("sign", ")")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        if self._now.kind != "word" or not re.match(r"[A-Za-z_]", self._now.text):
            raise self._error("a field is expected")
        field = self._next().text
        negated = self._take("keyword", "not")
        if self._take("keyword", "like"):
            return self._test(field, _like(self._value()), negated=negated)
        if self._take("keyword", "in"):
            return self._test(field, _among(self._values()), negated=negated)
        if negated:
            raise self._error("'like' or 'in' is expected")
        if self._take("keyword", "is"):
            negated = self._take("keyword", "not")
            self._need("keyword", "null")
            return self._test(field, lambda value: value in (None, ""), negated=negated)
        if self._now.kind == "sign" and self._now.text in _SIGNS:
            matches, negated = _SIGNS[self._next().text]
            wanted = self._value()
            return self._test(field, lambda value: matches(*_comparable(value, wanted)), negated=negated)
        raise self._error("a comparison is expected: = != < <= > >= like in is")

    def _test(self, field: str, matches: Callable[[Any], bool], *, negated: bool) -> Test:
        first, *others = field.split(".")

        def test(document: Mapping[str, Any]) -> bool:
            if first not in document and first not in self._fields:
                known = ", ".join(sorted({*document, *self._fields}))
                raise InvalidArgument(f"no field {first!r}", hint=f"fields: {known}")
            value = document.get(first)
            for step in others:
                value = value.get(step) if isinstance(value, Mapping) else None
            entries = value if isinstance(value, list) and value else [None if value == [] else value]
            return any(matches(each) for each in entries) != negated

        return test

    def _values(self) -> list[str]:
        self._need("sign", "(")
        values = [self._value()]
        while self._take("sign", ","):
            values.append(self._value())
        self._need("sign", ")")
        return values

    def _value(self) -> str:
        if self._now.kind not in ("text", "word"):
            raise self._error("a value is expected, text in quotes")
        return self._next().text

    @property
    def _now(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def _take(self, kind: str, text: str) -> bool:
        fits = (self._now.kind, self._now.text) == (kind, text)
        self._place += fits
        return fits

    def _need(self, kind: str, text: str) -> None:
        if not self._take(kind, text):
            raise self._error(f"{text!r} is expected")

    def _error(self, message: str) -> InvalidArgument:
        found = f"found {self._now.text!r}" if self._now.kind != "end" else "found the end"
        return InvalidArgument(f"letter {self._now.at}: {message}, {found}", hint=HINT)


_SIGNS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], bool]]] = {
    "=": (lambda a, b: a == b, False),
    "==": (lambda a, b: a == b, False),
    "!=": (lambda a, b: a == b, True),
    "<>": (lambda a, b: a == b, True),
    "<": (lambda a, b: a < b, False),
    "<=": (lambda a, b: a <= b, False),
    ">": (lambda a, b: a > b, False),
    ">=": (lambda a, b: a >= b, False),
}
"""What each asks of an entry, and whether it holds where no entry has it."""


def _comparable(value: Any, wanted: str) -> tuple[Any, Any]:
    """Both as numbers where both are, else both as text; what is not there is an empty text."""
    text = _text(value)
    if re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) and re.fullmatch(r"-?[0-9]{1,18}", wanted, re.ASCII):
        return int(text), int(wanted)
    return text, wanted


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _like(pattern: str) -> Callable[[Any], bool]:
    # As in SQL: % is anything, _ one letter, and case does not count.
    parts = [{"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in re.sub("%+", "%", pattern)]
    expression = re.compile("".join(parts), re.I | re.S)
    return lambda value: expression.fullmatch(_text(value)) is not None


def _among(values: list[str]) -> Callable[[Any], bool]:
    return lambda value: any(a == b for a, b in (_comparable(value, each) for each in values))
