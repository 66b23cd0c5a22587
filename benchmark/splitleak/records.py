"""The record of a cell: the JSON file `records/<key>.json` that a worker writes and the reports read.

A `Record` is a plain dictionary: `record["metrics"]["advantage"]`. Every field is optional for the type, since a record
that has failed or was skipped has only the fields that every record has; a field that does not apply is absent or null.
In the file stands one field more, `checksum`, over all its bytes: a file that was changed is no record any more.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # from 3.12 on typing's own is checked too

from splitleak.contract.protocols import Protocol

Status = Literal["done", "skipped", "diverged", "failed"]


EXACT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


@with_config(EXACT)
class ClientsFields(TypedDict):
    """A value of the axis `clients`, see `plan.settings.Clients`."""

    n: int
    mode: Literal["sequential", "parallel"]
    skew: NotRequired[float | None]


@with_config(EXACT)
class FederatedFields(TypedDict, total=False):
    """How a federation was run, see `plan.settings.Federated`."""

    rounds: int
    local_epochs: int
    local_steps: int | None
    batch_size: int | None
    optimizer: Literal["adam", "sgd"] | None
    lr: float | None
    strategy: Literal["fedavg", "fedprox", "fedadam"]
    fraction: float
    proximal_mu: float
    server_lr: float
    utility_every: int


class CellFields(TypedDict):
    """The point of the matrix with all defaults filled in; `key` is the hash of exactly this."""

    schema: int  # version of this form
    dataset: dict[str, Any]  # {"name": ..., parameter: value}, as are model, defense and attack
    model: dict[str, Any]
    cut: int | None  # blocks at the client; null where the network is not cut (`central`, `fedavg`)
    protocol: Protocol
    federated: NotRequired[FederatedFields]  # settings of `fedavg`
    clients: ClientsFields  # n, mode and, where the records are dealt unevenly, skew
    threat: str
    aux: dict[str, Any]  # the attacker's auxiliary data: name, n (null: all), labels
    defense: dict[str, Any]
    attack: dict[str, Any]
    goal: str  # inputs, labels, property, membership or linkage
    seed: int
    null: bool  # whether the attack is also run on the null channel
    tampers: bool  # whether the attack changes what the server sends while the victim trains
    train: dict[str, Any]  # the section [train] of the matrix
    evaluate: dict[str, Any]  # the section [evaluate]


class Kinds(TypedDict):
    """One text for each plug-in of a cell: its label in `labels`, the hash of its file in `hashes`."""

    dataset: str
    model: str
    defense: str
    attack: str


class Versions(TypedDict):
    """What the numbers were made with."""

    splitleak: str
    commit: str  # of the source tree; empty if it is not a git repository
    python: str
    torch: str
    numpy: str
    machine: str  # x86_64, arm64


class Metrics(TypedDict, total=False):
    """Scores of a guess. Which ones there are depends on the goal and on the task of the dataset."""

    advantage: float  # 0: the best guess without the channel, 1: a perfect guess, below 0: worse than blind
    mse: float  # mean squared error of a record, in the dataset's unit squared
    mse_floor: float  # the same of the best guess without the channel
    psnr: float  # dB, mean over records
    ssim: float  # structural similarity, at most 1
    reid_top1: float  # share of guesses that lie nearest to their own record among all targets
    reid_strangers: float  # the same of records of others, drawn blindly and matched as a guess is
    reid_chance: float  # the highest that strangers' records, noise or the floor's guess reach so
    class_mean: float  # advantage of the mean record of each target's class, whose name is known: what the class tells
    nearest_aux: float  # advantage of the attacker's auxiliary record that is nearest to each target
    dcor: float  # distance correlation of guesses and records, 0 to 1
    dtw: float  # dynamic time warping distance by length
    judge_accuracy: float  # share of guesses that a network trained on real records puts into the right class
    label_accuracy: float  # share of right labels
    floor: float  # label accuracy, or overlap, of the best guess without the channel
    auc: float  # area under the ROC curve: of the second of two classes, of membership, of a property
    auc_class: float  # membership, property: the AUC of the best guess from the class alone; linkage: of equal classes
    auc_raw: float  # property, linkage: the AUC that the same means reach on the records themselves
    accuracy_gain: float  # property: accuracy of the sign of the guess, less the share of the usual answer
    signed_auc: float  # 2 AUC - 1, of the second of two classes
    iou: float  # intersection over union of masks, mean over records
    dice: float  # Dice's overlap of masks, mean over records
    pixel_accuracy: float  # share of pixels of masks that are right
    tpr_at_1fpr: float  # true positive rate at a false positive rate of 1 %
    tpr_at_1fpr_low: float  # the limits of its 95 % Clopper-Pearson interval
    tpr_at_1fpr_high: float
    tpr_at_0_1fpr: float  # the same at 0.1 %, where there are at least 1000 strangers
    tpr_at_0_1fpr_low: float
    tpr_at_0_1fpr_high: float


class UtilityAlso(TypedDict, total=False):
    """Further measures of the victim on the test part, by the task: classes, masks or values."""

    balanced_accuracy: float  # mean recall of the classes that occur
    auc: float  # of the second of two classes, or the mean of each class against the rest
    dice: float
    pixel_accuracy: float
    mse: float  # in the unit of the value, squared
    mae: float  # in the unit of the value


class ClientUtility(TypedDict):
    """One of several clients: its own parts of the network on its share of the test part."""

    utility: float | None  # null: the share has too few records
    n: int  # test records in the share
    records: int  # private records that the client trained on


class Control(TypedDict):
    """Scores of the guess for records that trained nobody and were sent among the targets."""

    n: int  # strangers
    advantage: float
    reid_top1: float


class PerRecord(TypedDict):
    """Membership: the guess for each target, in the order in which they were sent."""

    id: list[int]  # identity of the record
    member: list[int]  # 1: the victim trained on it
    score: list[float]  # of the attack, higher for a member


class PerTargetFields(TypedDict):
    """Inputs: how well each target was guessed, in the order in which they were sent."""

    id: list[int]  # identity of the record
    skill: list[float]  # 1 - error of the guess / error of the floor's guess, of this record alone
    rank: list[int]  # of the record among all targets by their distance to its guess; 1: re-identified
    nearest: list[int]  # identity of the target that lies nearest to the guess


class CurvePoint(TypedDict):
    """What an attack that works during training had reached at one step."""

    step: int  # of the victim's training, from 0; after the training, what the attack calls it
    error: float  # mean error over targets, in the unit of the goal
    advantage: float


class NullRun(TypedDict):
    """The same attack on the null channel: messages without information about the records."""

    metrics: Metrics
    leaks: bool  # the guess fits all the same: the row must not be used
    p: float | None  # of a permutation test; null for the goal inputs, where the advantage decides


class Draws(TypedDict):
    """An attack on labels, repeated with other draws of the known labels; `metrics` holds the means."""

    n: int
    advantage: list[float]  # of each draw
    label_accuracy: NotRequired[list[float]]  # of each draw
    min: float  # the lowest advantage


class Record(TypedDict, total=False):
    """One cell: its settings, the victim's utility and the scores of one attack with one seed."""

    # Every record
    schema: int  # version of this form; another one is refused
    key: str  # hash of `cell`, also the file's name
    cell: CellFields
    labels: Kinds  # as printed in tables: laplace_range(epsilon=5)
    hashes: Kinds  # of the code of each plug-in, first 16 hex digits of a sha256
    made_by: dict[str, str]  # hashes of all code and records behind it, torch and device; another one is made again
    base: str  # folder of the matrix, from which files of plug-ins are named
    versions: Versions
    status: Status  # done; skipped: not legal; diverged: the training loss became no number; failed: an exception
    why: str | None  # the reason, in one line, unless the status is done
    seconds: float  # wall clock of this cell without the victim's training
    traceback: str  # of a failed cell

    # The victim, once it is trained
    utility_metric: str  # accuracy (classes), iou (masks) or r2 (values)
    utility: float  # on the test part after the last epoch, with the defence active
    utility_floor: float  # the same of a constant answer
    utility_also: UtilityAlso
    utility_clients: list[ClientUtility] | None  # null: one client
    utility_curve: list[float] | None  # after each epoch or round, where the matrix wants it
    loss_curve: list[float] | None  # mean training loss of each epoch, in the unit of the task's loss
    loss_constant: float | None  # the loss of a constant answer
    collapsed_at: int | None  # first epoch from which the loss is that of a constant answer
    bytes_up: int  # client to server for one record
    bytes_down: int  # server to client for one record
    seconds_train: float
    epsilon: float | None  # differential privacy after all steps and the release; null: the defence promises none
    epsilon_one: float | None  # of a single message of a single copy
    delta: float | None
    privacy_unit: str | None  # whom epsilon is for: record, label (of a record) or client
    adjacency: str | None  # what neighbours differ by: "add or remove" or "replace"
    multiplicity: int | None  # how often one unit stands in the training records; epsilon counts all of them
    epsilon_person: float | None  # the same for all records of the person who has most; null: people are unknown

    # The attack
    metrics: Metrics
    control: Control  # the same attack's guess for strangers; absent without a control population
    bootstrap_ci95: float  # half-width of the 95 % interval of the advantage over targets, or over known people
    people: int | None  # property, linkage: people behind the targets; null: unknown
    floor: str  # which guess without the channel is the floor: "mean record", "class mean", "centroids", "constant" ...
    n_targets: int  # records that are scored
    seconds_attack: float  # of the run on the real channel
    read: list[str]  # what the attack read from its view
    curve: list[CurvePoint]  # of an attack that logs, at most 20 points; else empty
    flags: list[str]  # what the dataset and the scene warn of, such as patients-shared
    notes: list[str]  # of the dataset
    null: NullRun  # where `cell.null` is true
    draws: Draws  # where [evaluate] asks for several draws of known labels
    per_record: PerRecord  # goal membership
    per_target: PerTargetFields  # goal inputs, where [evaluate] says per_record
    test_in_train: float  # goal membership: share of the test records that were trained on
    utility_attacked: float  # of a victim whose training was tampered with
    steps_attacked: int  # steps of that training
    detected_at: int | None  # step at which the client noticed the hijack and stopped
    weights: str  # hash of the trained network without the parts of the defence
    crossed: str  # hash of what crossed for the targets after training; of a federation "each" or "sum" of the updates
    picture: str  # path of a picture below the results folder: ground truth above, guess below
