"""An endpoint in memory, with a clock that only moves when told: for rules about time and chance."""

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.preview.braze import (
    Channel,
    Credentials,
    MemoryAnswers,
    Profile,
    Rendering,
    Request,
    Response,
    TransportError,
    render,
)

Step = Response | TransportError | Callable[[Request], Response]


def answer(status: int = 200, body: str | bytes = "{}", **headers: str) -> Response:
    """Return a response; a keyword such as ``content_type`` becomes the header ``content-type``."""
    data = body.encode() if isinstance(body, str) else body
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


@dataclass
class World:
    """Everything a rendering is given. The endpoint plays ``steps``, the last one again and again."""

    steps: list[Step] = field(default_factory=lambda: [answer()])
    now: float = 1000.0
    takes: float = 0.01
    sent: list[Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    cache: MemoryAnswers = field(init=False)

    def __post_init__(self) -> None:
        self.cache = MemoryAnswers(lambda: self.now)

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        self.now += self.takes
        step = self.steps[min(len(self.sent), len(self.steps)) - 1]
        if isinstance(step, TransportError):
            raise step
        return step if isinstance(step, Response) else step(request)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def render(
        self,
        template: str,
        person: Profile | None = None,
        credentials: Credentials | None = None,
        channel: Channel | None = None,
    ) -> Rendering:
        return render(
            template,
            person or Profile(),
            transport=self,
            credentials=credentials or {},
            clock=lambda: self.now,
            sleep=self.sleep,
            cache=self.cache,
            channel=channel,
        )
