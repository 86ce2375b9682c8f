"""The life of a container from ADD to DEL, whole or with one breakage after the other."""

from dataclasses import dataclass, field

from differential.case import Case
from netns.attached import find_differences, made_attached
from netns.breakage import Breakage
from netns.crossing import find_lost


@dataclass(frozen=True)
class Life:
    """What was seen of one container from ADD to DEL.

    Args:
        refusal: why ADD was refused; empty when it was not.
        described: the attributes that its resources have, as `Resource.attribute`.
        wrong: what is wrong after ADD, though nothing was broken.
        changed: what CHECK and the dry run have changed.
        left: what is left after DEL.
    """

    refusal: str
    described: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def live(case: Case) -> Life:
    """Attach a container, look at it, and detach it."""
    with made_attached(case) as attached:
        before = attached.find_remains()
        refusal = attached.add()
        if refusal:
            return Life(refusal, left=sorted(attached.find_remains() - before))
        first = attached.snapshot()
        faults = [str(fault["what"]) for fault in attached.find_faults()]
        wrong = faults + ([attached.call("CHECK").error] if attached.is_checked() else [])
        changed = find_differences(first, attached.snapshot())
        attributes, words = attached.list_attributes(), attached.find_words()
        wrong += [f"lost: {what}" for what in find_lost(dict(attached.describe()), attached.ifname)]
        wrong.append(attached.call("DEL").error)
        left = sorted(attached.find_remains() - before - {f"link {words['bridge']}"})
        return Life("", attributes, [what for what in wrong if what], changed, left)


@dataclass(frozen=True)
class Broken:
    """What came of breaking one container's attachment.

    Args:
        refusal: why ADD was refused; empty when it was not.
        described: the attributes that its resources have, as `Resource.attribute`.
        problems: what was not named, or not mended; nothing more was broken then.
        unfit: breakages of which nothing was there to break.
    """

    refusal: str
    described: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)


def break_each(
    case: Case, breakages: list[Breakage], is_reference: bool = False, is_first: bool = True
) -> Broken:
    """Attach a container, and break it by one breakage after the other; see `Attached.try_breakage`."""
    with made_attached(case, is_reference) as attached:
        refusal = attached.add()
        if refusal:
            return Broken(refusal)
        words, attributes = attached.find_words(), attached.list_attributes()
        unfit = []
        for breakage in breakages:
            fitting = [described for name, described in attached.describe() if breakage.fits(name, described)]
            if breakage.attribute.startswith("AddressLease.") and not attached.has_leases():
                fitting = []
            unfit += [] if fitting else [str(breakage)]
            for described in fitting:
                for filled in breakage.calc_words(described, words):
                    problems = attached.try_breakage(breakage, filled, is_first)
                    if problems:
                        return Broken("", attributes, problems)
        return Broken("", attributes, [], unfit)
