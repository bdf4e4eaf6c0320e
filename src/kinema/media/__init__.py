"""Videos and pictures, in and out of files, frame by frame so that long clips need no memory.

Frames are uint8 RGB arrays, "h w 3" each and "f h w 3" together. What is written depends on the ending of the file:
`.mp4` H.264 and `.webm` VP9 (both 4:2:0, which wants even sides), `.gif`, `.webp` (animated), `.png` (one frame). The
same frames, rate and metadata give the same bytes. A file appears under its name only when it is whole.
"""

from kinema.media.formats import Frame
from kinema.media.graphics import kitty, sixel
from kinema.media.live import PIPES, LiveWriter, PipeWriter, check_live, check_pipe, partial_of
from kinema.media.read import MediaInfo, Video, iter_frames, probe, read_image, read_metadata, read_video
from kinema.media.sheet import Spread, contact_sheet
from kinema.media.terminal import half_blocks
from kinema.media.write import ENDINGS, VideoWriter, check_output, write_video

__all__ = [
    "ENDINGS",
    "PIPES",
    "Frame",
    "LiveWriter",
    "MediaInfo",
    "PipeWriter",
    "Spread",
    "Video",
    "VideoWriter",
    "check_live",
    "check_output",
    "check_pipe",
    "contact_sheet",
    "half_blocks",
    "iter_frames",
    "kitty",
    "partial_of",
    "probe",
    "read_image",
    "read_metadata",
    "read_video",
    "sixel",
    "write_video",
]
