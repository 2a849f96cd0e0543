"""``ken inject``, ``ken info``, ``ken verify``: what is done with a subnetwork file."""

from __future__ import annotations

from typing import Annotated

import typer

from ken.cli import options
from ken.cli.part_commands import at_work
from ken.errors import printable


def inject(
    net: options.Net,
    pretrained: options.Model,
    out: Annotated[str, typer.Option("-o", "--out", help="The checkpoint folder to write; it must not exist yet.")],
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    timeout: options.GroupTimeout = None,
) -> None:
    """Inject the subnetwork NET into PRETRAINED and write an ordinary checkpoint folder."""
    from ken.api import load
    from ken.injection.export import export
    from ken.models.checkpoints.remote.urls import shown
    from ken.storage.uploads import files_in

    subnetwork = load(net)
    with at_work(workers, scheduler, timeout) as executor:
        source = subnetwork if executor is None else net
        folder = export(source, pretrained, out, executor=executor, timeout=timeout)
    print(
        "\n".join(
            [
                f"{shown(str(folder))}: {', '.join(files_in(folder))}",
                *(f"note: {printable(note)}" for note in subnetwork.notes),
            ]
        )
    )


def info(
    net: options.Net,
    as_json: Annotated[bool, typer.Option("--json", help="Plain data, for programs.")] = False,
) -> None:
    """Say what is in the subnetwork file NET. Only its header is read."""
    import json

    from ken.storage.info import describe, text

    description = describe(net)
    print(json.dumps(description, indent=2) if as_json else text(description))


def verify(
    net: options.Net,
    pretrained: options.AnyModel = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    timeout: options.GroupTimeout = None,
) -> None:
    """Check that NET is whole and, with PRETRAINED, that it belongs to that model and injects as promised."""
    from ken.api import verify
    from ken.models.checkpoints.remote.urls import name_of, shown

    with at_work(workers, scheduler, timeout) as executor:
        verified = verify(net, pretrained, executor=executor, timeout=timeout)
    tried = "" if pretrained is None else f", and it injects into {name_of(pretrained)} as promised"
    print(f"{shown(net)}: all {len(verified)} tensors are whole{tried}.")
