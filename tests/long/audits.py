"""Audits with the whole suite: `make audit-test`, about two hours on two cores; `--part` does one of its two parts.

known: four clients whose answer is known (everything, nothing, the class, what was learned by heart). Writes
results/audit_known.json and fails where a finding is another.

reference: the victims of the reference tables, handed to an audit as networks and arrays of a stranger. The audit must
find what the leaderboard says of the same attacks, within the intervals over three seeds. Writes
results/audit_reference.csv. Where it was killed it goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

import splitleak
from splitleak.contract import Data, Records, Split
from splitleak.contract.split import SmashedOnly
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.report.means import interval
from splitleak.store import Store
from splitleak.train.data import load_data
from splitleak.train.victim import fresh

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "results"
SEEDS = [0, 1, 2]
ATTACKS = ("least_squares", "inverse_network", "map_search")
# name -> matrix of the victims; as in the matrices ecg_clean, resnet_cuts_small and unet_cuts_small
VICTIMS: dict[str, dict[str, Any]] = {
    "ecg": {"axes": {"dataset": ["ecg"], "model": ["ecg_cnn"], "cut": [2]}, "train": {}},
    "resnet": {
        "axes": {"dataset": ["cxr_pneumonia"], "model": ["resnet18"], "cut": [3, 7]},
        "train": {"epochs": 15, "schedule": "cosine"},
    },
    "unet": {
        "axes": {"dataset": ["cxr_lung"], "model": [{"name": "unet", "width": 16}], "cut": [2]},
        "train": {"epochs": 15, "batch_size": 8, "schedule": "cosine"},
    },
}


def known(folder: Path, workers: int) -> bool:
    """Whether each of the four findings is the right one."""
    from tests.auditing import test_known_answers as answers

    seen = torch.from_numpy(answers.people(0)["x"])
    clients = {
        "changes nothing": (nn.Sequential(nn.Identity()), "total: records are read off"),
        "sends noise": (answers.Noise(), "nothing of the records was found"),
        "sends the class": (answers.ClassOnly(), "no more of the records than their class tells"),
        "learned by heart": (answers.LearnedByHeart(seen), "members are guessed better than strangers"),
    }
    found = []
    for name, (client, expected) in clients.items():
        out = folder / "known" / name.replace(" ", "_")
        audit = splitleak.audit(client, answers.people(0), answers.people(1000), out=out)
        (answer,) = audit.found["measured"]["answers"]
        exposed = answer["exposed"]
        found.append({
            "client": name, "expected": expected, "finding": answer["finding"], "right": expected in answer["finding"],
            "people_named": exposed["people_named"], "people": exposed["people"],
            "strongest": {
                goal: {key: row[key] for key in ("attack", "threat", "advantage", "control_advantage", "auc")}
                for goal, row in answer["strongest"].items()
            },
        })  # fmt: skip
        sys.stdout.write(f"{name}: {answer['finding']}\n")
    (RESULTS / "audit_known.json").write_text(json.dumps(found, indent=1) + "\n")
    return all(one["right"] for one in found)


def reference(folder: Path, workers: int) -> bool:
    """Whether each figure of an audit is that of the leaderboard, within both intervals."""
    rows = []
    for name, about in VICTIMS.items():
        out = folder / name
        axes = about["axes"] | {"attack": ["blind", *ATTACKS], "seed": SEEDS}
        whole = {"matrix": axes, "train": about["train"], "evaluate": {"null": False, "control": True}}
        records = splitleak.run(whole, out, workers=workers, progress=True)
        for cut in axes["cut"]:
            board = _figures(r for r in records if r["cell"]["cut"] == cut)
            audited = _figures(r for seed in SEEDS for r in _audited(whole, cut, seed, out))
            for attack, (mean, half) in board.items():
                again, other = audited[attack]
                rows.append({
                    "victim": name, "cut": cut, "attack": attack, "leaderboard": mean, "leaderboard_ci95": half,
                    "audit": again, "audit_ci95": other, "agrees": abs(mean - again) <= half + other,
                })  # fmt: skip
        table = pd.DataFrame(rows)
        table.to_csv(RESULTS / "audit_reference.csv", index=False, float_format="%.6g")
        sys.stdout.write(table.to_string() + "\n")
    return all(row["agrees"] for row in rows)


def _figures(records: Iterable[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """The mean advantage of each attack over the seeds, and half of its interval, as a leaderboard has them."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if record["status"] == "done" and record["cell"]["attack"]["name"] in ATTACKS:
            found.setdefault(record["labels"]["attack"], {})[record["cell"]["seed"]] = record["metrics"]["advantage"]
    return {attack: cast(tuple[float, float], interval([*by_seed.values()])) for attack, by_seed in found.items()}


def _audited(whole: dict[str, Any], cut: int, seed: int, out: Path) -> list[dict[str, Any]]:
    """The records of the audit of one victim of a run: all that it gets are two networks and three arrays."""
    cells = matrix.read(whole).cells
    case = Case.of(next(c for c in cells if (c.cut, c.seed) == (cut, seed)), Path())
    data = load_data(case, torch.device("cpu"))
    victim = fresh(case, data)
    kept = Store(out, read_only=True).victim(case.cell.victim_key)
    if kept is None:
        raise SystemExit(f"no victim of cut {cut}, seed {seed} in {out}")
    victim.load(kept[0])
    known = _parts(victim.split, case.cell.protocol) | _arrays(data)
    folder = out / f"audit_{cut}_{seed}"
    splitleak.audit(
        **known, out=folder, targets=case.cell.evaluate.targets, threats=["query_server", "white_box"],
        low=data.in_range[0], high=data.in_range[1],
    )  # fmt: skip
    most = case.cell.evaluate.targets  # the quick attacks have fewer
    own = [r for r in Store(folder, read_only=True).records() if r["cell"]["evaluate"]["targets"] == most]
    return [r | {"cell": r["cell"] | {"seed": seed}} for r in own]


def _parts(split: Split, protocol: str) -> dict[str, Any]:
    if protocol == "u_shape":  # whoever reads the messages has no labels, as under `inference`
        return {"client": nn.Sequential(SmashedOnly(split.bottom))}
    return {"client": nn.Sequential(SmashedOnly(split.bottom)), "server": split.top, "protocol": "vanilla"}


def _arrays(data: Data) -> dict[str, Any]:
    parts: dict[str, Records] = {"members": data.private, "strangers": data.test, "aux": data.aux}
    return {name: {"x": part.x.numpy(), "y": np.asarray(part.y)} for name, part in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("known", "reference"))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "audits")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    parts = {"known": known, "reference": reference}
    wanted = [given.part] if given.part else [*parts]
    right = {name: parts[name](given.out.resolve(), given.workers) for name in wanted}
    sys.exit(not all(right.values()))


if __name__ == "__main__":
    main()
