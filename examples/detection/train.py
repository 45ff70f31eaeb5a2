"""Train one width of the detector on scenes rendered for it.

    python -m examples.detection.train --width narrow --out narrow.npz [--steps N] [--scenes N] [--folder F]

Scenes are rendered once into the folder and the training's state is kept there, so the same command goes on where it was interrupted.
One weight file serves every input size: each batch is of a size drawn at random.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from examples.detection.learner import Learner
from examples.detection.network import WIDTHS
from examples.detection.samples import Store
from examples.detection.weights import write_weights

__all__ = ["main", "train"]

_KEEP_EVERY = 200


def train(width: str, store: Store, checkpoint: Path, progress: Progress, *, steps: int, seed: int = 0) -> Learner:
    """Learn until `steps`, from the checkpoint if there is one; it is renewed every 200 steps and at the end."""
    learner, first = Learner(width, seed), 0
    if checkpoint.is_file():
        with np.load(checkpoint) as state:
            first = int(state["step"])
            learner.restore({name: state[name] for name in state.files if name != "step"})
    task = progress.add_task(f"{width}: training", total=steps, completed=first)
    classes, boxes = 0.0, 0.0
    for step in range(first, steps):
        batch = store.batch(np.random.default_rng([seed, 1, step]))
        losses = learner.learn(batch, step, steps)
        share = 0.02 if step > first else 1.0
        classes, boxes = classes + share * (losses[0] - classes), boxes + share * (losses[1] - boxes)
        progress.update(task, advance=1, description=f"{width}: classes {classes:.3f} boxes {boxes:.3f}")
        if (step + 1) % _KEEP_EVERY == 0 or step + 1 == steps:
            _keep(checkpoint, learner, step + 1)
    return learner


def _keep(checkpoint: Path, learner: Learner, step: int) -> None:
    """Written beside and moved over, so that what is there is whole."""
    beside = checkpoint.with_suffix(".part.npz")
    np.savez(beside, step=np.array(step), **learner.state())  # type: ignore[arg-type]
    os.replace(beside, checkpoint)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    told = _parser().parse_args(arguments)
    torch.set_num_threads(told.threads)
    cv2.setNumThreads(told.threads)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        rendering = progress.add_task("rendering scenes", total=told.scenes)
        store = Store.open(told.folder / "scenes", told.scenes, told=lambda done: progress.advance(rendering, done))
        progress.update(rendering, completed=told.scenes)
        learner = train(told.width, store, told.folder / f"{told.width}.npz", progress, steps=told.steps, seed=told.seed)
    write_weights(told.out, learner.folded())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.detection.train", description="Train one width of the detector.")
    parser.add_argument("--width", choices=sorted(WIDTHS), required=True, help="how many channels the network has")
    parser.add_argument("--out", type=Path, required=True, help="the weights, an .npz")
    parser.add_argument("--steps", type=int, default=16000, help="batches to learn from (default %(default)s)")
    parser.add_argument("--scenes", type=int, default=6000, help="scenes to render (default %(default)s, 2.3 GB on disk)")
    parser.add_argument("--folder", type=Path, default=Path("runs/detection"), help="scenes and checkpoints (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and samples (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch and OpenCV (default %(default)s)")
    return parser


if __name__ == "__main__":
    main()
