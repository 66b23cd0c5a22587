# `make run` and `make test` set up everything that they need in .venv; both are quick when nothing changed.
PYTHON ?= python3
BIN := .venv/bin
MADE := .venv/made

.PHONY: run report test quick-test lint types bench kill-test damage-test mutation-test audit-test reference reference-images reference-federated reference-conformance detectors clean

run: $(MADE)
	$(BIN)/splitleak run quick

# The committed tables as one page.
report: $(MADE)
	$(BIN)/splitleak report results/reference -o results/reference/report.html

test: lint types
	$(BIN)/pytest -n 2 --dist worksteal

quick-test: $(MADE)
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

lint: $(MADE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(MADE)
	$(BIN)/mypy -p splitleak

bench: $(MADE)
	$(BIN)/python tests/long/bench.py

kill-test: $(MADE)
	$(BIN)/python tests/long/kill.py

# Changes 200 random bytes of a folder of results, one after the other.
damage-test: $(MADE)
	$(BIN)/python tests/long/damage.py

# Plants mistakes in a copy, one at a time; a test must notice each.
mutation-test: $(MADE)
	$(BIN)/python tests/long/mutations.py

# Audits with the whole suite: of clients whose answer is known, and of the victims of the reference tables.
audit-test: $(MADE)
	$(BIN)/python tests/long/audits.py

# The tables under results/reference, on the real heartbeats; one folder, so that the matrices share their victims, and
# where it was killed it goes on. Hours on two cores.
REFERENCE = main ecg ecg_clean ecg_labels ecg_label_dp ecg_patients ecg_membership ecg_linkage ecg_published \
    ecg_detectors ecg_detectors_urvfl
reference: $(MADE)
	set -e; for matrix in $(REFERENCE); do \
	    $(BIN)/splitleak run $$matrix --out runs/reference; \
	    cp runs/reference/leaderboard.csv results/reference/$$matrix.csv; \
	done
	set -e; for matrix in ecg ecg_clean; do for table in verdicts costs; do \
	    $(BIN)/python -m splitleak.report.$$table $$matrix runs/reference results/reference/$${matrix}_$$table.csv; \
	done; done
	set -e; for matrix in ecg_detectors ecg_detectors_urvfl; do \
	    $(BIN)/python -m splitleak.report.detection $$matrix runs/reference results/reference/$${matrix}_summary.csv; \
	done
	$(BIN)/python -m splitleak.report.published runs/reference results/reference/ecg_published_figures.csv
	$(BIN)/python -m splitleak.report.figures results/reference

# Published figures of attacks beside ours. Seed 1 alone has no run on the null channel, and takes half the time.
reference-conformance: $(MADE)
	set -e; for name in mnist pcat cifar fsha sdar; do \
	    $(BIN)/splitleak run conformance_$$name --only seed=1 --out runs/conformance; \
	done
	$(BIN)/python -m splitleak.report.conformance runs/conformance results/reference/conformance.csv

# The same of images, on real X-rays and digits, the presets for two cores; and of federations, where status 1 is expected:
# some rows are there to diverge.
reference-images: MATRICES = resnet_cuts_small resnet_clients_small unet_cuts_small unet_augmented unet_256 threats_small proxy_sweep utility_images mnist_fora
reference-federated: MATRICES = fed_boston fed_pvc fed_inversion fed_ecg
reference-images reference-federated: $(MADE)
	set -e; for matrix in $(MATRICES); do \
	    $(BIN)/splitleak run $$matrix --out runs/reference || test $$? = 1; \
	    cp runs/reference/leaderboard.csv results/reference/$$matrix.csv; \
	    $(BIN)/python -m splitleak.report.intervals $$matrix runs/reference results/reference/$${matrix}_intervals.csv; \
	done

# True and false positives of the hijack detectors, and what the attacker had when it was seen.
detectors: $(MADE)
	$(BIN)/splitleak run ecg_detectors --out runs/reference
	$(BIN)/python -m splitleak.report.detection ecg_detectors runs/reference results/reference/ecg_detectors_summary.csv

$(MADE): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "splitleak needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $(MADE)

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
