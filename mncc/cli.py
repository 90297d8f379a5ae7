"""The command line: one command a verb, no logic. Verbs are imported when they are called, so that `mncc check` and
`mncc cost` stay light."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mncc.report.console import show
from mncc.report.failures import WRONG_INPUT, guarded
from mncc.report.progress import Progress

app = typer.Typer(
    name="mncc",
    help="A compiler from a paper's network table to a C library that needs nothing but libc, libm and pthreads.",
    epilog="mncc COMMAND --help shows an example of each. Exit status: 0 done, 1 wrong input, 2 wrong command line, "
    "3 something outside failed, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NetworkFile = Annotated[Path, typer.Argument(metavar="NET.mn", help="The network: a table under a header.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the network; can be given again."),
]
Target = Annotated[str, typer.Option("--target", metavar="T", help="The CPU or GPU to build for; see `mncc targets`.")]
Weights = Annotated[
    str, typer.Option("--weights", metavar="W", help="A .safetensors, .pth, .pt, .h5 or .keras file, or random:SEED.")
]
WeightsDtype = Annotated[
    str,
    typer.Option("--weights-dtype", metavar="D", help="How weights are stored: float32, or float16 in half the space."),
]
Dtype = Annotated[
    str,
    typer.Option("--dtype", metavar="D", help="What is computed in: float32, or float16 on GPUs and newer Arm CPUs."),
]
Tuned = Annotated[
    str | None,
    typer.Option(
        "--tuned", metavar="PATH", help="A table of tuned tiles, or none; those of `mncc tune` if left out."
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="What the library is called; the network's name if left out."),
]
Cc = Annotated[
    str | None,
    typer.Option("--cc", metavar="CC", help="The C compiler that links the library; found by itself if left out."),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="D", help="Where it runs: local, qemu, command:WORDS, ssh://user@host or adb://serial."
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object.")]
Images = Annotated[list[Path] | None, typer.Option("--image", metavar="PICTURE", help="A picture; can be given again.")]


@app.callback(invoke_without_command=True)
def _program(
    version: Annotated[bool, typer.Option("--version", metavar="", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        import mncc

        show(f"mncc {mncc.__version__}")
        raise typer.Exit


@app.command(epilog="Example: mncc build examples/mobilenet_v2.mn --weights mobilenet_v2.pth -o build/mobilenet_v2")
def build(
    network: NetworkFile,
    settings: Settings = None,
    target: Target = "native",
    weights: Weights = "random:0",
    weights_dtype: WeightsDtype = "float32",
    dtype: Dtype = "float32",
    tuned: Tuned = None,
    cc: Cc = None,
    name: Name = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="The folder; build/NAME if left out.")
    ] = None,
    objects: Annotated[
        bool,
        typer.Option("--emit-objects", metavar="", help="Leave objects and sources for another toolchain to finish."),
    ] = False,
) -> None:
    """Compile a network into a shared and a static library with header, manifest, CMake and pkg-config files."""
    from mncc.verbs.build import build
    from mncc.verbs.job import parse_settings, prepare_build

    with Progress() as progress:
        given = parse_settings(settings or ())
        job = prepare_build(network, given, target, weights, name, cc, weights_dtype, dtype, tuned)
        report = build(job, output, progress, objects)
    show(report.text())


@app.command(epilog="Example: mncc run examples/mobilenet_v2.mn --weights mobilenet_v2.pth --image cat.png --top 5")
def run(
    network: NetworkFile,
    more: Annotated[list[Path] | None, typer.Argument(metavar="PICTURE", help="More pictures.")] = None,
    image: Images = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="A label a line; numbers if left out.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many labels are printed.")] = 5,
    settings: Settings = None,
    target: Target = "native",
    weights: Weights = "random:0",
    weights_dtype: WeightsDtype = "float32",
    dtype: Dtype = "float32",
    tuned: Tuned = None,
    cc: Cc = None,
    device: Device = "local",
) -> None:
    """Classify pictures: the best labels with their probabilities, and the time a picture takes."""
    from mncc.verbs.job import parse_device, parse_settings, prepare_build
    from mncc.verbs.run import parse_pictures, run

    pictures, place = parse_pictures(image, more), parse_device(device)
    with Progress() as progress:
        given = parse_settings(settings or ())
        job = prepare_build(network, given, target, weights, None, cc, weights_dtype, dtype, tuned)
        report = run(job, pictures, labels, top, progress, place)
    show(report.text())


@app.command(epilog="Example: mncc verify examples/mobilenet_v2.mn --weights mobilenet_v2.pth")
def verify(
    network: NetworkFile,
    image: Images = None,
    settings: Settings = None,
    target: Target = "native",
    weights: Weights = "random:0",
    weights_dtype: WeightsDtype = "float32",
    dtype: Dtype = "float32",
    tuned: Tuned = None,
    cc: Cc = None,
    device: Device = "local",
) -> None:
    """Compare every output and every kernel with torch in float64; exit status 1 past the tolerance."""
    from mncc.verbs.job import parse_device, parse_settings, prepare_build
    from mncc.verbs.verify import verify

    place = parse_device(device)
    with Progress() as progress:
        given = parse_settings(settings or ())
        job = prepare_build(network, given, target, weights, None, cc, weights_dtype, dtype, tuned)
        report = verify(job, image or [], progress, place)
    show(report.table(), report.verdict())
    if report.failed:
        raise typer.Exit(WRONG_INPUT)


@app.command(epilog="Example: mncc cost examples/mobilenet_v2.mn --set width=0.75 --set resolution=192")
def cost(
    network: NetworkFile,
    settings: Settings = None,
    target: Target = "native",
    weights_dtype: WeightsDtype = "float32",
    dtype: Dtype = "float32",
    tuned: Tuned = None,
    json: Json = False,
) -> None:
    """Count parameters and multiply-adds, a line a row and a line a kernel, and what weights and workspace take."""
    from mncc.verbs.cost import cost
    from mncc.verbs.job import parse_settings

    report = cost(network, parse_settings(settings or ()), target, weights_dtype, dtype, tuned)
    show(report.json()) if json else show(*report.tables())


@app.command(epilog="Example: mncc bench examples/mobilenet_v2.mn --threads 1,2 --against torch,onnxruntime --profile")
def bench(
    network: NetworkFile,
    threads: Annotated[str, typer.Option("--threads", metavar="1,2", help="Numbers of threads to measure.")] = "1",
    against: Annotated[
        str,
        typer.Option(
            "--against", metavar="PEER,...", help="Other engines, in turn: litert, ncnn, onnxruntime, openvino, torch."
        ),
    ] = "",
    peer_python: Annotated[
        Path | None,
        typer.Option("--peer-python", metavar="PYTHON", help="The Python that has the engines; mncc's if left out."),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", metavar="", help="Also a line a kernel, what loses most first.")
    ] = False,
    static: Annotated[
        bool, typer.Option("--static", metavar="", help="For a GPU: what its kernels are, without running them.")
    ] = False,
    settings: Settings = None,
    target: Target = "native",
    weights: Weights = "random:0",
    weights_dtype: WeightsDtype = "float32",
    dtype: Dtype = "float32",
    tuned: Tuned = None,
    cc: Cc = None,
    device: Device = "local",
    json: Json = False,
) -> None:
    """Measure a network as a share of the FMA peak, which is measured in the same run; on qemu, count instructions."""
    from mncc.verbs.bench import parse_engines, parse_threads
    from mncc.verbs.instructions import bench_or_count
    from mncc.verbs.job import parse_device, parse_settings, prepare

    if static:
        from mncc.verbs.static import static_report

        with Progress():
            told = static_report(network, parse_settings(settings or ()), target, weights_dtype, dtype)
        show(told.json()) if json else show(*told.tables())
        return
    place = parse_device(device)
    counts, engines = parse_threads(threads), parse_engines(against)
    with Progress() as progress:
        job = prepare(network, parse_settings(settings or ()), target, weights, None, cc, weights_dtype, dtype, tuned)
        report = bench_or_count(job, counts, engines, profile, progress, peer_python=peer_python, device=place)
    show(report.json()) if json else show(*report.tables())


@app.command(
    epilog="Example: mncc tune examples/mobilenet_v2.mn --target arm64-cortex-a76 --device ssh://pi@board --minutes 30"
)
def tune(
    network: NetworkFile,
    settings: Settings = None,
    target: Target = "native",
    weights: Weights = "random:0",
    weights_dtype: WeightsDtype = "float32",
    dtype: Dtype = "float32",
    cc: Cc = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="D[,D]",
            help="Where candidates run: as for bench, several of one kind, or tracker://host:port/key for a farm.",
        ),
    ] = "local",
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, metavar="N", help="Candidates of all kernels, those of earlier runs included."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.1, metavar="M", help="How long at most; 30 if neither is given.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Draw the search into a file.")
    ] = None,
) -> None:
    """Search the tiles of a network's kernels on a device; every later build for the target uses what is found."""
    from mncc.verbs.job import parse_settings, prepare
    from mncc.verbs.tune import parse_devices, parse_limits, tune

    limits, places = parse_limits(trials, minutes), parse_devices(device)
    with Progress():
        given = parse_settings(settings or ())
        job = prepare(network, given, target, weights, None, cc, weights_dtype, dtype, "none")
    found = tune(job, places, limits, report)
    show(*found.tables())


@app.command(epilog="Example: mncc emit examples/mobilenet_v2.mn --stage plan")
def emit(
    network: NetworkFile,
    stage: Annotated[
        str, typer.Option("--stage", metavar="STAGE", help="tree, network, plan, tir, llvm, asm or cuda.")
    ],
    settings: Settings = None,
    target: Target = "native",
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="W", help="Checked against the network; no stage shows them.")
    ] = None,
    weights_dtype: WeightsDtype = "float32",
    dtype: Dtype = "float32",
    tuned: Tuned = None,
) -> None:
    """Print what a stage of the compiler made."""
    from mncc.verbs.emit import emit
    from mncc.verbs.job import parse_settings

    with Progress():
        text = emit(network, stage, parse_settings(settings or ()), target, weights, weights_dtype, dtype, tuned)
    show(text)


@app.command(epilog="Example: mncc check examples/mobilenet_v2.mn --set resolution=192")
def check(network: NetworkFile, settings: Settings = None) -> None:
    """Say all that is wrong with a file, or in one line what it is."""
    from mncc.verbs.check import check
    from mncc.verbs.job import parse_settings

    show(check(network, parse_settings(settings or ())))


@app.command(epilog="Example: mncc targets")
def targets() -> None:
    """List the CPUs and GPUs that there is code for."""
    from mncc.verbs.targets import targets

    show(targets())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program on its arguments (those of the process if none are given) and answers the exit status."""
    return guarded(lambda: app(args=None if arguments is None else list(arguments), prog_name="mncc"))


def run_program() -> None:
    """What the `mncc` script runs, see __main__."""
    sys.exit(main())
