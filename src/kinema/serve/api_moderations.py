"""`/v1/moderations`: what the policy of this server thinks of a text."""

import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.faults import Fault
from kinema.serve.forms import read_body
from kinema.serve.moderation import CATEGORIES, Policy
from kinema.serve.schema import Moderate, ModeratedPart

router = APIRouter(prefix="/v1", tags=["moderations"])

NAME = "kinema-policy"


@router.post("/moderations")
async def moderate(request: Request, api: ApiIs, caller: CallerIs) -> dict[str, Any]:  # noqa: ARG001
    """Tell which categories texts fall under; the scores are 0 or 1, since rules have no doubts."""
    asked = Moderate.model_validate(await read_body(request, api.settings.max_upload_bytes))
    texts = _texts(asked)
    policy = api.policy.policy
    results = await run_in_threadpool(lambda: [_result(policy, text) for text in texts])
    return {"id": f"modr-{uuid.uuid4().hex}", "model": NAME, "results": results}


def _texts(asked: Moderate) -> list[str]:
    if isinstance(asked.input, str):
        return [asked.input]
    inputs: Sequence[str | ModeratedPart] = asked.input
    texts: list[str] = []
    is_mixed = False
    for i, part in enumerate(inputs):
        if isinstance(part, str):
            texts.append(part)
            continue
        if part.type == "image_url":
            raise Fault(400, "pictures are not judged here, texts are", code="unsupported", param=f"input.{i}")
        texts.append(part.text or "")
        is_mixed = True
    return ["\n".join(texts)] if is_mixed else texts


def _result(policy: Policy, text: str) -> dict[str, Any]:
    flagged = policy.flags(text)
    return {
        "flagged": bool(flagged),
        "categories": {category: category in flagged for category in CATEGORIES},
        "category_scores": {category: float(category in flagged) for category in CATEGORIES},
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
        "blocked": any(category in policy.block for category in flagged),
    }
