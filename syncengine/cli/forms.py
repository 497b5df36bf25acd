"""`syncengine forms`: the space's forms and options, under the names that `[fields]` takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import CONFIG, Call, with_shared_options
from syncengine.cli.output import Page, printable
from syncengine.cli.words import plural

if TYPE_CHECKING:
    from syncengine.qomon import Form, Forms, QomonClient

TITLES = {
    "consent": "Consents",
    "level_of_support": "Levels of support",
    "survey": "Surveys",
    "custom_fields": "Custom fields",
    "tasks": "Tasks",
    "presence_status": "Presences",
}


def _type_of(_ctx: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    """Return the type of form that a kind or a type means."""
    from syncengine.qomon.forms import KINDS  # noqa: PLC0415 - not needed for --help

    types = {kind: name for name, kind in KINDS.items()} | {name: name for name in KINDS}
    if given is not None and given not in types:
        raise click.BadParameter(f"{given!r} is none; they are {', '.join(KINDS.values())}")
    return None if given is None else types[given]


@click.command(short_help="The space's forms and options, as [fields] names them.")
@click.option(
    "--kind", "only", metavar="KIND", callback=_type_of, help="Only of this kind, such as consents."
)
@with_shared_options
def forms(call: Call, *, only: str | None) -> int:
    """List the forms of the space with their options, each under the name to use in [fields].

    Reads only: one request of one token for each of the six kinds. Needs nothing but [destination] and the
    API key, from a configuration, the environment or --set.
    """
    from syncengine.cli.asking import ask  # noqa: PLC0415 - not needed for --help
    from syncengine.cli.naming import field_name  # noqa: PLC0415 - as above
    from syncengine.cli.usable import destination_of  # noqa: PLC0415 - as above

    async def read(client: QomonClient) -> Forms:
        return await client.forms(*filter(None, [only]))

    found = ask(destination_of(call, needs_file=call.config != Path(CONFIG)), read)
    content = {"forms": [_as_json(form, field_name(form, found)) for form in found]}
    return call.show(content, lambda page: write_forms(page, found, only))


def _as_json(form: Form, field: str) -> dict[str, Any]:
    return {
        "kind": form.kind,
        "type": form.type,
        "id": form.id,
        "label": form.label,
        "field": field,
        "widget": form.widget,
        "options": [
            {"id": option.id, "label": option.label, "value": option.value} for option in form.options
        ],
    }


def write_forms(page: Page, forms: Forms, only: str | None) -> None:
    """Write the forms kind by kind."""
    from syncengine.qomon.forms import KINDS  # noqa: PLC0415 - not needed for --help

    what = f"forms of the kind {KINDS[only]}" if only else "forms"
    if not len(forms):
        page.line(f"The space has no {what}. They are made in its settings in Qomon, not by API.")
        return
    for name, kind in KINDS.items():
        some = [form for form in forms if form.type == name]
        if some:
            page.line(f"{TITLES[name]} ({kind})", style="bold")
            for form in some:
                _write_form(page, form, forms)
            page.line()
    page.line(
        f"{plural(len(forms), 'form')}. In [fields] write the name in quotes, then the column; options by "
        'value: "custom_fields.Size" = { column = "size", values = { "small" = "S" } }'
    )


def _write_form(page: Page, form: Form, forms: Forms) -> None:
    from syncengine.cli.naming import entry, field_name, quoted  # noqa: PLC0415 - not needed for --help

    name = field_name(form, forms)
    label = "" if name == f"{form.kind}.{form.label}" else f" {form.label!r}"
    _row(page, f"  {quoted(name)}", f"#{form.id}{label}, {entry(form)}", room=40)
    if form.has_options:
        width = max((len(option.value or option.label) for option in form.options), default=0)
        for option in form.options:
            value = option.value or option.label
            label = option.label if option.label != value else ""
            text = f"      {printable(value):<{min(width, 30)}}  {printable(label)}".rstrip()
            _row(page, text, f"#{option.id}" if option.id else "", room=40)


def _row(page: Page, text: str, note: str, *, room: int) -> None:
    page.console.print(f"{text:<{room}}  " if note else text, end="" if note else "\n", soft_wrap=True)
    if note:
        page.console.print(note, style="dim", soft_wrap=True)
