"""`/{slug}/live/study`: a study that a visitor runs, from the form to what it found. Nothing of it is recorded."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from flask import Response, g, redirect, request
from pyarrow import feather
from werkzeug.wrappers import Response as BaseResponse

from atlas import Atlas
from atlas.core.jsonable import dumps
from atlas.core.overlay import Overlaid
from atlas.topics.live import StudyWanted
from atlas.topics.tables import column_comments
from web.site import urls
from web.site.errors import NotServedError
from web.site.page import AtlasPage, atlas_fields, doc, find_atlas, page, wants_card, wants_json
from web.site.same_site import refuse_other_sites
from web.site.urls import AtlasRef, Blueprint
from web.views.live import Trouble, fleeting, live_of, typed
from web.views.study import StudyPage, study
from web.workers.live.errors import LiveRefused, error_of
from web.workers.live.live import Live, Status

blueprint = Blueprint("live_study", __name__)
blueprint.after_request(fleeting)

FIELDS = ("clean", "corrupt", "answer", "other")
_TABLES = ("study", "study_prompt", "study_prediction", "study_step", "study_edge")
_LONGEST_FORM = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LiveStudyPage(AtlasPage, template="live_study.html"):
    """The form that runs a study."""

    clean: str = field(metadata=doc("The prompt after which the answer is expected."))
    corrupt: str = field(metadata=doc("The prompt of as many tokens after which the other token is expected."))
    answer: str = field(metadata=doc("Text of the token expected after the clean prompt."))
    other: str = field(metadata=doc("Text of the token it is weighed against."))


@dataclass(frozen=True, kw_only=True)
class LiveProgressPage(AtlasPage, template="live_progress.html"):
    """How a study that a visitor runs is getting on."""

    state: str = field(metadata=doc("'waiting', 'running' or 'done'."))
    loading: bool = field(metadata=doc("Whether the model is still being loaded."))
    before: int = field(metadata=doc("Studies that wait before it."))
    done: int = field(metadata=doc("Forward passes done."))
    planned: int = field(metadata=doc("Forward passes in all; 0: not known yet."))
    seconds: float = field(metadata=doc("Seconds since it began."))
    asked: dict[str, str] = field(metadata=doc("The prompts, both tokens, and the command that would record it."))
    result: str = field(metadata=doc("Where its result will be."))
    again: str = field(metadata=doc("The form, filled in the same way.", json=False))
    trouble: Trouble | None = field(metadata=doc("Why it has no result; null if nothing went wrong."))

    @property
    def status(self) -> int:
        """200, or what the trouble is answered with."""
        return self.trouble.status if self.trouble else 200


@dataclass(frozen=True, kw_only=True)
class LiveResultPage(StudyPage, template="live_result.html"):
    """What a visitor's study found: the page of a recorded one, of what is not recorded."""

    again: str = field(metadata=doc("The form, filled in the same way.", json=False))


@page(blueprint, "/<atlas:ref>/live/study", kept=False)
def live_study(atlas: Atlas) -> LiveStudyPage:
    """The form."""
    live_of(g.ref)
    prompts: dict[str, Any] = {name: request.args.get(name, "") for name in FIELDS}
    return LiveStudyPage(
        title="Run a study",
        url=urls.to("live_study", g.ref, **{name: text for name, text in prompts.items() if text}),
        **atlas_fields(atlas),
        description=f"An experiment on {atlas.info.model_name}: two prompts, and the neurons that make the difference.",
        **prompts,
    )


@blueprint.post("/<atlas:ref>/live/study")
def run_study(ref: AtlasRef) -> BaseResponse:
    """Run a study: form fields `clean`, `corrupt`, `answer`, `other`.

    Answers 303 to its progress; to a client that wants JSON 202 with `{"name", "url"}`.
    """
    refuse_other_sites("This form is on another site: from a browser, studies are run by this site's own form only.")
    g.ref = ref
    atlas, live = find_atlas(ref), live_of(ref)
    request.max_content_length = request.max_form_memory_size = _LONGEST_FORM
    prompts = {name: typed(live, name, request.form) for name in FIELDS}
    for name, text in prompts.items():
        if not text:
            raise LiveRefused(f"{name} is missing; expected all of {', '.join(FIELDS)}.")
    command = shlex.join(["atlas", "study", atlas.path.name, "--name", "mine"])
    command += "".join(f" --{name} {shlex.quote(text)}" for name, text in prompts.items())
    name = live.study(atlas, StudyWanted(**prompts, means=live.means(atlas), command=command, folder=""))
    url = urls.to("live_progress", ref, name)
    if request.accept_mimetypes.best != "application/json":
        return redirect(url, 303)
    started = {"name": name, "url": url}
    return Response(dumps(started), 202, {"Location": url}, mimetype="application/json")


@page(blueprint, "/<atlas:ref>/live/study/<name>", kept=False)
def live_progress(atlas: Atlas, name: str) -> LiveProgressPage | BaseResponse:
    """How it is getting on; leads to the result when there is one."""
    status = _status(live_of(g.ref), name)
    if status.state == "done" and status.error is None and not (wants_json() or wants_card()):
        return redirect(urls.to("live_result", g.ref, name), 303)
    done, planned = status.progress or (0, 0)
    error = None if status.error is None else error_of(status.error)
    return LiveProgressPage(
        title="Study under way",
        url=urls.to("live_progress", g.ref, name),
        **atlas_fields(atlas),
        description=f"A study of {atlas.info.model_name} that a visitor runs.",
        state=status.state,
        loading=status.loading,
        before=status.before,
        done=done,
        planned=planned,
        seconds=status.seconds,
        asked=status.shown,
        result=urls.to("live_result", g.ref, name),
        again=_again(status),
        trouble=None if error is None else Trouble(error.code, str(error), error.status),
    )


@page(blueprint, "/<atlas:ref>/live/study/<name>/result", kept=False)
def live_result(atlas: Atlas, name: str) -> LiveResultPage | BaseResponse:
    """What it found, while it is kept."""
    status = _status(live_of(g.ref), name)
    if status.state != "done" or status.error is not None:
        return redirect(urls.to("live_progress", g.ref, name), 303)
    with Overlaid(atlas, _tables(Path(status.folder), name)) as overlaid:
        studied: Any = study(overlaid, "live")
    return LiveResultPage(
        **{item.name: getattr(studied, item.name) for item in fields(studied)}
        | {
            "title": "Study, not recorded",
            "url": urls.to("live_result", g.ref, name),
            "definitions": column_comments(atlas, "study"),
            "panels": {},  # what is not in the file cannot be asked of it
        },
        again=_again(status),
    )


def _again(status: Status) -> str:
    return urls.to("live_study", g.ref, **{name: status.shown[name] for name in FIELDS})


def _status(live: Live, name: str) -> Status:
    status = live.status(name)
    if status is None:
        raise _gone(name)
    return status


def _tables(folder: Path, name: str) -> dict[str, Any]:
    try:
        return {table: feather.read_table(folder / f"{table}.arrow", memory_map=False) for table in _TABLES}
    except FileNotFoundError as error:
        raise _gone(name) from error


def _gone(name: str) -> NotServedError:
    return NotServedError(
        f"There is no study {name!r} under way here: results are kept for an hour, and none is recorded. Run it again.",
        urls.to("live_study", g.ref),
    )
