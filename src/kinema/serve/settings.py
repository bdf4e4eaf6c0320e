"""What an operator can set, and the limits that a key has."""

from dataclasses import dataclass, field

from kinema.errors import SpecError
from kinema.serve.outward import Outward


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """How the queue behaves."""

    lease_s: float = 30.0
    """A worker that is silent for so long has lost its job."""
    max_attempts: int = 3
    """How often a job is started before it is set apart as failed."""
    backoff_s: float = 2.0
    """Wait before the second start; doubled for each one after."""
    max_queued: int = 1000
    """Jobs that may wait; one more is refused."""
    keep_s: float = 30 * 86400.0
    """How long a finished job and its files are kept."""
    retry_window_s: float = 600.0
    """How long a request that its client repeats is recognised without an idempotency key."""
    idempotency_s: float = 86400.0
    """How long an idempotency key is remembered."""

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        for name in ("lease_s", "keep_s", "retry_window_s", "idempotency_s"):
            if getattr(self, name) <= 0:
                raise SpecError(f"{name}={getattr(self, name):g} does not fit; it takes a number above 0")
        for name in ("max_attempts", "max_queued"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name}={getattr(self, name)} does not fit; it takes a whole number from 1 up")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one owner may have; None is no limit."""

    max_jobs: int | None = None
    """Jobs that wait or run at the same time."""
    requests_per_minute: int | None = None
    """New jobs within a minute."""
    calls_per_minute: int | None = None
    """Requests of any kind within a minute; without keys, for each address that they come from."""
    video_s_per_day: float | None = None
    """Seconds of video asked for within 24 hours."""
    stored_bytes: int | None = None
    """Bytes of all files that are kept."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How the server behaves."""

    models: tuple[str, ...] = ("mini",)
    """Models that are offered; the first is the default."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names of models, {"sora-2": "mini"}; `sora-2` and `sora-2-pro` mean the first model unless given here."""
    queue: QueueSettings = field(default_factory=QueueSettings)
    limits: Limits = field(default_factory=Limits)
    """Limits of owners that have none of their own."""
    max_upload_bytes: int = 64 * 2**20
    max_pixels: int = 1920 * 1088
    """Largest width times height."""
    max_seconds: float = 20.0
    """Longest video of one request."""
    max_extended_s: float = 120.0
    """Longest video that extensions may add up to."""
    public_url: str | None = None
    """How others reach this server, such as https://video.example.com; None = as the request was addressed."""
    policy: str | None = None
    """File with the policy of what must not be asked for; None = the one that comes with Kinema."""
    allowed_networks: tuple[str, ...] = ()
    """Private networks that webhooks and fetched pictures may reach, such as 10.0.0.0/8."""

    def __post_init__(self) -> None:
        """Refuse aliases that lead nowhere."""
        if not self.models:
            raise SpecError("no model is given; give one, such as mini")
        for alias, model in self.aliases.items():
            if model not in self.models:
                raise SpecError(f"alias {alias}={model} leads to no served model; served: {', '.join(self.models)}")
        Outward(allowed=self.allowed_networks)

    def model_of(self, name: str | None) -> str | None:
        """The served model of a name, an alias, or None for the default; None when there is no such model."""
        if name is None:
            return self.models[0]
        if name in self.models:
            return name
        if name in self.aliases:
            return self.aliases[name]
        return self.models[0] if name in SORA_NAMES else None


SORA_NAMES = ("sora-2", "sora-2-pro")
"""Names that clients of the closed API send."""
