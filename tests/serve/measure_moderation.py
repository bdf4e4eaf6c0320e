"""How often the policy errs on the written lists: `python tests/serve/measure_moderation.py [POLICY]`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from kinema.serve.moderation import Policy, PolicyFile


@dataclass
class Counts:
    """Prompts of one kind, and those of them on which the policy is wrong."""

    total: int = 0
    wrong: list[str] = field(default_factory=list)


def measure(policy: Policy, name: str) -> dict[str, Counts]:
    """Counts by kind for a list in this folder: `allow`, and each category that is to be blocked (or `any`)."""
    counts: dict[str, Counts] = {}
    for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines():
        label, *category, prompt = line.split("\t")
        here = counts.setdefault(category[0] if category else ("allow" if label == "allow" else "any"), Counts())
        here.total += 1
        is_blocked = any(category in policy.block for category in policy.flags(prompt))
        if is_blocked is (label == "allow"):
            here.wrong.append(prompt)
    return counts


if __name__ == "__main__":
    measured = PolicyFile(sys.argv[1] if len(sys.argv) > 1 else None).policy
    for name in ("prompts.tsv", "prompts_unseen.tsv"):
        found = measure(measured, name)
        allowed, bad = found["allow"], [counts for kind, counts in found.items() if kind != "allow"]
        missed, total = sum(len(each.wrong) for each in bad), sum(each.total for each in bad)
        sys.stdout.write(
            f"{name}: false positives {len(allowed.wrong)}/{allowed.total}, false negatives {missed}/{total}\n"
        )
        sys.stdout.writelines(f"    {kind}: {prompt}\n" for kind, counts in found.items() for prompt in counts.wrong)
