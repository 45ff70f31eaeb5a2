"""A user's hooks around a race, called where nothing waits for them: on a thread of their own, or on the lane of stages with state.

    send_when    on the worker that ran the stages before it, see iot_client/executor.py
    merge        on the thread "hooks"            extrapolate  likewise
    on_late      between the runs of stages with state if there are any, else on the thread "hooks"

What one raises costs its frame and is told by the hook's name: "merge: ValueError: ...".
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Union

from iot_client.events import Combine, Combined, Extrapolate, HookFailed, OfferLate, Sending
from iot_client.racing.config import RaceConfig
from iot_client.session_config import SessionConfig
from tasks import DROP, END, App, Runner, Speculative
from tasks.causes import BROKEN, cause
from tasks.speculation import LateFrame
from tasks.values import freeze, keep_fields
from wire.codecs import parse_codec

__all__ = ["Hooks"]

Answer = Callable[[Union[Combined, HookFailed], Any, None], None]
_Job = tuple[Union[Combine, Extrapolate, OfferLate], Any, Any]


class Hooks:
    """The hooks of one app's race.

    Args:
        stage: has them.
        race: which of them the machine may ask for.
        corrects: stages with state that have an `on_late` of their own.
        final: the race's stage is the last one, so that what stands keeps only the fields in `want`.
        answer: called with (Combined, value, None) for what was asked, and with HookFailed, on the hook's thread.
    """

    def __init__(
        self, stage: Speculative, race: RaceConfig, *, corrects: tuple[int, ...] = (), final: bool = False,
        want: tuple[str, ...] | None = None, answer: Answer,
    ) -> None:
        self._stage = stage
        self._race = race
        self._corrects = corrects
        self._final = final
        self._want = want
        self._answer = answer
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if race.merges or race.extrapolates or race.tells_late:
            self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)

    @classmethod
    def of(cls, app: App, config: SessionConfig, want: tuple[str, ...] | None, answer: Answer) -> Hooks | None:
        """Those of this app in a session; None if it declares no race, or there is nobody to race with."""
        if app.race is None or app.speculation is None or config.race is None:
            return None
        return cls(app.race, config.race, corrects=app.speculation.corrects, final=config.pivot == app.n, want=want, answer=answer)

    def start(self) -> None:
        """Have the thread ready, if there is anything for it."""
        if self._thread is not None:
            self._thread.start()

    def close(self, patience: float = 2.0) -> bool:
        """End the thread; True if it is gone within `patience` seconds."""
        if self._thread is None or not self._thread.is_alive():
            return True
        self._jobs.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def put(self, command: Combine | Extrapolate | OfferLate, first: Any, second: Any) -> None:
        """Have a hook called with these: merge(local, cloud), extrapolate(last, seconds) or on_late(frame, value)."""
        self._jobs.put((command, first, second))

    def sending(self, value: Any) -> Sending:
        """What `send_when` says of a value at the cut.

        Raises:
            Exception, SystemExit: what it raised. TypeError, ValueError: it answered what is not legal.
        """
        send = self._stage.send(value)
        if send is None:
            return Sending(clouds=())
        if send.codec:
            parse_codec(send.codec)
        wrong = [rank for rank in send.clouds or () if rank >= self._race.twin]
        if wrong:
            raise ValueError(f"Send: clouds={send.clouds!r}; legal: ranks from 0 to {self._race.twin - 1}, for this race's clouds")
        return Sending(send.deadline, send.until, send.codec, send.clouds)

    def late(self, frame: LateFrame, value: Any, runner: Runner | None = None) -> None:
        """Offer a late answer to the app's `on_late`, and to the stages with state that have one, which `runner` runs."""
        if self._stage.on_late is not None:
            try:
                self._stage.on_late(frame, value)
            except BROKEN as error:
                self._answer(HookFailed("on_late", cause(error)), None, None)
        if runner is not None:
            self._correct(runner, frame, value)

    def _correct(self, runner: Runner, frame: LateFrame, value: Any) -> None:
        for index in self._corrects:
            problem = runner.correct(index, frame, value)
            if problem:
                self._answer(HookFailed("on_late", f"stage {runner.stages[index].stage_name!r}: {problem}"), None, None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            command, first, second = job
            if isinstance(command, OfferLate):
                self.late(first, second)
            elif isinstance(command, Combine):
                self._combine(command.seq, "merge", self._stage.merge, first, second)
            else:
                self._combine(command.seq, "extrapolate", self._stage.extrapolate, first, second)
            del job, first, second  # else the last values' memory is kept until the next come

    def _combine(self, seq: int, name: str, hook: Callable[[Any, Any], Any] | None, first: Any, second: Any) -> None:
        assert hook is not None, f"the machine asked for {name}, which this app has not"
        try:
            value = hook(first, second)
            if value is END:
                raise TypeError("returned END; only the source may (use DROP to filter)")
            freeze(value)
        except BROKEN as error:
            self._answer(Combined(seq, "failed", f"{name}: {cause(error)}"), None, None)
            return
        if value is DROP:
            self._answer(Combined(seq, "filtered"), None, None)
        else:
            self._answer(Combined(seq, "done"), keep_fields(value, self._want) if self._final else value, None)
