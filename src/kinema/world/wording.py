"""The words that captions of the demo world are made of. In each list the plainest wording comes first.

`{}` stands for what the list's comment names. Every word that a caption can hold stands in this file.
"""

from kinema.world.facts import Side
from kinema.world.scene import (
    Action,
    CameraDirection,
    CameraMove,
    Colour,
    Direction,
    Floor,
    Light,
    Material,
    Shape,
    Size,
)

Words = tuple[str, ...]
Verb = tuple[str, ...]
"""One object does it; an object doing it; and where needed several do it: "rests", "resting", "rest"."""

SHAPE_WORDS: dict[Shape, Words] = {
    "ball": ("ball", "sphere"),
    "box": ("box", "cube"),
    "cylinder": ("cylinder", "drum", "can"),
    "cone": ("cone",),
    "capsule": ("capsule", "pill"),
}
IRREGULAR_PLURALS: dict[str, str] = {"box": "boxes"}

COLOUR_WORDS: dict[Colour, Words] = {
    "red": ("red",),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "cyan": ("cyan", "turquoise"),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
}
SIZE_WORDS: dict[Size, Words] = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
MATERIAL_WORDS: dict[Material, Words] = {
    "matte": ("matte", "dull"),
    "glossy": ("glossy", "shiny"),
    "metal": ("metal", "metallic"),
}
NUMBER_WORDS: dict[int, Words] = {1: ("one", "1"), 2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4")}

ACTION_VERBS: dict[Action, tuple[Verb, ...]] = {
    "rest": (
        ("rests", "resting", "rest"),
        ("stands still", "standing still", "stand still"),
        ("stays still", "staying still", "stay still"),
        ("sits still", "sitting still", "sit still"),
        ("does not move", "not moving", "do not move"),
        ("stands motionless", "standing motionless", "stand motionless"),
    ),
    "roll": (("rolls", "rolling"), ("is rolling", "that rolls")),
    "slide": (
        ("slides", "sliding"),
        ("glides", "gliding"),
        ("is sliding", "that slides"),
    ),
    "tumble": (
        ("tumbles", "tumbling"),
        ("tumbles end over end", "tumbling end over end"),
        ("somersaults", "somersaulting"),
    ),
    "bounce": (
        ("bounces", "bouncing"),
        ("bounces up and down", "bouncing up and down"),
        ("drops and bounces", "dropping and bouncing"),
        ("is bouncing", "that bounces"),
    ),
    "fall": (
        ("falls", "falling"),
        ("falls down", "falling down"),
        ("drops to the ground", "dropping to the ground"),
        ("falls from above", "falling from above"),
        ("drops down without bouncing", "dropping down without bouncing"),
    ),
    "spin": (
        ("spins", "spinning"),
        ("spins in place", "spinning in place"),
        ("rotates", "rotating"),
        ("turns on the spot", "turning on the spot"),
        ("whirls around", "whirling around"),
    ),
    "swing": (
        ("swings", "swinging"),
        ("swings on a rope", "swinging on a rope"),
        ("swings from a rope", "swinging from a rope"),
        ("swings back and forth", "swinging back and forth"),
        ("hangs from a rope and swings", "hanging from a rope and swinging"),
    ),
    "rise": (
        ("rises", "rising"),
        ("floats up", "floating up"),
        ("floats upwards", "floating upwards"),
        ("rises into the air", "rising into the air"),
        ("lifts off", "lifting off"),
    ),
    "collide": (
        ("hits", "hitting"),
        ("bumps into", "bumping into"),
        ("knocks into", "knocking into"),
        ("collides with", "colliding with"),
        ("strikes", "striking"),
    ),
}
APPROACH_VERBS: dict[bool, tuple[Verb, ...]] = {
    True: (("rolls", "rolling"), ("moves", "moving")),
    False: (("slides", "sliding"), ("moves", "moving")),
}
"""How a ball (True) or something else moves before it collides."""

DIRECTION_WORDS: dict[Direction, Words] = {
    "left": ("to the left", "left", "leftwards", "from right to left", "towards the left"),
    "right": ("to the right", "right", "rightwards", "from left to right", "towards the right"),
}

FLOOR_WORDS: dict[Floor, Words] = {
    "wood": ("a wooden floor", "wooden boards", "a wood floor"),
    "tiles": ("a tiled floor", "tiles", "floor tiles"),
    "grass": ("grass", "the grass", "a lawn", "a meadow"),
    "sand": ("sand", "the sand", "sandy ground"),
    "snow": ("snow", "the snow", "snowy ground"),
    "checker": ("a checkered floor", "a checkerboard", "a checkerboard floor"),
}
FLOOR_PREPOSITIONS: dict[Action, Words] = {
    "rest": ("on",),
    "roll": ("on", "over", "across"),
    "slide": ("on", "over", "across"),
    "tumble": ("on", "over", "across"),
    "bounce": ("on",),
    "fall": ("onto", "on"),
    "spin": ("on",),
    "swing": ("over", "above"),
    "rise": ("above", "over", "from"),
    "collide": ("on",),
}

LIGHT_WORDS: dict[Light, Words] = {
    "noon": ("at noon", "in bright daylight", "on a sunny day", "at midday"),
    "overcast": ("on a cloudy day", "under an overcast sky", "in overcast weather", "under grey clouds"),
    "sunset": ("at sunset", "in the evening", "in evening light", "in the light of sunset"),
    "night": ("at night", "in the dark of night", "under the night sky"),
}
LIGHT_SENTENCES: dict[Light, Words] = {
    "noon": ("it is noon", "the sun is high"),
    "overcast": ("it is a cloudy day", "the sky is overcast"),
    "sunset": ("the sun is setting", "it is evening"),
    "night": ("it is night", "night scene"),
}

CAMERA_SENTENCES: dict[tuple[CameraMove, CameraDirection | None], Words] = {
    ("fixed", None): (
        "the camera stays still",
        "static camera",
        "fixed camera",
        "the camera does not move",
        "still shot",
    ),
    ("pan", "left"): ("the camera pans left", "the camera pans to the left", "pan left", "camera panning left"),
    ("pan", "right"): ("the camera pans right", "the camera pans to the right", "pan right", "camera panning right"),
    ("orbit", "left"): ("the camera orbits left", "the camera circles to the left", "orbit to the left"),
    ("orbit", "right"): ("the camera orbits right", "the camera circles to the right", "orbit to the right"),
    ("dolly", "in"): ("the camera moves in", "the camera moves closer", "dolly in", "the camera pushes in"),
    ("dolly", "out"): ("the camera moves out", "the camera pulls back", "dolly out", "the camera moves away"),
    ("tilt", "up"): ("the camera tilts up", "the camera tilts upwards", "tilt up", "camera tilting up"),
    ("tilt", "down"): ("the camera tilts down", "the camera tilts downwards", "tilt down", "camera tilting down"),
}

SIDE_WORDS: dict[Side, Words] = {
    "left of": ("to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "right of", "on the right of"),
    "in front of": ("in front of",),
    "behind": ("behind", "in back of"),
}
STAND_VERBS: tuple[tuple[str, str], ...] = (("stands", "stand"), ("is", "are"), ("rests", "rest"))
"""Where one object, or several, stay."""
NEARBY: Words = ("nearby", "close by", "in the picture", "too")

OPENINGS: Words = ("a video of", "a clip of", "footage of", "a shot of", "we see", "there is", "video of")
"""Before an object doing something: "a video of a red ball rolling"."""
ONE_OF: Words = ("one of {}", "one of the {}")
"""Before a group of which one acts: "one of three red balls"."""
GROUP_FINITE: Words = ("{}, one of which", "there are {} and one", "{} and one of them")
"""A group, before what one of it does."""
GROUP_GERUND: Words = ("{}, one of them", "{} with one")
"""A group, before what one of it is doing: "three red balls, one of them rolling"."""
OTHERS_REST: dict[bool, Words] = {
    True: ("the other rests", "the other stays still", "the other does not move"),
    False: ("the others rest", "the others stay still", "the others do not move"),
}
"""What the rest of a group does; True if that is one object."""
OTHER_OBJECTS: dict[bool, Words] = {
    True: ("with {} other object", "with another object"),
    False: ("with {} other objects", "with {} more objects", "with {} other things"),
}
"""Objects that are only counted, `{}` being the number; True if there is one."""
TARGET_OF_GROUP: dict[bool, Words] = {True: ("the other", "the other one"), False: ("another", "another one")}
"""What is hit, in a group of equal objects; True if only one other is there."""
ALONE: Words = ("a single", "one", "a lone")
"""Before an object that is alone in the clip, instead of "a"."""
LINKS: Words = ("a", "an", "the", "and", "it", "while")
"""Words that join the others."""
