"""What crosses a cut: which fields a job is sent, what may be lost of them, and what comes back.

A job runs stages [start, stop) elsewhere on the value at the cut, which the device keeps. Where each of these
stages declares what it reads and writes, only the fields that are read cross, only those that were written come
back, and the device puts them into the record it kept. So a field that only passes through never travels, and a
loss on the way out never shows in a result.

    device   crossing = applies(value, app.crossing(start, stop))       # crossing.sends, crossing.lossy
    server   crossing = applies(received, app.crossing(start, stop))
             answer = returned(value, crossing, want, whole)
    device   value = merged(kept, answer, crossing, want, whole)

Both sides derive the same Crossing from the same declarations, which the fingerprint compares. What they cannot
derive is whether the stages kept the kind of value: image -> record, record -> number. So where `returns` is not
None an answer is always a pair `(trimmed, fields or value)`, plain data that any payload can carry, and the server,
which sees both ends of the job, trims only if the value began as a record and ended as one of the same class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tasks.task import Task
from tasks.values import fields_of, is_record, keep_fields, with_fields

__all__ = [
    "Crossing", "Loss", "applies", "crossing_of", "declaration", "loss_of", "losses_of_first", "merged", "returned", "strictest",
    "words_of",
]

Want = tuple[str, ...] | None

_WORD = re.compile(r"(jpeg|width):([1-9][0-9]{0,4})|(fp16|int8)")
_BITS = {"fp16": 16, "int8": 8}
_FLOATS = {0: "", 16: "fp16", 8: "int8"}


class Loss(msgspec.Struct, frozen=True):
    """What may be lost: of an image JPEG of this quality or better (1 to 100), reduced to `width` pixels or more; of
    floats all but so many `bits` of each.

    `quality` 0: images come as they are; `width` 0: they keep their size; `bits` 0: floats come as they are, else 16 or 8.
    """

    quality: int = 0
    width: int = 0
    bits: int = 0

    def permits(self, family: str) -> bool:
        """Whether a codec of this family, as wire.codecs names it, may be used; one that loses nothing always may."""
        return self.quality > 0 if family == "jpeg" else 0 < self.bits <= _BITS[family] if family in _BITS else True


class Crossing(msgspec.Struct, frozen=True):
    """What crosses for one job.

    Args:
        sends: fields that must be sent; None: the whole value.
        returns: fields the job's stages may have written, which must come back; None: the whole value.
        lossy: field -> what may be lost of it; "" stands for a value that is no record and for all fields of one,
            for which `applies` names them.
        kind: the class of the value at the cut, if that is a record; `applies` sets it.
    """

    sends: frozenset[str] | None
    returns: frozenset[str] | None
    lossy: dict[str, Loss]
    kind: type | None = None


def crossing_of(stages: Sequence[Task]) -> Crossing:
    """What crosses for a job of these stages.

    If all of them declare `reads` and `writes`, a field is sent if a stage reads it before an earlier one has
    written it, and may be lossy if all that read it before it is overwritten accept that; the strictest counts.

    Otherwise everything crosses both ways, and the losses are those of the first stage alone, since later stages
    see what it hands on. A first stage that declares `writes` hands the other fields on as they came, so only what it
    overwrites may be lossy; one that does not is taken to make all of its output.
    """
    if all(stage.reads is not None and stage.writes is not None for stage in stages):
        return _declared(stages)
    return Crossing(None, None, losses_of_first(stages[0]))


def applies(value: Any, crossing: Crossing) -> Crossing:
    """`crossing` for this value at the cut, on either side: what is no record has no fields, so it crosses whole."""
    if is_record(value):
        lossy = crossing.lossy
        if "" in lossy:
            lossy = {**dict.fromkeys(fields_of(value), lossy[""]), **{field: loss for field, loss in lossy.items() if field}}
        return Crossing(crossing.sends, crossing.returns, lossy, value.__class__)
    return Crossing(None, crossing.returns, {field: loss for field, loss in crossing.lossy.items() if field == ""})


def returned(value: Any, crossing: Crossing, want: Want, whole: bool) -> Any:
    """What a server sends back of a job's last value.

    Args:
        value: what the job's last stage returned.
        crossing: of the job, made by `applies` with the value it started from; without that nothing is trimmed.
        want: fields of a final value to keep, as in `keep_fields`.
        whole: True if the device goes on with the value, False if it is final.

    Returns:
        With `crossing.returns` None the value, thinned out by `keep_fields` if it is final. Otherwise a pair:
        `(True, the fields in returns)`, or `(False, the same value)` where the job made another kind of value.
    """
    trims = crossing.kind is value.__class__ and is_record(value)
    if crossing.returns is None or not trims:
        answer = value if whole else keep_fields(value, want)
        return answer if crossing.returns is None else (False, answer)
    fields = fields_of(value) if whole else keep_fields(value, want)
    return True, {name: item for name, item in fields.items() if name in crossing.returns}


def merged(kept: Any, came: Any, crossing: Crossing, want: Want, whole: bool) -> Any:
    """What the device would have had, had it run the job itself: the value it kept with what came back put in.

    Args:
        kept: the value before the cut; it is not changed.
        came: what `returned` gave.
        crossing, want, whole: as for `returned`; `applies` makes no difference here.

    Returns:
        If `whole` a value of kept's class, else what `keep_fields` gives of the final value, in its order.

    Raises:
        ValueError: `came` is nothing that `returned` gives for this job.
    """
    if crossing.returns is None:
        return came
    if came.__class__ is not tuple or len(came) != 2 or came[0].__class__ is not bool:
        raise ValueError(f"an answer is a pair (trimmed, value) here, not {type(came).__name__}")
    trimmed, answer = came
    if not trimmed:
        return answer
    _check_answer(kept, answer, crossing.returns)
    return _put_in(kept, answer, crossing.returns) if whole else _put_in_final(kept, answer, crossing.returns, want)


def loss_of(words: Iterable[str]) -> Loss | None:
    """What these words of `Task.accepts` permit; None: nothing.

    Raises:
        ValueError: they are not legal; the text finishes "accepts: ".
    """
    if isinstance(words, str) or not isinstance(words, (tuple, list)):
        raise ValueError(f"must be a tuple of words, not {words!r}")
    found: dict[str, int] = {}
    for word in words:
        match = _WORD.fullmatch(word) if isinstance(word, str) else None
        if not match or (match[1] == "jpeg" and int(match[2]) > 100):
            raise ValueError(
                f"{word!r}; legal are 'jpeg:Q' with a quality Q from 1 to 100, 'width:W' with W pixels from 1 to 99999, 'fp16' and 'int8'"
            )
        kind = match[1] or "bits"
        if kind in found:
            raise ValueError("of 'fp16' and 'int8' one says it all: 'int8' permits both" if match[3] else f"{kind} is given twice")
        found[kind] = _BITS[match[3]] if match[3] else int(match[2])
    if "width" in found and "jpeg" not in found:
        raise ValueError("'width:W' needs a 'jpeg:Q' beside it")
    return Loss(found.get("jpeg", 0), found.get("width", 0), found.get("bits", 0)) if found else None


def words_of(loss: Loss) -> tuple[str, ...]:
    """The words of `Task.accepts` that permit this loss."""
    found = f"jpeg:{loss.quality}" if loss.quality else "", f"width:{loss.width}" if loss.width else "", _FLOATS[loss.bits]
    return tuple(filter(None, found))


def declaration(stage: Task) -> list[Any]:
    """What a stage declares about fields, as plain data that is equal for equal declarations."""
    fields = [None if names is None else sorted(names) for names in (stage.reads, stage.writes)]
    accepts = stage.accepts
    return [*fields, {key: sorted(words) for key, words in accepts.items()} if isinstance(accepts, Mapping) else sorted(accepts)]


def _declared(stages: Sequence[Task]) -> Crossing:
    sends: set[str] = set()
    writes: set[str] = set()
    for stage in stages:
        sends |= set(stage.reads or ()) - writes
        writes |= set(stage.writes or ())
    losses = {field: strictest([_loss(stage, field) for stage in _readers(stages, field)]) for field in sorted(sends)}
    return Crossing(frozenset(sends), frozenset(writes), {field: loss for field, loss in losses.items() if loss})


def _readers(stages: Sequence[Task], field: str) -> Iterable[Task]:
    """The stages that see a field as it was sent."""
    for stage in stages:
        if field in (stage.reads or ()):
            yield stage
        if field in (stage.writes or ()):
            return


def _loss(stage: Task, field: str) -> Loss | None:
    accepts = stage.accepts
    return loss_of(accepts.get(field, ()) if isinstance(accepts, Mapping) else accepts)


def strictest(losses: Sequence[Loss | None]) -> Loss | None:
    """What all of them permit."""
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses):
        return None
    most = Loss(*(max(values) if all(values) else 0 for values in zip(*map(msgspec.structs.astuple, known))))
    most = most if most.quality else Loss(bits=most.bits)
    return most if most.quality or most.bits else None


def losses_of_first(first: Task) -> dict[str, Loss]:
    """What may be lost where everything crosses both ways, by the first stage of a job."""
    if isinstance(first.accepts, Mapping):
        names: Iterable[str] = first.accepts
    elif first.reads is not None:
        names = first.reads
    else:
        names = [""] if first.writes is None else first.writes
    losses = {name: _loss(first, name) for name in names if first.writes is None or name in first.writes}
    return {name: loss for name, loss in losses.items() if loss}


def _check_answer(kept: Any, answer: Any, returns: frozenset[str]) -> None:
    if not is_record(kept) or answer.__class__ is not dict:
        raise ValueError(f"fields ({type(answer).__name__}) came back for a {type(kept).__name__}, and only a dict can, for a record")
    legal = returns if isinstance(kept, dict) else returns.intersection(fields_of(kept))
    for name in answer:
        if name not in legal:
            raise ValueError(f"the field {name!r} came back; this job's stages write only {', '.join(sorted(legal)) or 'none'}")


def _put_in(kept: Any, answer: dict[str, Any], returns: frozenset[str]) -> Any:
    if isinstance(kept, dict):  # a key that did not come back was removed
        kept = {name: item for name, item in kept.items() if name in answer or name not in returns}
    return with_fields(kept, answer)


def _put_in_final(kept: Any, answer: dict[str, Any], returns: frozenset[str], want: Want) -> dict[str, Any]:
    """A field that passed through is kept's, by the same rule; one that may have been written is there if it came."""
    passed = keep_fields(kept, want)
    chosen = {name: answer if name in returns else passed for name in (*fields_of(kept), *answer)}
    return {name: fields[name] for name, fields in chosen.items() if name in fields}
