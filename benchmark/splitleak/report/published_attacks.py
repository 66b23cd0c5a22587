"""What papers report of their attacks, and the cell of a matrix `conformance_*` that measures it here.

Sources: He, Zhang and Lee, ACSAC 2019, tables 2 to 5 and their code; Gao and Zhang, USENIX Security 2023 (PCAT, and
UnSplit as they measured it); Pasquini, Ateniese and Bernaschi, ACM CCS 2021, the log of their notebook; Zhu et al.,
NDSS 2025, the logs of their code.
"""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = ("mnist(n=10000)", "lenet(fine=True)")
VICTIMS = {  # matrix -> how tables print its dataset, its model and its settings
    "conformance_mnist": (*DIGITS, "epochs=10 targets=10 targets_from=test"),
    "conformance_cifar": ("cifar10(n=3000)", "he_cnn", "epochs=4 targets=10 targets_from=test"),
    "conformance_pcat": (*DIGITS, "epochs=5 targets=100"),
    "conformance_fsha": ("mnist(size=32, n=6000)", "fsha_resnet", "epochs=1 batch_size=64 lr=1e-05 targets=500"),
    "conformance_sdar": ("cifar10", "resnet20", "epochs=4 batch_size=128 targets=500"),
}
MATRICES = tuple(VICTIMS)


@dataclass(frozen=True)
class Figure:
    """A number of a paper, and where it is measured."""

    paper: str
    setting: str
    variant: str  # "as in their code", or what is changed or smaller
    matrix: str
    cut: int
    attack: str  # its label
    metric: str  # of a record, or "functionality"
    reported: float
    scale: float = 1.0  # of what is measured: 4 for a squared error in [-1, 1], ours is in [0, 1]
    step: int | None = None  # of the curve in the record; None: the final guess


def he(place: str, cut: int, attack: str, psnr: float, ssim: float, variant: str) -> tuple[Figure, ...]:
    """Two figures of He et al. 2019; place: "MNIST conv1, white box"."""
    name = "conformance_" + place.partition(" ")[0].lower()
    both = {"psnr": psnr, "ssim": ssim}
    return tuple(Figure("He et al. 2019", place, variant, name, cut, attack, m, v) for m, v in both.items())


def search(steps: int, lr: float, tv: float, eps: str = "") -> str:
    return f"rmle(steps={steps}, lr={lr:g}, tv={tv:g}{eps})"


DECODER, RESIZING, EPS = "inverse_network(size=P)", "inverse_network(size=S)", ", eps=0.001"
STEPS = "their decoder, 2,600 steps"
CODE, NO_EPS, NO_TV = "as in their code", "Adam without their eps", "without eps and total variation"
TRAINED = "query_free(shadow=300, search=500, tv={:g})"
UNSPLIT = "unsplit(inner=100, lr=0.001{})"  # with its 25 rounds
FSHA = "fsha_published(iterations=500, critic=64, curve=50)"
SDAR = "sdar({}every=1, tail={})"
LONG = "5 times the steps, 4 times the rate, without eps, "

FIGURES = (
    *he("MNIST conv1, white box", 1, search(5000, 0.005, 0, EPS), 39.69, 0.9969, CODE),
    *he("MNIST conv1, white box", 1, search(5000, 0.005, 0), 39.69, 0.9969, NO_EPS),
    *he("MNIST conv1, white box", 1, search(5000, 0.005, 4, EPS), 39.69, 0.9969, "total variation as at ReLU2"),
    *he("MNIST ReLU2, white box", 5, search(5000, 0.005, 4, EPS), 15.10, 0.5998, CODE),
    *he("MNIST ReLU2, white box", 5, search(5000, 0.005, 4), 15.10, 0.5998, NO_EPS),
    *he("MNIST ReLU2, white box", 5, search(5000, 0.005, 0), 15.10, 0.5998, NO_TV),
    *he("MNIST ReLU2, white box", 5, search(5000, 0.005, 40, EPS), 15.10, 0.5998, "10 times the total variation"),
    *he("MNIST conv1, black box", 1, DECODER, 40.72, 0.9950, STEPS),
    *he("MNIST conv1, black box", 1, "inverse_network(lr=0.03, size=P)", 40.72, 0.9950, "10 times the rate"),
    *he("MNIST conv1, black box", 1, RESIZING, 40.72, 0.9950, "a decoder that interpolates"),
    *he("MNIST ReLU2, black box", 5, DECODER, 20.81, 0.8046, STEPS),
    *he("MNIST ReLU2, black box", 5, RESIZING, 20.81, 0.8046, "a decoder that interpolates"),
    *he("MNIST conv1, query-free", 1, "query_free(search=500, tv=47)", 17.86, 0.6952, CODE),
    *he("MNIST conv1, query-free", 1, "query_free(search=500, tv=0.02)", 17.86, 0.6952, "hardly any total variation"),
    *he("MNIST ReLU2, query-free", 5, "query_free(search=500, tv=10.4)", 8.03, 0.3226, CODE),
    *he("MNIST ReLU2, query-free", 5, "query_free(search=500, tv=0.02)", 8.03, 0.3226, "hardly any total variation"),
    *he("CIFAR conv11, white box", 1, search(2000, 0.0025, 0, EPS), 37.59, 0.9960, CODE),
    *he("CIFAR conv11, white box", 1, search(2000, 0.0025, 0), 37.59, 0.9960, NO_EPS),
    *he("CIFAR ReLU22, white box", 9, search(1000, 0.0025, 160, EPS), 19.47, 0.6940, CODE),
    *he("CIFAR ReLU22, white box", 9, search(1000, 0.01, 0), 19.47, 0.6940, f"4 times the rate, {NO_TV}"),
    *he("CIFAR ReLU22, white box", 9, search(5000, 0.01, 0), 19.47, 0.6940, f"{LONG}no total variation"),
    *he("CIFAR ReLU22, white box", 9, search(5000, 0.01, 2), 19.47, 0.6940, f"{LONG}an 80th of the total variation"),
    *he("CIFAR ReLU22, white box", 9, search(5000, 0.01, 16), 19.47, 0.6940, f"{LONG}a tenth of the total variation"),
    *he("CIFAR conv11, black box", 1, DECODER, 49.02, 0.9992, STEPS),
    *he("CIFAR ReLU22, black box", 9, DECODER, 19.36, 0.6802, STEPS),
    *he("CIFAR conv11, query-free", 1, TRAINED.format(682), 13.06, 0.1553, CODE),
    *he("CIFAR conv11, query-free", 1, TRAINED.format(0.2), 13.06, 0.1553, "hardly any total variation"),
    *he("CIFAR ReLU22, query-free", 9, TRAINED.format(341), 11.30, 0.0467, CODE),
    *(
        Figure("UnSplit, by PCAT's paper", f"MNIST cut {cut}", variant, "conformance_mnist", 3 * cut,
               UNSPLIT.format(more), "functionality", reported)
        for cut, reported in ((1, 0.9375), (2, 0.633))
        for variant, more in (("25 rounds of 1,000", ", l2=1"), ("without the pull to zero", ""))
    ),
    Figure("UnSplit, by PCAT's paper", "MNIST cut 2", "100 rounds of 1,000", "conformance_mnist", 6,
           "unsplit(rounds=100, inner=100, lr=0.001, l2=1)", "functionality", 0.633),
    *(
        Figure("PCAT 2023", f"MNIST, 5 labels a class, cut {cut}", "1,565 steps", "conformance_pcat", 3 * cut,
               "pcat(per_class=5, tail=0)", "functionality", 0.9689)
        for cut in (1, 2)
    ),
    *(
        Figure("FSHA 2021", f"MNIST cut 4, iteration {step}", "critic of 64 channels", "conformance_fsha", 4, FSHA,
               "mse", reported, 4, step)
        for step, reported in ((500, 0.151),)
    ),
    *(
        Figure("SDAR 2025", "CIFAR-10, ResNet-20 level 4", variant, "conformance_sdar", 4, SDAR.format(*more), metric,
               reported)
        for variant, more in (("688 of 20,000 steps", ("", 500)), ("2,188 steps", ("", 2000)),
                              ("688 steps without discriminators", ("l1=0, l2=0, ", 500)))
        for metric, reported in (("mse", 0.0081), ("ssim", 0.804))
    ),
)  # fmt: skip
