"""The apps that devices ship: which is asked for, on its way to its workers, served, or refused.

    (none) -- HELLO with a bundle --> ASKED -- BUNDLE --> LOADING -- BundleLoaded --> READY
                                        |                    `------- BundleFailed --> REFUSED
                                        `--- silent for the lease, session ended, or pushed out --> (none), from any

One bundle belongs to one session and ends with it, so no two devices share the processes of one. A HELLO that comes
while its app is loading is answered when that is done. Nothing of a bundle is looked into here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


from cloud_server.batches.dispatch import Dispatcher
from cloud_server.events import BundleFailed, BundleLoaded, Command, DropBundle, LoadBundle, MessageReceived, Release, SendMessage
from cloud_server.handshake import SchedulerConfig
from cloud_server.offer import AppInfo, shipped_as
from cloud_server.refusal import refused
from cloud_server.sessions import Session
from wire.protocol import Bundle, Error, Hello

__all__ = ["WAIT", "Bundles"]

WAIT = ("", "")
"""No answer yet: it comes when the workers are ready."""

_MOST = 1024
"""Sessions that may have named a bundle, most of them not sent; each is a kilobyte."""
_ASKED, _LOADING, _READY, _REFUSED = "asked", "loading", "ready", "refused"


class _Entry:
    """The bundle of one session. Invariant: `app` is there if and only if it is READY."""

    def __init__(self, hello: Hello, event: MessageReceived, now: float) -> None:
        self.hello = hello
        self.state = _ASKED
        self.since = now
        self.heard: MessageReceived = event
        self.waiting = False
        self.app: AppInfo | None = None
        self.expires_at = 0.0
        self.problem = ""


class Bundles:
    """All bundles, by session. With no config every one is refused.

    Invariant: LOADING and READY together are at most `config.most`; the READY ones are open at the dispatcher.

    Args:
        emit: takes commands; end: ends a session and with it its bundle; again: takes a HELLO that waited.
    """

    def __init__(
        self, config: SchedulerConfig, dispatcher: Dispatcher, sessions: Mapping[int, Session], emit: Callable[[Command], None],
        end: Callable[[Session, str], None], again: Callable[[MessageReceived, float], None],
    ) -> None:
        self.config = config.ship
        self._lease = config.lease
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._emit, self._end, self._again = emit, end, again
        self.entries: dict[int, _Entry] = {}

    def offered(self, hello: Hello, event: MessageReceived, now: float) -> AppInfo | tuple[str, str] | None:
        """What there is for a HELLO: an app, installed or its own; an error's code and text, or WAIT; or nothing."""
        if hello.bundle:
            return self._shipped(hello, event, now)
        return None if "#" in hello.app else self._dispatcher.apps.get(hello.app)

    def _shipped(self, hello: Hello, event: MessageReceived, now: float) -> AppInfo | tuple[str, str]:
        if self.config is None:
            return "bundle", "this server takes no shipped apps: it was started without --ship"
        entry = self.entries.get(event.session)
        if entry is not None and self._begun_anew(entry, hello, event):
            entry = None
        if entry is None:
            if len(self.entries) >= _MOST:
                return "busy", f"{_MOST} devices ship apps; this server takes no more"
            entry = self.entries[event.session] = _Entry(hello, event, now)
        first = entry.hello, entry.heard.sender
        if (hello.bundle, hello.device, hello.app, event.sender) != (first[0].bundle, first[0].device, first[0].app, first[1]):
            return "bundle", f"session {event.session:x} shipped another app, or is another device's"
        entry.heard = event
        if entry.state == _REFUSED:
            return "bundle", entry.problem
        if entry.state == _LOADING:
            entry.waiting = True
            return WAIT
        if entry.app is None:
            return self._full(entry) or ("bundle_required", f"send the bundle of {hello.app}, at most {self.config.max_bytes} bytes")
        if now >= entry.expires_at:
            return "bundle", "the bundle has expired; start the device anew to sign another"
        return entry.app

    def _begun_anew(self, entry: _Entry, hello: Hello, event: MessageReceived) -> bool:
        """A device that resumes its session after its own death has signed its app again: what it shipped before goes."""
        if hello.bundle == entry.hello.bundle or entry.state == _LOADING:
            return False
        if (hello.device, hello.app, event.sender) != (entry.hello.device, entry.hello.app, entry.heard.sender):
            return False
        session = self._sessions.get(event.session)
        if session is not None:
            self._end(session, "its device shipped the app anew")
        self.end(event.session)
        return True

    def receive(self, event: MessageReceived, now: float) -> None:
        """A BUNDLE came: load it, if it was asked for, fits, and there is room."""
        message, entry = event.message, self.entries.get(event.session)
        assert isinstance(message, Bundle)
        if entry is None:
            self._refuse(event, "hello_required", f"no session {event.session:x} on this link: say HELLO first")
        elif entry.state != _ASKED or event.peer != entry.heard.peer:
            self._release(event)  # a second copy
        elif event.damaged:
            self._refuse(event, "bundle_required", "the bundle was damaged on its way: send it again")
        elif problem := self._why_not(message, entry, event):
            self._refuse(event, *problem)
        else:
            self._load(entry, event, now)

    def loaded(self, event: BundleLoaded, now: float) -> None:
        """Its workers are ready: serve it, and answer the HELLO that waited for it."""
        entry = self.entries.get(event.session)
        if entry is None or entry.state != _LOADING:
            return  # it was dropped meanwhile
        if (event.app.name, event.app.fingerprint) != (entry.hello.app, entry.hello.fingerprint):
            text = f"it holds app {event.app.name!r} with fingerprint {event.app.fingerprint}, not what its header says"
            self.failed(BundleFailed(event.session, text), now)
            self._emit(DropBundle(shipped_as(entry.hello, event.session)))
            return
        assert self.config is not None
        entry.state, entry.since, entry.app, entry.expires_at = _READY, now, event.app, now + event.expires_in
        name = shipped_as(entry.hello, event.session)
        self._dispatcher.open(name, event.app, event.workers)
        if entry.waiting:
            self._again(entry.heard, now)

    def failed(self, event: BundleFailed, now: float) -> None:
        """It is refused, also if it was served up to now; its device is told."""
        entry = self.entries.get(event.session)
        if entry is None:
            return
        self._emit(SendMessage(entry.heard.peer, Error("bundle", event.text), event.session))
        if entry.app is not None:
            session = self._sessions.get(event.session)
            if session is not None:
                self._end(session, event.text)
            self.end(event.session)
        else:
            entry.state, entry.since, entry.problem = _REFUSED, now, event.text

    def end(self, session: int) -> None:
        """The session is over, and with it its bundle."""
        entry = self.entries.pop(session, None)
        if entry is None or entry.state not in (_LOADING, _READY):
            return
        name = shipped_as(entry.hello, session)
        self._dispatcher.close(name)
        self._emit(DropBundle(name))

    def sweep(self, now: float) -> None:
        """Forget those that nobody came back for."""
        for number, entry in list(self.entries.items()):
            if number not in self._sessions and entry.state != _LOADING and now - entry.since > self._lease:
                self.end(number)

    def _load(self, entry: _Entry, event: MessageReceived, now: float) -> None:
        older = self._older(entry)
        if older is not None:
            self.failed(BundleFailed(older, "its device shipped another app since"), now)
        entry.state, entry.since = _LOADING, now
        hello = entry.hello
        self._emit(LoadBundle(
            event.session, shipped_as(hello, event.session), event.token, hello.bundle, hello.app, hello.app_version, hello.fingerprint,
            hello.device,
        ))
        self._release(event)

    def _release(self, event: MessageReceived) -> None:
        if event.token:
            self._emit(Release(event.token))

    def _refuse(self, event: MessageReceived, code: str, text: str) -> None:
        for command in refused(event, code, text):
            self._emit(command)

    def _why_not(self, message: Bundle, entry: _Entry, event: MessageReceived) -> tuple[str, str] | None:
        assert self.config is not None
        if message.digest != entry.hello.bundle or not event.token:
            return "bundle", "this is not the bundle that HELLO named"
        if event.nbytes > self.config.max_bytes:
            return "bundle", f"the bundle has {event.nbytes} bytes; this server takes {self.config.max_bytes} (--max-bundle)"
        return self._full(entry)

    def _full(self, entry: _Entry) -> tuple[str, str] | None:
        assert self.config is not None
        if self._busy < self.config.most or self._older(entry) is not None:
            return None
        return "busy", f"{self.config.most} shipped apps are the most this server takes at a time (--max-bundles)"

    def _older(self, entry: _Entry) -> int | None:
        """Where there is no room, the one that this device shipped before goes: it has begun anew since."""
        assert self.config is not None
        if self._busy < self.config.most:
            return None
        return next((number for number, each in self.entries.items() if _before(each.hello, entry.hello) and each.app), None)

    @property
    def _busy(self) -> int:
        return sum(entry.state in (_LOADING, _READY) for entry in self.entries.values())


def _before(one: Hello, other: Hello) -> bool:
    """True if a device shipped the first before it began anew with the other: not beside it, for another cloud of one race."""
    return one.device == other.device and (one.bundle != other.bundle or one.variant == other.variant)
