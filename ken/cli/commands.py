"""``ken …``: the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ken import __version__
from ken.cli import diff_command, effects_commands, net_commands, options, part_commands, report_command, sweep_command
from ken.cli.arguments import bandwidth_of, budget, budget_text
from ken.cli.terminal import ctrl_c, in_a_line, show_anything
from ken.cli.views_package import require_kenviz
from ken.errors import BudgetError, KenError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prune a fine-tuned transformer against its pretrained model, and see what was retained.",
)

_SHARES = (0.75, 0.5, 0.25)
_SHOWN = 0.5  # the share that the report of the demo looks at


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the table and the report.")] = Path("ken-demo"),
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the random rule; the table shows their mean.")] = 1,
    force: options.Force = False,
) -> None:
    """Fine-tune a real model (or take the cached one), prune it, evaluate, write a table and a report."""
    require_kenviz("demo")
    import ken.demo
    from ken.cli.sweep_summary import summary
    from ken.evaluation.sweep import sweep
    from ken.storage.atomic_files import write_text
    from ken.storage.file_kinds import PAGE, TABLE
    from ken.storage.outputs import check_outputs

    table, page = out / "results.csv", out / "report.html"
    check_outputs([(table, TABLE), (page, PAGE)], ken.demo.places(), overwrite=force, new_folder=True)
    out.mkdir(parents=True, exist_ok=True)
    if ken.demo.cached():
        print("Taking the fine-tuned model from the cache.")
    else:
        print("Fine-tuning MiniLM on the spot: a few minutes, once. The result is cached.")
    pair = ken.demo.pair()
    print(f"Task: which of {len(pair.label_names)} libraries wrote a docstring; {len(pair.texts):,} held-out texts.")

    results = sweep(pair, _SHARES, ["ken", "random"], evaluate=pair.evaluate, seeds=range(seeds))
    write_text(table, results.to_csv(index=False))
    print(f"\n{summary(results)}\n")
    draws = "one draw" if seeds == 1 else f"the mean of {seeds} draws"
    print(f"± is one standard error of the held-out texts; 'random' is {draws} (--seeds takes more).")

    import kenviz

    net = ken.prune(pair.fine_tuned, pair.pretrained, _SHOWN)
    title = "What KEN kept of a fine-tuned MiniLM"
    report = kenviz.report(net, pair, page, title=title, results=results, metric="accuracy", overwrite=force)
    print(f"\nTable:  {table}\nReport: {report}")
    print("Open the report in a browser; then `make lab`, and notebooks/01_quickstart.ipynb, to explore by hand.")


@app.command()
def prune(
    fine_tuned: options.Tuned,
    pretrained: options.Base = None,
    out: Annotated[
        str, typer.Option("-o", "--out", help="The subnetwork file to write: a path, or a URL; with --part a folder.")
    ] = "",
    k: Annotated[
        str | None, typer.Option("-k", help=f"{options.K_HELP}. Every rule needs it but changed, which has none.")
    ] = None,
    rule: options.Rule = "ken",
    seed: Annotated[int, typer.Option(help="Seed of random rules.")] = 0,
    on: options.On = "weights",
    bandwidth: options.Bandwidth = "normal reference",
    kernel: options.Kernel = "gaussian",
    scope: options.Scope = "row",
    rescale: options.Rescale = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    layers_only: options.LayersOnly = False,
    rows: options.Rows = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Store retained values as they are: larger, plain tensors.")
    ] = False,
    force: options.Force = False,
    part: Annotated[str | None, typer.Option(help="Make one part alone, such as 7/64, in the folder OUT.")] = None,
    parts: Annotated[int | None, typer.Option(min=1, help="How many parts, for --plan or workers.")] = None,
    planned: Annotated[bool, typer.Option("--plan", help="Print what each of --parts reads; make none.")] = False,
    copies: options.Copies = False,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    timeout: options.Timeout = None,
    parts_folder: options.PartsFolder = None,
) -> None:
    """Prune FINE_TUNED against PRETRAINED and write what is retained into a file, or a part of it (see ken join)."""
    from ken.models.checkpoints.remote.urls import shown
    from ken.pruning.prune import prune
    from ken.storage.uploads import size_of, target

    entries = None if k is None else budget(k)
    settings: dict[str, Any] = {
        "fine_tuned": fine_tuned,
        "pretrained": pretrained,
        "k": entries,
        "rule": rule,
        "seed": seed,
        "on": on,
        "bandwidth": bandwidth_of(bandwidth),
        "kernel": kernel,
        "scope": scope,
        "rescale": rescale,
        "include": include or (),
        "exclude": exclude or (),
        "layers_only": layers_only,
        "rows": _cuts(rows),
        "raw": raw,
    }
    at_work = workers is not None or scheduler is not None
    if planned or (parts is not None and not at_work):
        if not planned or (parts is None and part is None):
            raise KenError(
                "--parts and --plan go together: --parts 64 --plan; or --parts and --workers or --scheduler; a part is "
                "made by --part 7/64"
            )
        part_commands.print_plan(parts or part_commands.part_of(str(part))[1], settings)
        return
    if not out:
        raise typer.BadParameter("the file to write, or with --part the folder, must be given", param_hint="-o / --out")
    if part is not None:
        part_commands.prune_part(part, out, settings, copies=copies)
        return
    with part_commands.at_work(workers, scheduler) as executor:
        words = {"executor": executor, "parts": parts, "parts_folder": parts_folder, "timeout": timeout}
        net = prune(**settings, **words, copies=copies, out=out, overwrite=force)
    shared = {"row": "", "tensor": ", shared by those of a tensor", "model": ", shared by those of all tensors"}[scope]
    taken = "" if entries is None else f"k = {k} was taken for {budget_text(entries)}{shared}.\n"
    print(f"{net}\n{taken}{shown(out)}: {size_of(target(out)):,} bytes")


@app.command()
def plan(
    model: Annotated[str, typer.Argument(help="Folder, config.json, .safetensors file, or place on the hub.")],
    k: Annotated[str | None, typer.Option("-k", help=f"{options.K_HELP}.")] = None,
    total: Annotated[float | None, typer.Option(help="Find the k that retains about so many entries (80e6).")] = None,
    model_class: Annotated[
        str | None, typer.Option("--class", help="transformers class, such as BertForSequenceClassification.")
    ] = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    layers_only: options.LayersOnly = False,
    rows: options.Rows = None,
    scope: options.Scope = "row",
    tensors: Annotated[bool, typer.Option("--tensors", help="A line for every tensor, too.")] = False,
) -> None:
    """Say what a k would retain of MODEL, or which k retains a wanted total. Only shapes are read."""
    from ken.pruning.plan import plan

    planned = plan(
        model,
        None if k is None else budget(k),
        total=total,
        include=include or (),
        exclude=exclude or (),
        layers_only=layers_only,
        rows=_cuts(rows),
        scope=scope,
        model_class=model_class,
    )
    if tensors:
        for tensor in planned.tensors:
            why = f" ({tensor.reason})" if tensor.reason else ""
            retained = "?" if scope == "model" and not tensor.reason else f"{tensor.retained:,}"
            print(f"{retained:>13} of {tensor.entries:>13,}  {tensor.name!r} {list(tensor.shape)}{why}")
    print(planned)


def _cuts(rows: list[str] | None) -> dict[str, str]:
    """PATTERN=CUT, each; what CUT may be is checked later. A pattern may hold an equals sign."""
    cuts = {}
    for text in rows or ():
        pattern, equals, cut = text.rpartition("=")
        if not equals:
            raise BudgetError(f"rows must be PATTERN=last, first, whole or grown, got {text!r}")
        cuts[pattern] = cut
    return cuts


app.command(name="join")(part_commands.join)
app.command(name="clean")(part_commands.clean)
app.command(name="diff")(diff_command.diff)
app.command(name="sweep")(sweep_command.sweep)
app.command(name="ablate")(effects_commands.ablate)
app.command(name="attribute")(effects_commands.attribute)
app.command(name="report")(report_command.report)
app.command(name="inject")(net_commands.inject)
app.command(name="info")(net_commands.info)
app.command(name="verify")(net_commands.verify)


@app.command()
def view(
    net: Annotated[
        str, typer.Argument(help="The subnetwork file, or its place on the hub. With -k or --rule: FINE_TUNED.")
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FINE_TUNED] [PRETRAINED]",
            help="Both models, or PRETRAINED alone: without the fine-tuned model only masks can be shown.",
        ),
    ] = None,
    k: Annotated[
        str | None,
        typer.Option("-k", help=f"{options.K_HELP}: of two models, which are decided as they are looked at."),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="How entries are chosen then, by default ken.")] = None,
    on: options.On = "weights",
    scope: options.Scope = "row",
    seed: Annotated[int, typer.Option(help="Seed of random rules.")] = 0,
    ip: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    token: Annotated[str | None, typer.Option(help="Token to ask for: by default a random one; none if empty.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open the Explorer of the subnetwork NET in the browser, as an app; Ctrl-C ends it.

    With -k, or --rule, of two models that are not pruned first: ken view FINE_TUNED PRETRAINED -k 0.5
    """
    require_kenviz("view")
    from ken.models.checkpoints.remote.urls import protocol_of
    from ken.storage.hub_subnetworks import locate_subnetwork
    from kenviz.app.serve import serve

    models = models or []
    if k is not None or rule is not None:
        if len(models) > 1:
            raise KenError(f"-k and --rule are for two models, FINE_TUNED and PRETRAINED, got {1 + len(models)} places")
        asked = {"k": None if k is None else budget(k), "rule": rule or "ken", "on": on, "scope": scope, "seed": seed}
        serve(net, *models, ip=ip, port=port, token=token, browser=browser, asked=asked)
        return
    if (on, scope, seed) != ("weights", "row", 0):
        raise KenError("--on, --scope and --seed go with -k or --rule: a subnetwork has its own")
    if len(models) > 2:
        raise KenError(f"a subnetwork belongs to two models, FINE_TUNED and PRETRAINED, got {len(models)}")
    pretrained = models[-1] if models else None
    fine_tuned = models[0] if len(models) == 2 else None
    serve(
        net if protocol_of(net) else locate_subnetwork(net),
        fine_tuned,
        pretrained,
        ip=ip,
        port=port,
        token=token,
        browser=browser,
    )


_INTERRUPTED = 130  # as shells have it


def main() -> None:
    """Entry point: errors of ours and of the disk are told in a line; anything else is a bug, with its traceback."""
    show_anything()
    failure = ""
    with ctrl_c() as pressed:
        try:
            with in_a_line("ken"):
                app()
        except (KenError, OSError) as error:  # of the disk: a folder that is not there, no space left
            failure = "\n".join([f"ken: {error}", *getattr(error, "__notes__", [])])
        except KeyboardInterrupt:
            pass
        except SystemExit as end:  # typer turns Ctrl-C into a code, and says nothing
            if end.code != _INTERRUPTED and not pressed():
                raise
        except Exception:
            if not pressed():
                raise
        else:
            return
    # Here, and not above: where the exception is let go of, all that was under way has been taken back.
    if pressed() or not failure:
        print("ken: interrupted; nothing was left half done", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    print(failure, file=sys.stderr)
    sys.exit(1)
