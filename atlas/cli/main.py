"""The command line: one group whose commands each package registers as entry points of `atlas.commands`."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from atlas.cli import streams
from atlas.core.db import program_version
from atlas.core.display import visible_lines
from atlas.core.errors import AtlasError

_EXTRAS = {"ingest": "neuron-atlas[ingest]"}
"""What to install for the commands of a package; the others come with the program itself."""


class MissingExtraError(AtlasError):
    """A command's libraries are not installed."""


def _missing(point: EntryPoint, error: ImportError) -> click.Command:
    """Stands in for a command that cannot be imported: it is listed, and says what to install when it is run."""
    requirement = _EXTRAS.get(point.module.split(".")[0], "neuron-atlas")

    @click.command(
        point.name,
        short_help=f"(not installed: pip install '{requirement}')",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    )
    def command() -> None:
        raise MissingExtraError(
            f"`atlas {point.name}` needs libraries that are not installed ({error}). "
            f"Install them: pip install '{requirement}'"
        )

    return command


class AtlasGroup(click.Group):
    """A group that imports a command when it is asked for, and turns the program's own errors into messages."""

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group="atlas.commands")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the registered commands."""
        return sorted(self._points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now; None if no package registers it."""
        point = self._points().get(cmd_name)
        if point is None:
            return None
        try:
            return point.load()
        except ImportError as error:
            return _missing(point, error)

    def main(self, *args: Any, **options: Any) -> Any:
        """The program: what it prints is written, or its status is 1."""
        streams.settle()
        try:
            return super().main(*args, **options)
        except OSError as error:  # Of click's own texts: of a command see `invoke`.
            streams.give_up(error)
            raise SystemExit(1) from None
        finally:
            streams.finish()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that are no text: neither DuckDB nor the libraries open a file of such a name."""
        for argument in args:
            if not argument.isprintable() and any("\ud800" <= char <= "\udfff" for char in argument):
                raise click.ClickException(
                    f"The argument {argument!r} is not text in the encoding of this system "
                    f"({sys.getfilesystemencoding()}). Rename the file, or set a locale of UTF-8 (LC_ALL=C.UTF-8)."
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an AtlasError ends it with its text and status 1, as does what the operating system
        refuses; Ctrl-C with status 130."""
        try:
            return super().invoke(ctx)
        except AtlasError as error:
            # What stands in a file, or in its name, does not get to command the terminal.
            raise click.ClickException(visible_lines(str(error))) from error
        except OSError as error:
            if error.filename == streams.STDOUT:
                streams.give_up(error)
                ctx.exit(1)
            raise click.ClickException(streams.refusal(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=AtlasGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(program_version(), prog_name="atlas", message="%(prog)s %(version)s")
def main() -> None:
    """Every MLP neuron of a language model on a page: make an atlas, read it, serve it."""
