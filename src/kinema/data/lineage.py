"""What a result depends on, as one short text: equal texts mean that nothing has to be done again."""

import hashlib
import json
from typing import Any

from kinema import config

LENGTH = 32
"""Hexadecimal digits of a fingerprint: 128 bits."""


def fingerprint(*parts: Any) -> str:
    """Hash texts, numbers, lists, dictionaries and configurations into 32 hexadecimal digits."""
    plain = [config.to_dict(part) if hasattr(part, "__dataclass_fields__") else part for part in parts]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
