"""The `syncengine` command and its subcommands."""

import click

from syncengine import __version__
from syncengine.cli.adopt import adopt
from syncengine.cli.demo import demo
from syncengine.cli.doctor import doctor
from syncengine.cli.explain import explain
from syncengine.cli.forget import forget
from syncengine.cli.forms import forms
from syncengine.cli.init import init
from syncengine.cli.load import load
from syncengine.cli.plan import plan
from syncengine.cli.probe import probe
from syncengine.cli.problems import problems
from syncengine.cli.sandbox import sandbox
from syncengine.cli.status import status
from syncengine.cli.sync import sync
from syncengine.cli.verify import verify

COMMANDS = (
    demo,
    init,
    forms,
    doctor,
    probe,
    load,
    plan,
    adopt,
    sync,
    verify,
    status,
    problems,
    explain,
    forget,
    sandbox,
)
"""In the order in which a newcomer needs them."""


class _InOrder(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="syncengine")
def app() -> None:
    """Keep a Qomon space in step with your own list of people.

    New here? `syncengine demo` shows the whole job on this machine in under a minute.

    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 finished with problems, 4 stopped on purpose
    before the end, 5 another syncengine is at work, 130 and 143 interrupted.
    """


for command in COMMANDS:
    app.add_command(command)
