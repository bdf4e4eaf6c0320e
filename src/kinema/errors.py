"""Every error that a person can cause or meet, so that programs can catch what they handle.

KinemaError
├── SpecError (also ValueError)   a request that does not fit: prompt, size, length, option, configuration
├── CheckpointError               a model folder that is missing, damaged, or not what its configuration says
├── MediaError                    a video or picture that cannot be read or written
├── DataError                     a training or evaluation data set that cannot be used
├── JobError                      a job of the queue or of the server
│   ├── JobNotFound               no job of that name
│   └── JobCancelled              the job was stopped before it ended
├── DeviceMemoryError             the model or the clip is too large for the device
└── DirectorError                 the language model gave no usable answer

A message says what was given, what is accepted, and what to type instead. `kinema.cli` prints it on one line and maps
the class to an exit code; a traceback is shown with `--debug` only.
"""

from pathlib import Path

CLONE = Path(__file__).parents[2]
"""The clone of Kinema that is installed in place; where Kinema was installed otherwise, some folder."""


class KinemaError(Exception):
    """Anything that Kinema refuses or fails to do, with a message for the person who asked."""


class SpecError(KinemaError, ValueError):
    """A request or configuration that does not fit; the message names the nearest that does."""


class CheckpointError(KinemaError):
    """A model folder that cannot be loaded or saved; the message names the file and the tensor."""


class MediaError(KinemaError):
    """A video or picture that cannot be read or written; the message names the file."""


class DataError(KinemaError):
    """A data set that cannot be used; the message names the file or the clip."""


class JobError(KinemaError):
    """A job that cannot be done."""


class JobNotFound(JobError):  # noqa: N818 - it reads as the answer that it is, and as HTTP's "not found"
    """There is no such job."""


class JobCancelled(JobError):  # noqa: N818 - an outcome, not a fault
    """The job was stopped before it ended."""


class DeviceMemoryError(KinemaError):
    """The device has too little memory; the message says what to make smaller."""


class DirectorError(KinemaError):
    """The language model gave no usable answer."""


def how_to_install(extra: str) -> str:
    """The command that brings an extra, such as "serve": it works from any folder where Kinema runs from its clone."""
    if (CLONE / "constraints.txt").exists():
        return f"pip install -e '{'.' if Path.cwd() == CLONE else CLONE}[{extra}]'"
    return f"pip install '.[{extra}]' in a clone of Kinema"


def first_line(error: BaseException) -> str:
    """What another library's error says first, or its name where it says nothing; cut short for a message of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
