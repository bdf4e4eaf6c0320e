"""Put a scene into words: many wordings, of any length, each statement true of the clip."""

import random
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, TypeVar

from kinema.world import wording
from kinema.world.facts import Facts, ObjectFacts, Relation, facts
from kinema.world.mention import Mention, capitalised, mark, unmark
from kinema.world.scene import Scene

Length = Literal["short", "medium", "long"]
LENGTHS: tuple[Length, ...] = ("short", "medium", "long")
MAX_WORDS: dict[Length, int] = {"short": 12, "medium": 28, "long": 50}

__all__ = [
    "LENGTHS",
    "MAX_WORDS",
    "Caption",
    "Facts",
    "Length",
    "describe",
    "describe_with_facts",
    "facts",
    "vocabulary",
]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Caption:
    """A text about a clip and the facts that it states; what it leaves open is None in `facts`."""

    text: str
    facts: Facts
    mentions: tuple[Mention, ...] = ()
    """Where the text names objects: each time with its colour, size and material, without article."""


@dataclass(frozen=True)
class Detail:
    """How likely a caption is to mention each thing, 0 to 1."""

    size: float
    material: float
    direction: float
    floor: float
    light: float
    camera: float
    others: float
    relation: float


DETAIL: dict[Length, Detail] = {
    "short": Detail(0.3, 0.2, 0.75, 0.4, 0.3, 0.12, 0.0, 0.25),
    "medium": Detail(0.55, 0.45, 0.9, 0.7, 0.6, 0.45, 0.9, 0.6),
    "long": Detail(0.95, 0.9, 1.0, 0.95, 0.95, 0.9, 1.0, 0.9),
}


def describe(scene: Scene, seed: int, length: Length) -> str:
    """Put the scene into words: at most 12 (short), 28 (medium) or 50 (long), the same for the same seed."""
    return describe_with_facts(scene, seed, length).text


def describe_with_facts(scene: Scene, seed: int, length: Length) -> Caption:
    """Put the scene into words, and say which facts the words state, so that only those need be looked for."""
    source = random.Random(f"{seed}/{scene.seed}/{length}")
    truth = facts(scene)
    detail = DETAIL[length]
    while True:
        writer = _Writer(truth, source, detail)
        sentences = writer.sentences()
        text, mentions = unmark(_punctuate(sentences, source))
        if len(text.split()) <= MAX_WORDS[length]:
            return Caption(text, writer.stated, mentions)
        # Too long: mention less.
        detail = replace(detail, **{name: value * 0.9 for name, value in vars(detail).items()})


@cache
def vocabulary() -> frozenset[str]:
    """Every word that a caption can hold, in lower case."""
    words: set[str] = set()
    for name, value in vars(wording).items():
        if name.isupper():
            words.update(_words_in(value))
    words.update(word for shape in wording.SHAPE_WORDS.values() for word in map(_plural, shape))
    return frozenset(words)


def words_of(text: str) -> list[str]:
    """Split a text into words as `vocabulary` holds them: lower case, without punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


def _words_in(value: object) -> set[str]:
    if isinstance(value, str):
        return set(words_of(value))
    if isinstance(value, dict):
        return set().union(*map(_words_in, value.values()))
    if isinstance(value, tuple):
        return set().union(*map(_words_in, value))
    return set()


def _plural(noun: str) -> str:
    return wording.IRREGULAR_PLURALS.get(noun, noun + "s")


def _article(phrase: str) -> str:
    return "an" if phrase[0] in "aeiou" else "a"


def _punctuate(sentences: Sequence[str], source: random.Random) -> str:
    """Join sentences as people do: as prose, as a list with commas, in capitals or without, with a full stop or not."""
    style = source.random()
    if style < 0.3:
        text = ", ".join(sentences)
        return capitalised(text) if source.random() < 0.4 else text
    if style < 0.32:
        return ", ".join(sentences).upper()
    text = ". ".join(map(capitalised, sentences))
    return text + "." if source.random() < 0.8 else text


class _Writer:
    """Writes one caption, and notes in `stated` what it states."""

    def __init__(self, truth: Facts, source: random.Random, detail: Detail) -> None:
        self.truth = truth
        self.source = source
        self.detail = detail
        self.stated = Facts(objects=tuple(ObjectFacts() for _ in truth.objects))
        self.nouns: dict[int, str] = {}
        """The noun of each object mentioned so far."""
        self.count = len(truth.objects)
        self.is_alike = self.count > 1 and len(set(truth.objects)) == 1
        self.is_terse = self._chance(0.08)

    def sentences(self) -> list[str]:
        """Write the caption's sentences, without capitals and full stops."""
        core = self._core()
        others = self._others()
        asides = []
        if self.stated.light is None and self._chance(0.4 * self.detail.light):
            asides.append(self._pick(wording.LIGHT_SENTENCES[self._state("light")]))
        if self._chance(self.detail.camera):
            camera = self._camera()
            if camera.startswith("the camera") and self._chance(0.3):
                core = f"{core} while {camera}"
            else:
                asides.append(camera)
        self.source.shuffle(asides)
        if asides and self._chance(0.15):
            return [asides.pop(), core, *others, *asides]
        return [core, *others, *asides] if self._chance(0.5) else [core, *asides, *others]

    def _chance(self, share: float) -> bool:
        return self.source.random() < share

    def _pick(self, options: Sequence[_T]) -> _T:
        """Choose the plainest wording half of the time, else any."""
        return options[0] if self._chance(0.5) else self.source.choice(options)

    def _state(self, name: str) -> Any:
        """Note that the caption states a fact of the clip, and return the fact."""
        value = getattr(self.truth, name)
        self.stated = replace(self.stated, **{name: value})
        return value

    def _state_of(self, indices: Sequence[int], name: str) -> Any:
        """Note that the caption states a fact of some objects, and return it."""
        value = getattr(self.truth.objects[indices[0]], name)
        objects = [
            replace(known, **{name: value}) if index in indices else known
            for index, known in enumerate(self.stated.objects)
        ]
        self.stated = replace(self.stated, objects=tuple(objects))
        return value

    def _relate(self, relation: Relation) -> str:
        self.stated = replace(self.stated, relations=(*self.stated.relations, relation))
        return self._pick(wording.SIDE_WORDS[relation.side])

    def _core(self) -> str:
        """Say what happens, and perhaps where and when."""
        is_plural = self.is_alike and self.truth.action == "rest"
        is_gerund = self._chance(0.35)
        if not self.is_alike:
            subject = self._one(0)
        elif is_plural:
            subject = self._group()
        elif self._chance(0.4):
            subject = self._pick(wording.GROUP_GERUND if is_gerund else wording.GROUP_FINITE).format(self._group())
        else:
            subject = self._pick(wording.ONE_OF).format(self._group())
        parts = [subject, self._event(1 if is_gerund else 2 if is_plural else 0)]
        adjuncts = [part for part in (self._floor(), self._light(), self._beside()) if part]
        self.source.shuffle(adjuncts)
        if (
            self.count > 1
            and not self.is_alike
            and self.detail.others == 0
            and len(self.nouns) == 1
            and self._chance(0.6)
        ):
            adjuncts.append(self._counted())
        lead = ""
        if is_gerund and self._chance(0.6) and not subject.startswith("there"):
            opening = self._pick(wording.OPENINGS)
            lead = "" if is_plural and opening == "there is" else f"{opening} "
        elif adjuncts and self._chance(0.25):
            lead = f"{adjuncts.pop(0)}, "
        return lead + " ".join(parts + adjuncts)

    def _event(self, form: int) -> str:
        action = self._state("action")
        verb = self._pick(wording.ACTION_VERBS[action])[form]
        direction = ""
        if self.truth.direction and self._chance(self.detail.direction):
            direction = self._pick(wording.DIRECTION_WORDS[self._state("direction")])
        if action != "collide":
            return f"{verb} {direction}".strip()
        target = self._pick(wording.TARGET_OF_GROUP[self.count == 2]) if self.is_alike else self._one(1)
        if not direction:
            return f"{verb} {target}"
        approach = self._pick(wording.APPROACH_VERBS[self.truth.objects[0].shape == "ball"])[form]
        return f"{approach} {direction} and {verb} {target}"

    def _floor(self) -> str:
        if not self._chance(self.detail.floor):
            return ""
        preposition = self._pick(wording.FLOOR_PREPOSITIONS[self.truth.action or "rest"])
        return f"{preposition} {self._pick(wording.FLOOR_WORDS[self._state('floor')])}"

    def _light(self) -> str:
        if not self._chance(0.7 * self.detail.light):
            return ""
        return self._pick(wording.LIGHT_WORDS[self._state("light")])

    def _beside(self) -> str:
        """Say where the acting object is seen from another one that has not been mentioned."""
        relations = [] if self.is_alike else self._relations_of(0, without=self.nouns)
        if not relations or not self._chance(0.5 * self.detail.relation):
            return ""
        relation = self.source.choice(relations)
        return f"{self._relate(relation)} {self._one(relation.reference)}"

    def _counted(self) -> str:
        """Count the objects that are not described."""
        self._state("count")
        number = self._number(self.count - 1)
        return self._pick(wording.OTHER_OBJECTS[self.count == 2]).format(number)

    def _others(self) -> list[str]:
        """Mention the objects that do nothing, each on its own where it stands, or all together."""
        if self.is_alike:
            is_told = self.truth.action not in ("rest", "collide") and self._chance(0.3 * self.detail.others)
            return [self._pick(wording.OTHERS_REST[self.count == 2])] if is_told else []
        left = [index for index in range(self.count) if index not in self.nouns]
        if not left or not self._chance(self.detail.others):
            return []
        sentences: list[str] = []
        nearby: list[int] = []
        for index in left:
            relations = self._relations_of(index, among=self.nouns)
            if relations and self._chance(self.detail.relation):
                sentences.append(self._place(self.source.choice(relations), is_first=not sentences))
            else:
                nearby.append(index)
        if nearby:
            nouns = [self._one(index) for index in nearby]
            listed = " and ".join([", ".join(nouns[:-1]), nouns[-1]] if len(nouns) > 1 else nouns)
            stand = self._pick(wording.STAND_VERBS)[len(nouns) > 1]
            sentences.append(f"{listed} {stand} {self._pick(wording.NEARBY)}")
        return sentences

    def _place(self, relation: Relation, is_first: bool) -> str:
        """Mention a new object by where it stands, seen from one that is known."""
        side = self._relate(relation)
        stand = self._pick(wording.STAND_VERBS)[0]
        known = "it" if is_first and relation.reference == 0 and self._chance(0.5) else self._known(relation.reference)
        if self._chance(0.3):
            return f"{side} {known} {stand} {self._one(relation.subject)}"
        return f"{self._one(relation.subject)} {stand} {side} {known}"

    def _relations_of(
        self, subject: int, *, among: Container[int] | None = None, without: Container[int] = ()
    ) -> list[Relation]:
        return [
            relation
            for relation in self.truth.relations
            if relation.subject == subject
            and relation.reference not in without
            and (among is None or relation.reference in among)
        ]

    def _camera(self) -> str:
        move, direction = self._state("camera"), self._state("camera_direction")
        return self._pick(wording.CAMERA_SENTENCES[move, direction])

    def _one(self, index: int) -> str:
        """Mention one object for the first time."""
        shape = self._state_of([index], "shape")
        self.nouns[index] = self._pick(wording.SHAPE_WORDS[shape])
        phrase = " ".join([*self._adjectives([index]), self.nouns[index]])
        marked = mark(phrase, [index])
        if self.count == 1 and self._chance(0.12):
            self._state("count")
            return f"{self._pick(wording.ALONE)} {marked}"
        return marked if self.is_terse else f"{_article(phrase)} {marked}"

    def _known(self, index: int) -> str:
        """Mention an object again."""
        shapes = [thing.shape for thing in self.truth.objects]
        if shapes.count(shapes[index]) == 1 and self._chance(0.5):
            return f"the {mark(self.nouns[index], [index])}"
        colour = self._pick(wording.COLOUR_WORDS[self._state_of([index], "colour")])
        return f"the {mark(f'{colour} {self.nouns[index]}', [index])}"

    def _group(self) -> str:
        """Mention all objects at once, which are alike."""
        everyone = range(self.count)
        self._state("count")
        noun = _plural(self._pick(wording.SHAPE_WORDS[self._state_of(everyone, "shape")]))
        self.nouns = dict.fromkeys(everyone, noun)
        return " ".join([self._number(self.count), mark(" ".join([*self._adjectives(everyone), noun]), everyone)])

    def _number(self, number: int) -> str:
        word, digit = wording.NUMBER_WORDS[number]
        return digit if self._chance(0.1) else word

    def _adjectives(self, indices: Sequence[int]) -> list[str]:
        words = []
        if self._chance(self.detail.size):
            words.append(self._pick(wording.SIZE_WORDS[self._state_of(indices, "size")]))
        if self._chance(self.detail.material):
            words.append(self._pick(wording.MATERIAL_WORDS[self._state_of(indices, "material")]))
            if self._chance(0.2):
                self.source.shuffle(words)
        if self._chance(0.95):
            colour = self._pick(wording.COLOUR_WORDS[self._state_of(indices, "colour")])
            words.insert(len(words) - (1 if words and words[-1] == "metal" else 0), colour)
        return words
