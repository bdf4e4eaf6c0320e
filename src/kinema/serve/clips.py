"""Videos that requests bring, stored as clean ones that a model can go on from."""

import json

from kinema.config import to_dict
from kinema.scratch import scratch_folder
from kinema.serve.capabilities import Capabilities
from kinema.serve.child import run_child
from kinema.serve.clip_terms import CLEAN, FORMATS, Terms
from kinema.serve.edits import Source
from kinema.serve.faults import Fault
from kinema.serve.forms import Upload
from kinema.serve.pictures import Pictures

MAX_PIXELS = 4096 * 2304
"""Largest video that is decoded; it is made smaller for the model anyway."""

TIMEOUT_S = 240.0


def store_clip(upload: Upload, pictures: Pictures, model: Capabilities, max_s: float, name: str = "video") -> Source:
    """Store a video beside the pictures of requests, kept as long as they are: until no job needs it.

    It is decoded in a child process with limits. What is stored has no sound, the model's own frame rate, the size with
    the nearest proportions at the model's number of pixels, and a length of whole latent frames; what it said of its
    origin goes along. `name` is the field of the request. Raises Fault and MediaError, which begins with it.
    """
    if upload.ending not in FORMATS:
        raise Fault(400, f"{name} is no video that is read here; send mp4 or webm", code="invalid_value", param=name)
    terms = Terms(model=model, max_pixels=MAX_PIXELS, max_seconds=max_s)
    with scratch_folder() as folder:
        file = f"file.{upload.ending}"
        (folder / file).write_bytes(upload.content)
        arguments = (file, json.dumps(to_dict(terms)))
        told = run_child("kinema.serve.clip_child", folder, *arguments, what=name, timeout_s=TIMEOUT_S)
        stored = pictures.keep((folder / CLEAN).read_bytes(), "mp4")
    held, fps = json.loads(told), model.defaults.fps
    seconds = (int(held["frames"]) - 1) / fps
    return Source(video=stored, seconds=seconds, fps=fps, width=int(held["width"]), height=int(held["height"]))
