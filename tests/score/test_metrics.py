"""Every metric against cases whose answer is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from splitleak.contract import Task
from splitleak.contract.errors import BadGuess, BadInput, Diverged
from splitleak.score import metrics, per_target, task_metrics, uncertainty

UNIT = (0.0, 1.0)


def records(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# inputs


@pytest.mark.parametrize("shape", [(1, 40), (2, 40), (3, 12, 12), (1, 8, 8), (5,)])
def test_a_perfect_copy_scores_best_in_everything(shape: tuple[int, ...]) -> None:
    truth = records(20, *shape)
    got = metrics.inputs(truth.clone(), truth, truth.mean(0), UNIT)
    assert (got["advantage"], got["mse"], got["reid_top1"], got["psnr"]) == (1, 0, 1, metrics.PSNR_CAP)
    assert got.get("ssim", 1) == pytest.approx(1)
    assert got.get("dcor", 1) == pytest.approx(1)
    assert got.get("dtw", 0) == 0


@pytest.mark.parametrize(("shape", "more"), [((1, 40), {"ssim", "dtw", "dcor"}), ((1, 8, 8), {"ssim"}), ((5,), set())])
def test_a_metric_is_there_only_where_it_means_something(shape: tuple[int, ...], more: set[str]) -> None:
    truth = records(9, *shape)
    always = {"advantage", "mse", "mse_floor", "psnr", "reid_top1"}
    assert metrics.inputs(1 - truth, truth, truth.mean(0), UNIT).keys() == always | more


def test_the_floors_guess_has_advantage_exactly_zero() -> None:
    truth, floor = records(20, 3, 8, 8), records(3, 8, 8, seed=1)
    got = metrics.inputs(floor.expand_as(truth), truth, floor, UNIT)
    assert got["advantage"] == 0
    assert got["mse"] == got["mse_floor"]


def test_half_the_way_from_floor_to_truth_leaves_a_quarter_of_the_error() -> None:
    truth, floor = records(20, 1, 30), torch.full((1, 30), 0.5)
    assert metrics.inputs((truth + floor) / 2, truth, floor, UNIT)["advantage"] == pytest.approx(0.75, abs=1e-4)


def test_psnr_is_a_mean_over_records_and_caps_a_copy() -> None:
    truth = torch.zeros(2, 1, 20)
    guess = torch.stack([truth[0], truth[1] + 0.1])  # an exact copy, and mse 0.01: 20 dB
    assert metrics.inputs(guess, truth, truth + 1, UNIT)["psnr"] == pytest.approx((100 + 20) / 2, abs=1e-4)


def test_the_range_of_the_records_moves_neither_psnr_nor_ssim_nor_advantage() -> None:
    truth, guess, floor = records(10, 3, 16, 16), records(10, 3, 16, 16, seed=1), torch.full((3, 16, 16), 0.5)
    unit = metrics.inputs(guess, truth, floor, UNIT)
    signed = metrics.inputs(2 * guess - 1, 2 * truth - 1, 2 * floor - 1, (-1, 1))
    for name in ("psnr", "ssim", "advantage", "reid_top1"):
        assert signed[name] == pytest.approx(unit[name], abs=1e-5)
    assert signed["mse"] == pytest.approx(4 * unit["mse"], rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 32, 24), (1, 8, 8), (1, 11, 11), (2, 64), (1, 5)])
def test_ssim_is_skimages(shape: tuple[int, ...]) -> None:
    structural_similarity: Callable[..., float] = pytest.importorskip("skimage.metrics").structural_similarity

    truth, noise = records(70, *shape).double(), records(70, *shape, seed=1).double()
    guess = 0.7 * truth + 0.3 * noise
    window = min(11, (min(shape[1:]) - 1) // 2 * 2 + 1)
    how: dict[str, Any] = {"win_size": window, "gaussian_weights": True, "use_sample_covariance": False}
    pairs = zip(guess.numpy(), truth.numpy(), strict=True)
    theirs = [structural_similarity(g, t, data_range=1, channel_axis=0, **how) for g, t in pairs]
    assert metrics.ssim(guess, truth) == pytest.approx(np.mean(theirs), abs=1e-10)


def test_a_constant_guess_re_identifies_one_record_at_most() -> None:
    truth = records(50, 1, 30)
    assert metrics.reid_top1(truth.mean(0).expand_as(truth), truth) == 1 / 50


def test_ties_re_identify_nobody() -> None:
    corners = torch.eye(16).reshape(16, 1, 4, 4)
    assert metrics.reid_top1(corners.mean(0).expand_as(corners), corners) == 0
    assert metrics.reid_top1(torch.zeros_like(corners), corners) == 0
    turned = torch.linalg.qr(normal(1000, 8).double())[0].T  # 8 records of length 1, but for rounding
    assert metrics.reid_top1(torch.zeros_like(turned), turned) == 0


def test_a_copy_re_identifies_even_beside_a_twin() -> None:
    truth = records(4, 1, 30)[[0, 0, 1, 2]]
    assert metrics.reid_top1(truth.clone(), truth) == 1


def test_a_noisy_copy_re_identifies_and_a_copy_of_somebody_else_does_not() -> None:
    truth = records(50, 3, 40, 40)  # 4800 numbers a record: more than one slice
    assert metrics.reid_top1(truth + 0.3 * normal(50, 3, 40, 40), truth) == 1
    assert metrics.reid_top1(truth.roll(1, 0), truth) == 0


def test_dcor_is_near_zero_for_independent_high_dimensional_data_where_the_biased_one_is_near_one() -> None:
    x, y = normal(64, 784), normal(64, 784, seed=1)

    def centred(t: Tensor) -> Tensor:
        d = torch.cdist(t, t)
        return d - d.mean(0) - d.mean(1, keepdim=True) + d.mean()

    a, b = centred(x), centred(y)
    biased = float(((a * b).mean() / ((a * a).mean() * (b * b).mean()).sqrt()).sqrt())
    assert biased > 0.97
    assert abs(metrics.distance_correlation(x, y)) < 0.1


def test_dcor_has_the_values_of_the_librarys_manual() -> None:
    a, b = torch.arange(16.0).reshape(4, 4), torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    assert metrics.distance_correlation(a, a) == pytest.approx(1)
    assert metrics.distance_correlation(a, b) == pytest.approx(-0.5)
    assert metrics.distance_correlation(a, torch.ones(4, 1)) == 0


@pytest.mark.slow
def test_dcor_is_the_librarys(dcor: Callable[..., list[float]]) -> None:
    x = normal(100, 30).double()
    y = x[:, :7] ** 2 + normal(100, 7, seed=1).double()
    (theirs,) = dcor(("u_distance_correlation_sqr", x, y))
    assert metrics.distance_correlation(x, y) == pytest.approx(theirs, abs=1e-12)


def test_dtw_forgives_a_shift_and_is_divided_by_the_length() -> None:
    signal = torch.zeros(1, 1, 50)
    signal[..., 20:25] = 1
    assert metrics.dtw(signal.roll(7, -1), signal) == 0
    assert metrics.dtw(torch.full((3, 1, 50), 0.5), torch.zeros(3, 1, 50)) == pytest.approx(50**0.5 * 0.5 / 50)
    assert metrics.dtw(torch.full((3, 4, 50), 0.5), torch.zeros(3, 4, 50)) == pytest.approx(200**0.5 * 0.5 / 50)


def test_dtw_is_finite_where_the_straight_path_is_the_best() -> None:
    truth = records(20, 1, 30)  # dtaidistance's pruning says inf for one of these
    straight = (0.5 * (truth - 0.5)).square().sum((1, 2)).sqrt().mean() / 30
    assert 0 < metrics.dtw((truth + 0.5) / 2, truth) <= straight + 1e-6


def test_dtw_without_its_c_library_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, guess = records(3, 2, 12), records(3, 2, 12, seed=1)
    fast = metrics.dtw(guess, truth), metrics.dtw(guess[:, :1], truth[:, :1])
    monkeypatch.setattr("dtaidistance.dtw.dtw_cc", None)
    assert (metrics.dtw(guess, truth), metrics.dtw(guess[:, :1], truth[:, :1])) == pytest.approx(fast)


@pytest.mark.parametrize("bad", [1.1, -0.1, float("nan"), float("inf")])
def test_numbers_outside_the_range_are_refused(bad: float) -> None:
    truth = records(5, 1, 20)
    wrong = truth.clone()
    wrong[2, 0, 3] = bad
    with pytest.raises(BadInput, match="truth must lie in 0"):
        metrics.inputs(truth, wrong, truth.mean(0), UNIT)
    with pytest.raises(BadGuess, match="guess must lie in 0"):
        metrics.inputs(wrong, truth, truth.mean(0), UNIT)


def test_targets_that_the_floor_knows_already_are_refused() -> None:
    truth = torch.full((5, 1, 20), 0.25)
    with pytest.raises(BadInput, match="already perfect"):
        metrics.inputs(truth, truth, truth[0], UNIT)
    with pytest.raises(BadInput, match="already perfect"):
        metrics.classes(torch.eye(3), torch.zeros(3, dtype=torch.long), 0)


# labels, masks, values


def test_label_accuracy_and_advantage_of_a_counted_case() -> None:
    labels = torch.tensor([0, 0, 1, 2])
    scores = torch.eye(3)[[0, 1, 1, 2]]
    got = metrics.classes(scores, labels, 0)
    assert got == {"label_accuracy": 0.75, "floor": 0.5, "advantage": 0.5}


def test_the_majority_class_has_advantage_zero_and_a_tie_is_no_answer() -> None:
    labels = torch.tensor([0, 0, 0, 1, 2])
    assert metrics.classes(torch.eye(3)[[0] * 5], labels, 0)["advantage"] == 0
    assert metrics.classes(torch.zeros(5, 3), labels, 0)["label_accuracy"] == pytest.approx(1 / 3)


def test_two_classes_get_a_signed_auc_that_a_turned_guess_turns() -> None:
    labels, scores = torch.tensor([0, 1, 0, 1, 1]), normal(5, 2)
    got, turned = metrics.classes(scores, labels, 1), metrics.classes(scores.flip(1), labels, 1)
    assert got["auc"] + turned["auc"] == pytest.approx(1)
    assert got["signed_auc"] == pytest.approx(-turned["signed_auc"])
    assert metrics.classes(torch.eye(2)[labels], labels, 1)["signed_auc"] == 1


def test_scores_of_the_wrong_shape_or_not_finite_and_impossible_labels_are_refused() -> None:
    labels = torch.tensor([0, 1, 2])
    for wrong in (torch.zeros(3), torch.zeros(2, 3), torch.full((3, 3), float("nan"))):
        with pytest.raises(BadGuess):
            metrics.classes(wrong, labels, 0)
    with pytest.raises(BadInput, match=r"0\.\.1"):
        metrics.classes(torch.eye(3)[:, :2], labels, 0)


def test_iou_dice_and_pixels_of_a_counted_case() -> None:
    truth, guess = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4)
    truth[..., 0, :] = 1  # 4 pixels
    guess[..., :2] = 0.9  # 4 pixels, 2 of them right: 2 of 6
    got = metrics.masks(guess, truth, torch.zeros(1, 2, 4))
    assert got == pytest.approx({"iou": 1 / 3, "floor": 0, "advantage": 1 / 3, "dice": 0.5, "pixel_accuracy": 0.5})


def test_an_empty_mask_guessed_empty_is_right_and_the_floors_mask_has_advantage_zero() -> None:
    truth, floor = (records(6, 1, 8, 8) > 0.5).float(), records(1, 8, 8, seed=1)
    truth[0] = 0
    assert metrics.masks(truth, truth, floor)["advantage"] == 1
    assert metrics.masks(floor.expand_as(truth), truth, floor)["advantage"] == 0


def test_masks_are_zeros_and_ones_and_guesses_are_probabilities() -> None:
    truth = (records(6, 1, 8, 8) > 0.5).float()
    with pytest.raises(BadGuess, match="guess must lie in"):
        metrics.masks(truth * 3, truth, truth[0])
    with pytest.raises(BadInput, match="0 or 1"):
        metrics.masks(truth, truth * 0.7, truth[0])


def test_values_take_the_floor_of_one_row_or_of_all() -> None:
    truth, guess = normal(30, 2), normal(30, 2, seed=1)
    floor = truth.mean(0)
    assert metrics.values(guess, truth, floor) == metrics.values(guess, truth, floor.expand_as(truth))
    assert metrics.values(floor.expand_as(truth), truth, floor)["advantage"] == 0
    assert metrics.values(truth, truth, floor)["advantage"] == 1
    with pytest.raises(BadGuess, match="finite"):
        metrics.values(guess / 0, truth, floor)


# membership and property


def test_auc_counts_a_tie_half() -> None:
    guess, truth = torch.tensor([3.0, 2.0, 2.0, 1.0]), torch.tensor([1, 1, 0, 0])
    assert metrics.scores(guess, truth)["auc"] == (1 + 1 + 0.5 + 1) / 4
    assert metrics.scores(torch.zeros(4), truth)["advantage"] == 0
    assert metrics.scores(-guess, truth)["advantage"] == -0.75


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    guess, truth = normal(80).mul(2).round(), (records(80) > 0.7).long()  # many ties
    yes, no = guess[truth == 1], guess[truth == 0]
    pairs = (yes[:, None] > no).double() + (yes[:, None] == no).double() / 2
    assert per_target.auc(guess, truth) == pytest.approx(float(pairs.mean()))
    assert float(per_target.placements(guess, truth).guess.mean()) == pytest.approx(float(pairs.mean()))


def test_tpr_at_one_percent_lets_one_in_a_hundred_through_and_no_tie_with_the_next() -> None:
    truth = torch.tensor([0] * 100 + [1] * 4)
    no = torch.arange(100.0)  # 99 passes, 98 does not
    assert per_target.tpr_at_fpr(torch.cat([no, torch.tensor([98.5, 98.0, 200.0, 0.0])]), truth, 0.01) == 0.5
    assert metrics.scores(torch.zeros(104), truth)["tpr_at_1fpr"] == 0


def test_membership_needs_both_kinds_and_finite_scores() -> None:
    with pytest.raises(BadInput, match="at least one of each"):
        metrics.scores(torch.zeros(3), torch.ones(3))
    with pytest.raises(BadGuess, match="finite"):
        metrics.scores(torch.tensor([0.0, float("nan")]), torch.tensor([0, 1]))


# how sure


def test_per_target_numbers_have_the_metrics_own_advantage() -> None:
    guess, truth = normal(40), (records(40) > 0.4).long()
    per = per_target.placements(guess, truth)
    assert per.advantage() == pytest.approx(metrics.scores(guess, truth)["advantage"])
    three, labels = normal(40, 3), torch.arange(40) % 3
    assert per_target.hits(three, labels, 0).advantage() == metrics.classes(three, labels, 0)["advantage"]


@pytest.mark.parametrize("kind", ["errors", "hits", "placements"])
def test_the_bootstrap_interval_covers_the_truth_about_nineteen_times_in_twenty(kind: str) -> None:
    generator, n, covered = np.random.default_rng(0), 200, 0
    for seed in range(100):
        if kind == "errors":  # x = n(0, 1), guessed with error of variance 0.5, floor 0: advantage 0.5
            x = normal(n, 4, seed=seed)
            per, real = per_target.errors(x + 0.5**0.5 * normal(n, 4, seed=seed + 999), x, torch.zeros(4)), 0.5
        elif kind == "hits":  # half of the labels are 0, 80 % are right: (0.8 - 0.5) / 0.5
            labels = torch.from_numpy(generator.integers(2, size=n))
            right = torch.from_numpy(generator.random(n) < 0.8)
            per, real = per_target.hits(torch.eye(2)[torch.where(right, labels, 1 - labels)], labels, 0), 0.6
        else:  # one standard deviation apart: AUC = Phi(1 / sqrt 2) = 0.7602
            labels = torch.arange(n) % 2
            per, real = per_target.placements(normal(n, seed=seed) + labels, labels), 0.5205
        covered += abs(per.advantage() - real) <= uncertainty.bootstrap_ci(per, generator, 300)
    assert 88 <= covered <= 100


def test_the_bootstrap_of_a_thousand_targets_is_quick_and_narrows_with_their_number() -> None:
    small, large = (per_target.errors(normal(n, 4), normal(n, 4, seed=1), torch.zeros(4)) for n in (100, 1000))
    began = time.process_time()
    narrow = uncertainty.bootstrap_ci(large, np.random.default_rng(0))
    assert time.process_time() - began < 0.25  # 20 ms on a quiet machine
    assert narrow < 0.5 * uncertainty.bootstrap_ci(small, np.random.default_rng(0))


def test_the_bootstrap_leaves_out_resamples_without_an_advantage() -> None:
    labels = torch.tensor([0, 0, 1])  # 8 of 27 resamples are all 0
    assert np.isfinite(
        uncertainty.bootstrap_ci(per_target.hits(torch.eye(2)[labels], labels, 0), np.random.default_rng(0))
    )
    with pytest.raises(BadInput, match="at least 2"):
        uncertainty.bootstrap_ci(per_target.hits(torch.eye(2)[:1], labels[:1], 1), np.random.default_rng(0))


@pytest.mark.slow
def test_permutation_p_is_uniform_without_a_signal_and_small_with_one() -> None:
    generator, labels = np.random.default_rng(0), torch.arange(60) % 2
    null = [uncertainty.permutation_p(per_target.auc, normal(60, seed=s), labels, generator, 99) for s in range(100)]
    assert 0.4 < np.mean(null) < 0.6
    assert np.mean(np.array(null) <= 0.05) <= 0.12
    assert uncertainty.permutation_p(per_target.auc, normal(60) + 3 * labels, labels, generator, 199) == 1 / 200
    assert uncertainty.permutation_p(per_target.auc, torch.zeros(60), labels, generator, 99) == 1


def test_permutation_p_takes_people_for_units_where_the_truth_is_one_of_people() -> None:
    """A guess that is the person's own level: among twelve people it fits some truth, and says nothing."""
    person = torch.arange(240) % 12
    small = {"records": 0, "people": 0}
    for seed in range(20):
        level, truth = normal(12, seed=seed)[person], (torch.randperm(12) < 6).long()[person]
        for name, unit in (("records", None), ("people", person)):
            p = uncertainty.permutation_p(per_target.auc, level, truth, np.random.default_rng(0), 99, unit)
            small[name] += p <= 0.02
    assert small["records"] > 4  # taken for 240 records it looks like a signal
    assert small["people"] <= 2


def test_permutation_p_of_a_score_that_ignores_the_pairing_is_one() -> None:
    def sum_of_both(guess: Tensor, truth: Tensor) -> float:  # its last digit depends on the order
        return float((guess.double() / 1000 + truth.double() / 3).mean())

    assert uncertainty.permutation_p(sum_of_both, normal(300), normal(300, seed=1), np.random.default_rng(0), 99) == 1


# utility


def test_utility_is_higher_for_better_in_every_task() -> None:
    y = torch.tensor([0, 1, 1, 0])
    assert task_metrics.utility(torch.eye(2)[[0, 1, 0, 0]], y, Task("classes", 2)) == ("accuracy", 0.75)
    mask = (records(4, 1, 8, 8) > 0.5).float()
    assert task_metrics.utility(20 * mask - 10, mask, Task("mask", 1)) == ("iou", 1)
    values = normal(50, 2)
    assert task_metrics.utility(values, values, Task("value", 2)) == ("r2", 1)
    assert task_metrics.utility(values.mean(0).expand_as(values), values, Task("value", 2))[1] == pytest.approx(
        0, abs=1e-6
    )
    with pytest.raises(Diverged):
        task_metrics.utility(torch.full((4, 2), float("nan")), y, Task("classes", 2))


@pytest.mark.parametrize("k", [2, 3, 10])
def test_other_measures_of_classes_are_scikit_learns(k: int) -> None:
    from sklearn import metrics as sk

    scores, y = (
        normal(300, k),
        torch.from_numpy(np.random.default_rng(1).choice(k, 300, p=np.arange(1, k + 1) / sum(range(k + 1)))),
    )
    scores[torch.arange(300), y] += 1
    got, told = task_metrics.utility_also(scores, y, Task("classes", k)), scores.double().softmax(1).numpy()
    assert task_metrics.utility(scores, y, Task("classes", k))[1] == pytest.approx(sk.accuracy_score(y, told.argmax(1)))
    assert got["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, told.argmax(1)))
    if k == 2:
        assert got["auc"] == pytest.approx(sk.roc_auc_score(y, told[:, 1]))
    else:
        assert got["auc"] == pytest.approx(sk.roc_auc_score(y, told, multi_class="ovr", average="macro"))


def test_where_a_class_does_not_occur_there_is_no_auc_and_recall_is_of_those_that_do() -> None:
    scores, y = torch.eye(3)[[0, 1, 1, 1]], torch.tensor([0, 0, 1, 1])
    assert task_metrics.utility_also(scores, y, Task("classes", 3)) == {"balanced_accuracy": 0.75}
    assert task_metrics.utility_also(scores[:, :2], y * 0, Task("classes", 2)).keys() == {"balanced_accuracy"}


def test_a_majority_answer_has_the_balanced_accuracy_and_auc_of_a_coin() -> None:
    y = torch.tensor([0] * 90 + [1] * 10)
    constant = torch.tensor([[1.0, 0.0]]).expand(100, 2)
    assert task_metrics.utility(constant, y, Task("classes", 2))[1] == 0.9
    assert task_metrics.utility_also(constant, y, Task("classes", 2)) == {"balanced_accuracy": 0.5, "auc": 0.5}


def test_measures_of_masks_are_scikit_learns_on_probabilities_cut_at_a_half() -> None:
    from sklearn import metrics as sk

    logits, y = normal(12, 1, 8, 8), (records(12, 1, 8, 8) > 0.4).float()
    logits[0], y[0] = -1, 0  # empty and found empty
    said, true = (logits.sigmoid() > 0.5).flatten(1).numpy(), y.flatten(1).bool().numpy()
    got = task_metrics.utility_also(logits, y, Task("mask", 1))
    each = [
        [f(t, s, zero_division=1.0) for t, s in zip(true, said, strict=True)] for f in (sk.jaccard_score, sk.f1_score)
    ]
    assert task_metrics.utility(logits, y, Task("mask", 1)) == ("iou", pytest.approx(np.mean(each[0])))
    assert got == pytest.approx({"dice": np.mean(each[1]), "pixel_accuracy": (said == true).mean()})
    between = torch.full((1, 1, 2, 2), 0.3)  # a probability of .57: in, although the logit is below a half
    assert task_metrics.utility_also(between, torch.ones(1, 1, 2, 2), Task("mask", 1)) == {
        "dice": 1,
        "pixel_accuracy": 1,
    }


def test_other_measures_of_values_are_scikit_learns() -> None:
    from sklearn import metrics as sk

    guess, y = normal(40, 3), normal(40, 3, seed=1)
    got = task_metrics.utility_also(guess, y, Task("value", 3))
    wanted = {"mse": sk.mean_squared_error(y, guess), "mae": sk.mean_absolute_error(y, guess)}
    assert got == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "model", "also"),
    [
        ("toy_flat", "toy_chain", {"balanced_accuracy", "auc"}),
        ({"name": "toy_flat", "task": "value"}, "toy_chain", {"mse", "mae"}),
        ("toy_images", "toy_skips", {"dice", "pixel_accuracy"}),
    ],
)
def test_a_record_tells_them_beside_the_first(
    run: Callable[..., Any], dataset: Any, model: str, also: set[str]
) -> None:
    (record,) = run(dataset=dataset, model=model, attack="blind")
    assert record["utility_also"].keys() == also
    if "dice" in also:
        assert record["utility_metric"] == "iou"


def test_the_constant_mask_is_no_worse_than_any_other_cut_of_the_mean_and_beats_one_half_where_masks_vary() -> None:
    generator = torch.Generator().manual_seed(3)
    masks = (torch.rand(40, 1, 6, 6, generator=generator) < 0.4).float()  # no pixel that most masks hold
    best = Task("mask", 1).constant(masks)

    def fits(mask: torch.Tensor) -> float:
        return float(per_target.overlaps(mask.double().expand_as(masks), masks, best).guess.mean())

    assert set(best.unique().tolist()) <= {0.0, 1.0}
    assert fits(best) >= max(fits(masks.mean(0) > level / 20) for level in range(1, 20))
    assert fits(best) > fits(masks.mean(0) > 0.5) + 0.2


@pytest.mark.parametrize("k", [0, 1, 37, 99, 100])
def test_the_interval_of_a_share_is_the_exact_one(k: int) -> None:
    right = binomtest(k, 100).proportion_ci(0.95, "exact")
    assert per_target.clopper_pearson(k / 100, 100) == pytest.approx((right.low, right.high))


def test_one_in_a_thousand_cannot_be_told_of_fewer_strangers() -> None:
    few, enough = (torch.arange(2 * n) % 2 for n in (999, 1000))
    assert "tpr_at_0_1fpr" not in metrics.scores(torch.rand(len(few)), few)
    found = metrics.scores(enough.double() + 0.0005 * torch.arange(2000), enough)
    assert (found["tpr_at_0_1fpr"], found["tpr_at_0_1fpr_high"]) == (1, 1)
    assert 0.99 < found["tpr_at_0_1fpr_low"] < 1
    one_through = torch.where(enough == 1, 0.5, torch.where(torch.arange(2000) == 0, 2.0, 0.0))
    assert metrics.scores(one_through, enough)["tpr_at_0_1fpr"] == 1
