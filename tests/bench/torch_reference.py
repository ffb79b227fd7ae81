"""Rows of `deno task bench` beside the same work in PyTorch on the CPU, in turns.

    pip install -r tests/bench/torch_requirements.txt
    python3 tests/bench/torch_reference.py [--only ID,...] [--rounds N] [--threads 1,2] [--deno "npx deno"]

A row is the median of all rounds on each side, and ours over theirs. Networks and
sizes are those of networks.ts and presets.ts; weights and pixels are random, since
their values cost nothing. No test needs this file.
"""
import argparse
import json
import os
import sys
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
from torch import nn

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
# Without these glibc returns large blocks to the kernel, which zeroes them anew at
# each use: up to twice the time on a virtual machine. Ours runs without.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "100000000",
}
FORMAT = torch.channels_last  # 1.3 to 3 times as fast as channels first here

TIMES = 7  # of a row in a round, after two that are not counted

# Preset colon: scales of the view and of a tile, sides in px, draws, images a step.
SIDE, SCALE1, TILE, SCALE2, SUB_TILE, SAMPLES, BATCH = 500, 0.1, 250, 0.2, 27, 10, 5


def attention():
    """Network a or b: images to logits of their pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 1, 3, padding=1),
    )


class Features(nn.Module):
    """Network f: sub-tiles to K = 48 features of unit length."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 36, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(36, 48, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        )

    def forward(self, x):
        return F.normalize(self.net(x).mean((2, 3)))


class ZoomIn(nn.Module):
    """One step's forward pass: draws in two stages, and the loss of the draws."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.f, self.g = attention(), attention(), Features(), nn.Linear(48, 2)

    def forward(self, images, labels):
        views = F.avg_pool2d(images, round(1 / SCALE1))
        alpha = self.a(views).flatten(1).softmax(1)  # [B, locations]
        tiles = torch.multinomial(alpha.detach(), SAMPLES, replacement=True)
        side = views.shape[-1]
        origins = torch.stack([tiles // side, tiles % side], -1) * round(1 / SCALE1) - TILE // 2
        # Tiles and sub-tiles at the border are moved inside: no pixel is padding.
        at = origins.clamp(0, SIDE - TILE).tolist()
        cut = torch.stack([
            images[n, :, y:y + TILE, x:x + TILE] for n, rows in enumerate(at) for y, x in rows
        ])
        beta = self.b(F.avg_pool2d(cut, round(1 / SCALE2))).flatten(1).softmax(1)
        drawn = torch.multinomial(beta.detach(), 1)
        width = round(TILE * SCALE2)
        inner = torch.stack([drawn // width, drawn % width], -1)[:, 0] * round(1 / SCALE2)
        sub_tiles = torch.stack([
            cut[i, :, y:y + SUB_TILE, x:x + SUB_TILE]
            for i, (y, x) in enumerate(inner.clamp(0, TILE - SUB_TILE).tolist())
        ])
        features = self.f(sub_tiles).view(len(images), SAMPLES, -1)
        # The gradient of attention goes through the weights of the draws.
        weight = alpha.gather(1, tiles) * beta.gather(1, drawn).view(tiles.shape)
        logits = self.g((features * (weight / weight.detach())[..., None]).mean(1))
        entropy = (alpha * (alpha + 1e-6).log()).sum(1).mean()
        entropy = entropy + (beta * (beta + 1e-6).log()).sum(1).mean()
        return F.cross_entropy(logits, labels) + 0.003 * entropy


def networks(kind, backward):
    """Once over a network alone, as networks.ts does it."""
    net = (attention() if kind == "attention" else Features()).to(memory_format=FORMAT)
    shape = (1, 3, 512, 512) if kind == "attention" else (32, 3, 27, 27)
    x = torch.randn(shape).to(memory_format=FORMAT)

    def once():
        if not backward:
            with torch.no_grad():
                return net(x)
        net.zero_grad()
        return net(x).sum().backward()

    return once


def colon_step():
    model = ZoomIn().to(memory_format=FORMAT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-5)
    images = torch.rand(BATCH, 3, SIDE, SIDE).to(memory_format=FORMAT)
    labels = torch.arange(BATCH) % 2

    def once():
        optimizer.zero_grad()
        loss = model(images, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimizer.step()
        return loss.item()

    return once


ROWS = {
    "attention-forward": lambda: networks("attention", False),
    "attention-gradient": lambda: networks("attention", True),
    "feature-forward": lambda: networks("feature", False),
    "feature-gradient": lambda: networks("feature", True),
    "step-colon": colon_step,
    "run-step": colon_step,
}


def timed(once):
    """Milliseconds of a call, the median."""
    times = []
    for _ in range(TIMES + 2):
        started = time.perf_counter()
        once()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[2:])


def ours(ids, deno):
    """Milliseconds of each row on the wasm engine; of a run's step, by two workers."""
    bench = ["task", "bench", "--only", ",".join(ids), "--engine", "wasm", "--json"]
    command = [*deno.split(), *bench]
    env = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    text = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True, text=True).stdout
    rows = json.loads(text.strip().splitlines()[-1])["rows"]
    return {row["id"]: row["oursMs"] for row in rows}


def main():
    if ALLOCATOR.keys() - os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--deno", default="deno")
    options = parser.parse_args()
    ids, threads = options.only.split(","), [int(n) for n in options.threads.split(",")]
    times = {(name, who): [] for name in ids for who in ["ours", *threads]}
    works = {name: ROWS[name]() for name in ids}
    for _ in range(options.rounds):
        for name, ms in ours(ids, options.deno).items():
            times[name, "ours"].append(ms)
        for count in threads:
            torch.set_num_threads(count)
            for name in ids:
                times[name, count].append(timed(works[name]))
    heads = [f"torch {n}, ms" for n in threads] + [f"ours / torch {n}" for n in threads]
    print("| id | ours, ms |", " | ".join(heads), "|")
    print("| --- |" + " ---: |" * (1 + len(heads)))
    for name in ids:
        own = statistics.median(times[name, "ours"])
        theirs = [statistics.median(times[name, n]) for n in threads]
        cells = [f"{ms:.1f}" for ms in [own, *theirs]] + [f"{own / ms:.2f}" for ms in theirs]
        print("|", " | ".join([name, *cells]), "|")


if __name__ == "__main__":
    main()
