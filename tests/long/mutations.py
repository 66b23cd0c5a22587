"""Plant mistakes in a copy of the checkout, one at a time; a test must notice each: `make mutation-test`, some minutes.

The named tests first pass on the copy as it is. Then each text of PLANTED is replaced in turn, its tests are run in a
process of their own, and must fail. Writes results/mutations.json: promise, file, the test that noticed, seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
PACKAGE = "benchmark/splitleak"
LEFT_OUT = (".git", ".venv", ".*_cache", "__pycache__", "runs", "data", "shared", "build", "*.egg-info")
LIMIT = 300  # seconds of one run of tests
FAILED = 1  # pytest's status: tests ran, and some failed


@dataclass(frozen=True)
class Mistake:
    """A text that occurs once in a file of the package, what takes its place, and the tests that must notice it."""

    promise: str  # what it breaks
    file: str  # below benchmark/splitleak
    before: str
    after: str
    tests: str  # below tests/, separated by blanks

    @property
    def path(self) -> str:
        return f"{PACKAGE}/{self.file}"

    @property
    def named(self) -> list[str]:
        return [f"tests/{name}" for name in self.tests.split()]

    def times(self, checkout: Path) -> int:
        """How often the text occurs; anything but 1 means that the code has moved on."""
        return (checkout / self.path).read_text().count(self.before)


GOALS, RELEASE, VIEW = "score/test_goals.py::test_", "score/test_release.py::test_", "contract/test_view.py::test_"
WORST = "report/test_worst_case.py::test_"
METRICS, BOARD = "score/test_metrics.py::test_", "report/test_leaderboard.py::test_"
SENT = "defenses/test_sent.py::test_"
FEATURES, NULL = "defenses/test_defenses_features.py::test_", "score/test_null_channel.py::test_"
KNOWN = "auditing/test_known_answers.py::test_"
CONTROL = "score/test_control_population.py::test_"
PROMISES = "attacks/test_promises.py::test_"
SHIFTS, OWN = "attacks/test_shifts.py::test_", "models/test_own_network.py::test_"
MORE, NAMES = f"{PROMISES}who_knows_the_defence_finds_more", f"{PROMISES}who_knows_the_defence_names_more_labels"
CODES = f"{PROMISES}the_critic_sees_codes_through_the_defence"
PEOPLE = "score/test_people.py::test_"
CONFORMANCE = "report/test_conformance.py::test_"
PLANTED = [
    # Utility
    Mistake("utility is taken with the defence active", "score/utility.py",
            "victim.live.smash(z) if victim.cut else z", "z", "score/test_utility_defended.py"),
    Mistake("utility is taken on the test part", "score/utility.py",
            "    test, task = victim.data.test,", "    test, task = victim.data.private,",
            "jobs/test_changed_records.py::test_its_utility_is_measured_on_the_test_records_of_today"),
    Mistake("a hijacked training does not count for the utility", "score/runs.py",
            'facts["utility_attacked"] =', 'facts["utility"] =',
            "score/test_hijacked_utility.py"),
    # Records and who sees them
    Mistake("no record is in two parts", "datasets/reading/validation.py",
            "parts_are_disjoint(parts, data.flags, who)", "parts_are_disjoint({}, data.flags, who)",
            "datasets/test_datasets.py::test_overlap_of_records_or_patients_is_refused"),
    Mistake("no target is among the auxiliary records", "score/targets.py",
            "aux = aux.take((~", "aux = aux.take((True | ~",
            f"{VIEW}auxiliary_records_hold_no_target"),
    Mistake("the judge has seen no private record", "score/judge.py",
            "data.aux.x.cpu(), data.aux.y.cpu()", "data.private.x.cpu(), data.private.y.cpu()", "score/test_judge.py"),
    Mistake("hints are left out of the score", "score/scene.py",
            "counted[self.hints.cpu()] = False", "counted[self.hints.cpu()] = True",
            f"{GOALS}hints_are_left_out_of_the_score"),
    Mistake("neither place nor batch tells a member", "score/targets.py",
            "torch.randperm(2 * half, generator=generator)", "torch.arange(2 * half)",
            "score/test_mixed_members.py"),
    Mistake("the coin of a shadow does not depend on the part that a record is in", "train/shadows.py",
            "torch.randperm(len(known), generator=generator)", "torch.arange(len(known))",
            "train/test_shadows.py::test_the_coin_of_a_record_does_not_depend_on_the_part_that_it_is_in"),
    Mistake("a shadow is trained on its half", "jobs/making.py",
            "shadows.data_for(case.cell, data)", "data",
            "train/test_shadows.py::test_a_kept_shadow_was_trained_on_its_half"),
    Mistake("a shadow does not share the records of its pair", "train/shadows.py",
            "halves[cell.shadow % 2]", "halves[0]",
            "train/test_shadows.py::test_every_record_is_in_half_of_the_shadows_and_its_copies_with_it"),
    # What an attack gets
    Mistake("a view holds what is granted and nothing else", "contract/gate.py",
            "if grant not in self._grants:", "if False:",
            f"{VIEW}every_attribute_is_there_exactly_where_its_threat_grants_it"),
    Mistake("an attack never gets the truth of its own goal", "contract/threats.py",
            "aux) & ~TRUTH.get(goal, Grant(0))", "aux)", f"{VIEW}no_attack_is_granted_the_truth_of_its_goal"),
    Mistake("everything in a view is a copy", "contract/gate.py",
            "return found.detach().clone()", "return found.detach()", f"{VIEW}whatever_is_read_is_a_copy"),
    Mistake("an attack that only watches leaves the victim bit-identical: checked", "score/attempt.py",
            "if not self.null and self.victim.fingerprint() !=", "if self.null and self.victim.fingerprint() !=",
            "attacks/test_onlooker.py::test_an_onlooker_that_reaches_the_victim_is_found_out"),
    Mistake("victim and attacker have a random stream each", "plan/seeds.py",
            "        _restore(self._mine)\n        return self", "        return self",
            "attacks/test_onlooker.py::test_passive_onlooker_leaves_victim_bit_identical"),
    Mistake("a guess outside the range of the data is refused", "score/question.py",
            "if checked.min() < low - 1e-4 or checked.max() > high + 1e-4:", "if False:",
            "attacks/test_failing_attacks.py::test_broken_attack_is_a_failed_record_that_says_who_and_what"),
    # Every attack knows the defence
    Mistake("attacks that query learn from what the defence lets through", "score/channel.py",
            "live.smash(victim.split.bottom(part)[0])", "victim.split.bottom(part)[0]",
            f"{MORE}[adra] {MORE}[inverse_labels] {MORE}[inverse_network] {MORE}[least_squares] {MORE}[oracle] "
            f"{MORE}[oracle_decoder]"),
    Mistake("the probe of a property learns from messages", "attacks/property_probe.py",
            "torch.cat(self._messages(view, x))", "torch.cat([x] * self.draws)",
            "attacks/test_attacks_people.py::test_the_probe_learns_through_the_defence_which_values_can_be_relied_on"),
    Mistake("shadows are trained under the defence of the victim", "plan/cell.py",
            'replace(self, seed=seed_for("shadow", i), shadow=i)',
            'replace(self, seed=seed_for("shadow", i), shadow=i, defense={"name": "none"})',
            "attacks/test_attacks_shadows.py::test_the_shadows_have_the_defence_of_the_victim"),
    Mistake("the MAP search knows what a missing element is", "pieces/learned_channel.py",
            "missing = meaning_of_zero(z, y)", 'missing = "none"',
            "attacks/test_map_search.py::test_missing_elements_are_not_elements_of_value_0"),
    Mistake("a descent passes through the defence", "attacks/rmle.py",
            "sent = plain if added else defense.smash(plain)", "sent = plain", f"{MORE}[rmle]"),
    Mistake("a search does not take a missing element for a zero", "pieces/message_bounds.py",
            "channel.bounds(z))", "(z, z))", f"{MORE}[query_free] {MORE}[unsplit]"),
    Mistake("an attacker who knows the architecture gets new weights", "models/own_network.py",
            "if torch.equal(t, known[name]):", "if False:",
            f"{OWN}who_knows_the_architecture_does_not_get_the_weights"),
    Mistake("a record that nobody wrote down has no message", "models/logged.py",
            "if missing := int((self.keys[rows] != asked).sum()):", "if missing := 0:",
            "auditing/test_logged.py::test_a_record_that_was_not_written_down_has_no_message"),
    Mistake("messages that were written down come back with their own gradients", "models/logged.py",
            "return ctx.saved_tensors[0], None, None", "return torch.ones_like(ctx.saved_tensors[0]), None, None",
            "auditing/test_logged.py::test_gradients_of_a_u_shape_give_labels_away"),
    Mistake("a model that hands out learned weights is refused", "score/sources.py",
            "if not case.cell.train.epochs and _gives_away(", "if case.cell.train.epochs and _gives_away(",
            f"{OWN}a_model_that_gives_its_learned_weights_to_attackers_is_refused"),
    Mistake("the few tensors of a defence are removed from what is on the wire", "pieces/shifts.py",
            "return z - nearest(means, z) + means.mean(0)", "return z",
            f"{SHIFTS}the_channel_of_who_knows_the_defence_shows_the_record "
            f"{SHIFTS}linkage_of_who_knows_the_defence_is_as_if_there_were_none"),
    Mistake("a pseudo-client sends through the defence", "attacks/pcat.py",
            "return self.defense.smash(self.client(x))", "return self.client(x)", f"{MORE}[pcat]"),
    Mistake("a substitute client sends through the defence", "attacks/fora.py",
            "sent = self.defense.smash(self.client(x))", "sent = self.client(x)",
            "attacks/test_attacks_fora.py::test_the_substitute_sends_through_the_defence"),
    Mistake("a simulator sends through the defence", "attacks/sdar.py",
            "sent = self.defense.smash(self.client(x))", "sent = self.client(x)",
            "attacks/test_attacks_sdar.py::test_the_simulator_sends_through_the_defence"),
    Mistake("a critic sees codes through the defence", "attacks/fsha.py",
            "critic, optimizer, defense.smash(drawn), z)", "critic, optimizer, drawn, z)",
            f"{CODES}[fsha] {CODES}[splitspy]"),
    Mistake("a discriminator by class sees codes through the defence", "attacks/urvfl.py",
            "judge.learn(defense.smash(code[rows.draw(y)]),", "judge.learn(code[rows.draw(y)],",
            "attacks/test_attacks_urvfl.py::test_the_discriminator_sees_codes_through_the_defence"),
    Mistake("the inverse of a hijack learns from what the defence lets through", "pieces/hijack.py",
            "inverse(defense.smash(noisy))", "inverse(noisy)",
            "attacks/test_attacks_urvfl.py::test_the_inverse_is_that_of_what_the_defence_lets_through"),
    Mistake("gradients that are reversed at random are taken as lines", "pieces/directions.py",
            "return bool((cosine.abs() > 0.999).all() and (cosine < 0).any())", "return False",
            f"{NAMES}[cosine] {NAMES}[gradient_match] {NAMES}[similarity]"),
    Mistake("clusters are labels with the errors that the defence makes", "attacks/noisy_labels.py",
            "sent = live.labels(Records(x, y, torch.arange(n)))", "sent = y",
            "attacks/test_attacks_noisy_labels.py::"
            "test_a_class_whose_majority_is_sent_as_another_is_found_by_who_knows_the_defence"),
    # Training and what crosses the cut
    Mistake("the defence is active in every step of the training", "train/ends.py",
            "sent = self.live.smash(z)", "sent = self.live.smash(z) if not z.requires_grad else z",
            f"{FEATURES}every_message_of_training_is_defended"),
    Mistake("a query is answered with the defence", "score/channel.py",
            "live.smash(victim.split.bottom(part)[0])", "victim.split.bottom(part)[0]",
            f"{RELEASE}a_query_has_fresh_noise_each_time"),
    Mistake("the gradient that the server sends is defended", "train/ends.py",
            "self.live.gradient(_grad(up), y)", "_grad(up)",
            f"{SENT}the_servers_gradient_is_sent_as_the_defence_changed_it"),
    Mistake("in a u-shape the gradient of the features is defended", "train/ends.py",
            "self.live.gradient(_grad(down), self.y)", "_grad(down)",
            f"{SENT}the_gradient_of_the_features_is_sent_as_the_defence_changed_it"),
    Mistake("the labels that cross are those that the defence sends", "train/ends.py",
            "self.x, self.y = self.live.batch(x, y)", "self.x, self.y = self.live.batch(x, y)[0], y",
            f"{SENT}labels_and_records_are_sent_as_the_defence_changed_them"),
    Mistake("the release is in eval mode", "train/victim.py",
            "            network.eval()", "            network.train()",
            f"{RELEASE}release_is_in_eval_mode_and_each_records_own_gradient"),
    Mistake("batch norm and dropout are in training mode while training", "train/loop.py",
            "self._mode(training=True)", "self._mode(training=False)",
            "train/test_split.py::test_norm_dropout_and_layers_that_work_in_place_can_be_cut"),
    Mistake("clients hand on their weights", "train/averaging.py",
            "    if to is not source:", "    if to is source:",
            "train/test_clients.py::test_clients_in_turn_hand_on_weights_and_buffers_but_not_their_optimiser"),
    Mistake("first weights do not depend on the defence", "train/victim.py",
            'case.seeds.of("init")', 'case.seeds.of("init" + case.cell.defense["name"])',
            f"{RELEASE}rows_that_differ_in_the_defence_share_start_order_and_targets"),
    Mistake("across machines the top learns the same bits", "wire/server_part.py",
            "            optimizer.step()", "            optimizer.step(), optimizer.step()",
            "wire/test_wire_bits.py::test_ends_with_the_bits_of_the_run_in_one_process[vanilla]"),
    Mistake("a client's number is that of its certificate", "wire/registry.py",
            "if hello.client != number:", "if False:",
            "wire/test_wire_hostile_peers.py::test_a_number_is_bound_to_its_certificate"),
    Mistake("a header is checked before memory is taken", "wire/kinds.py",
            "    if header.total > most:", "    if False:", "wire/test_wire_rules.py"),
    Mistake("a bool is no number in a message", "wire/facts.py",
            "if type(value) is int and self.least", "if isinstance(value, int) and self.least",
            "wire/test_wire_rules.py"),
    # Files
    Mistake("a victim is trained again if its records changed", "train/data.py",
            "for part in (data.private, data.aux, data.test):", "for part in ():", "jobs/test_changed_records.py"),
    Mistake("a killed training goes on bit for bit", "train/checkpoint.py",
            "        set_random_state(tensors, facts)\n", "",
            "train/test_checkpoint.py::test_goes_on_from_the_last_checkpoint_bit_for_bit"),
    Mistake("a file is whole or absent", "store.py",
            'path.with_name(f".{path.name}.{os.getpid()}.tmp")', "path", "jobs/test_whole_files.py"),
    Mistake("a changed victim or record is not used", "sealed.py",
            "if found is None or _checksum(content, found) != found[1]:", "if found is None:",
            "jobs/test_damage.py::test_damaged_victim_is_named_set_aside_and_trained_again "
            "jobs/test_any_byte.py::test_an_edited_advantage_does_not_reach_a_table"),
    Mistake("a record is that of its cell", "store.py",
            'if digest(record["cell"]) != key:', "if False:",
            "jobs/test_any_byte.py::test_a_record_of_another_form_is_named_and_made_again"),
    Mistake("an edited attack is run again", "jobs/worker.py",
            'in FINAL and record.get("made_by") == self.made_by(self.case(cell))', "in FINAL",
            "jobs/test_out_of_date.py::test_an_edited_attack_is_run_again_on_the_kept_victims"),
    Mistake("a victim of another defence's code is trained again", "jobs/making.py",
            "return kept is not None and kept.facts.made_by == made", "return kept is not None",
            "jobs/test_out_of_date.py::test_an_edited_defence_trains_its_victim_again_and_no_other"),
    Mistake("no pickle is read", "datasets/reading/array_files.py", "allow_pickle=False", "allow_pickle=True",
            "datasets/images/test_images_bad_input.py::test_bad_arrays"),
    # Controls and scores
    Mistake("the floor is the mean record", "score/floor.py",
            "yield Floor(x.mean(0).expand(", "yield Floor(x.median(0).values.expand(",
            f"{GOALS}the_floor_is_the_class_mean_exactly_where_labels_are_granted"),
    Mistake("the null channel sends nothing of a record", "score/null.py",
            "self.mean + self.std * torch.randn_like(z)", "z", f"{NULL}a_null_message_does_not_depend_on_the_record"),
    Mistake("a null gradient keeps no record's length", "score/null.py",
            "self.scales[g.shape[1:]] * torch.randn_like(g)",
            "g.flatten(1).std(1).view(-1, *[1] * (g.dim() - 1)) * torch.randn_like(g)",
            f"{NULL}a_null_gradient_keeps_neither_the_length_nor_the_direction_of_a_record"),
    Mistake("a null gradient keeps no batch's size", "score/null.py",
            "if not self.scales.get(g.shape[1:]):", "if True:", f"{NULL}a_null_gradient_keeps_no_batchs_size"),
    Mistake("what is found on the null channel is flagged", "score/question.py",
            "advantage > NULL_LIMIT, None", "False, None",
            f"{GOALS}an_attack_that_holds_the_truth_is_flagged_by_its_null_twin"),
    Mistake("no place tells strangers from targets", "score/scene.py",
            "torch.randperm(len(both), generator=self.case.seeds.generator(\"control order\"))",
            "torch.arange(len(both))", f"{CONTROL}the_place_of_a_message_does_not_tell_whose_it_is"),
    Mistake("the control is the strangers'", "score/scene.py",
            "self.own, self.theirs = places[:n], places[n:]", "self.own, self.theirs = places[:n], places[:n]",
            f"{CONTROL}what_the_channel_gives_away_it_gives_away_of_strangers_too"),
    Mistake("metrics know the range of the records", "score/metrics.py",
            "torch.log10(span**2 / per.guess)", "torch.log10(1 / per.guess)",
            f"{METRICS}the_range_of_the_records_moves_neither_psnr_nor_ssim_nor_advantage"),
    Mistake("a tie re-identifies nobody", "score/similarity.py",
            "(distance <= own + slack).sum(1)", "(distance < own - slack).sum(1) + 1",
            f"{METRICS}ties_re_identify_nobody"),
    # The table
    Mistake("only an attack that works counts for the worst case", "report/worst.py",
            " if self.works(other)]", "]",
            f"{BOARD}attack_that_works_nowhere_is_flagged_in_all_its_rows_and_never_the_worst"),
    Mistake("what an attack finds behind a defence counts", "report/worst.py",
            "for k in (key.undefended(), key))", "for k in (key.undefended(),))",
            f"{BOARD}what_an_attack_finds_behind_a_defence_counts_even_if_it_fails_undefended"),
    Mistake("the worst case is of threats that grant no more", "report/worst.py",
            " if not other.grants & ~key.grants]", "]", f"{BOARD}worst_is_over_threats_that_hold_no_more"),
    Mistake("a suite is complete on every seed", "report/worst.py",
            "all(wanted <= finished[place] for", "all(finished[place] for",
            f"{WORST}a_missing_attack_makes_its_threat_partial_and_all_that_hold_more"),
    Mistake("a suite is complete under weaker threats too", "report/worst.py",
            "and not threats.THREATS[one.threat].on(protocol) & ~key.grants", "and one.threat == key.cell[\"threat\"]",
            f"{WORST}a_missing_attack_makes_its_threat_partial_and_all_that_hold_more"),
    Mistake("a partial worst case is ranked behind complete ones", "report/strongest.py",
            "any(map(is_partial, real)), not worst", "False, not worst",
            f"{WORST}partial_worst_cases_stand_behind_complete_ones_and_say_so"),
    Mistake("a suite is the cells of its attacks by hand", "plan/suites.py",
            "if one.objection(protocol, aux) is None]", "]",
            "plan/test_suites.py::test_a_suite_is_the_same_cells_as_its_attacks_by_hand"),
    Mistake("drops are paired by seed", "report/table.py",
            'before = {r["cell"]["seed"]: r for r in undefended}',
            'before = {r["cell"]["seed"]: undefended[0] for r in undefended}', f"{BOARD}drops_are_paired_by_seed"),
    Mistake("a seed counts once", "report/rows.py",
            "seeds[seed] = _counting(seeds[seed], record) if seed in seeds else record", "seeds[len(seeds)] = record",
            "report/test_rows.py::test_other_tables_count_a_seed_once_too"),
    Mistake("a row is a cell", "report/rows.py", 'NO_PART = ("seed", "null")', 'NO_PART = ("seed", "null", "train")',
            f"{BOARD}a_row_is_a_cell_but_for_its_seed"),
    Mistake("no text of a CSV is a formula", "report/csv_file.py", "value.startswith(FORMULA)", "False",
            "report/test_csv.py::test_no_text_of_the_leaderboard_is_a_formula"),
    Mistake("intervals are Student's", "report/means.py",
            "float(t.ppf(0.975, len(values) - 1))", "1.96", f"{BOARD}interval_is_students_over_seeds"),
    Mistake("a row of changed code is stale", "report/flags.py",
            '["stale"] if any(stale(r, base) for r in records)', '["stale"] if False',
            f"{BOARD}row_is_stale_when_a_plugins_file_has_changed_since"),
    # Searches and choices of attacks
    Mistake("what a small generator cannot make of a record is noise of the message", "pieces/map_estimate.py",
            "variance=self.channel.variance + missed", "variance=self.channel.variance + 0 * missed",
            "attacks/test_map_search.py::test_what_a_generator_cannot_make_is_noise_of_the_message"),
    Mistake("of all starts the one of least loss counts", "pieces/map_estimate.py",
            "[losses.argmin(0), torch.arange", "[losses.argmax(0), torch.arange",
            "attacks/test_map_search.py::test_of_all_starts_the_one_of_least_loss_counts"),
    Mistake("a local search starts at its prior's mean", "pieces/local_prior.py",
            ".end(prior.mean, sent, WEIGHT)", ".end(x, sent, WEIGHT)",
            "attacks/test_map_search.py::test_a_local_search_starts_at_its_priors_mean"),
    Mistake("of solutions that fit alike the most plausible counts", "pieces/distances.py",
            "if residual <= 2 * least]", "if residual <= least]",
            "attacks/test_attacks_inputs.py::test_of_solutions_that_fit_alike_the_one_that_looks_like_records_counts"),
    # People
    Mistake("no record is paired with itself", "pieces/pairs.py",
            "torch.triu_indices(n, n, 1)", "torch.triu_indices(n, n, 0)",
            f"{PEOPLE}the_auc_is_that_of_the_library_over_all_pairs_each_once_and_none_with_itself"),
    Mistake("the interval of a property is over people", "score/question.py",
            "people.Scored.records(guess, self.truth, person).ci95(rng)",
            "uncertainty.bootstrap_ci(self.per_target(guess), rng)",
            f"{PEOPLE}the_interval_of_a_property_is_over_people_and_over_targets_where_they_are_unknown"),
    Mistake("a probe is chosen by leaving people out", "pieces/probe.py",
            "folds_of(examples.person, FOLDS)", "folds_of(torch.arange(len(examples.f)), FOLDS)",
            "attacks/test_attacks_people.py::test_a_rule_that_knows_the_people_is_not_chosen"),
    Mistake("every person counts the same, however many records are theirs", "pieces/probe.py",
            "1 / (count[place] * len(count)).double()", "torch.full((len(place),), 1 / len(place)).double()",
            "attacks/test_attacks_people.py::test_people_count_the_same_however_many_records_they_have"),
    Mistake("a goal without answers is refused before anything is trained", "jobs/answers.py",
            "if lack and not cell.optional:", "if False:",
            "jobs/test_answers.py::test_an_answer_that_is_not_there_is_one_line"),
    # Conformance
    Mistake("a published error is compared in its own range", "report/conformance.py",
            "figure.scale * value(", "value(",
            f"{CONFORMANCE}a_squared_error_between_minus_one_and_one_is_four_times_ours"),
    Mistake("a stand-in is tested in the place of the client", "report/conformance.py", "stand_in.eval()(x)",
            "attempt.victim.split.bottom.eval()(x)[0]",
            f"{CONFORMANCE}the_functionality_of_the_client_itself_is_the_victims_accuracy"),
    # Audit and report
    Mistake("of a network that is trained already nothing crosses but messages", "contract/protocols.py",
            'return ("smashed",)', 'return ("smashed", "gradient", "labels")',
            "plan/test_inference.py::test_nothing_crosses_but_the_smashed_data"),
    Mistake("an exported program calls known operators only", "models/_compiled.py",
            'if not OPERATORS.fullmatch(node["target"]):', "if False:",
            "models/test_compiled.py::test_code_in_an_archive_is_refused"),
    Mistake("an exported program comes alone in its archive", "models/_compiled.py",
            "if not ENTRIES.fullmatch(name):", "if False:",
            "models/test_compiled.py::test_an_archive_holds_one_network_and_nothing_else"),
    Mistake("pickled examples of an exported program are not read", "models/_compiled.py",
            'content = b""  # a pickle', "pass",
            "models/test_compiled.py::test_pickled_examples_are_not_read"),
    Mistake("labels that nobody gave tell nothing about the records", "datasets/own_records.py",
            '_random(len(whole["x"]))', '(torch.from_numpy(whole["x"]).flatten(1).mean(1)[:, None], Task("value", 1))',
            "datasets/test_own_records.py::test_without_labels_stands_in_what_tells_nothing"),
    Mistake("an audit tells a class leak from a leak of records", "auditing/words.py",
            "if by_class is not None and", "if False and",
            f"{KNOWN}a_client_that_sends_the_class_gives_the_class_away_and_nothing_more"),
    Mistake("an audit holds members against strangers", "auditing/words.py",
            "if gap > max(NOTHING, 2 * _half(best))", "if False",
            f"{KNOWN}members_that_were_learned_by_heart_are_told_from_strangers"),
    Mistake("text of others stays text in the report", "report/html/render.py",
            'plain.replace("<"', 'plain.replace("@@"', "report/test_report_page.py::test_text_of_others_stays_text"),
]  # fmt: skip


def main() -> None:
    """Plant every mistake, or those whose promise has the word of --only; status 1 if one is not noticed."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", default="")
    asked.add_argument("--out", type=Path, default=CHECKOUT / "results/mutations.json")
    given = asked.parse_args()
    chosen = [mistake for mistake in PLANTED if given.only in mistake.promise]
    for mistake in chosen:
        if (times := mistake.times(CHECKOUT)) != 1:
            sys.exit(
                f"stale mutation '{mistake.promise}': its text occurs {times} times in {mistake.path}, must be once"
            )
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "splitleak"
        shutil.copytree(CHECKOUT, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        check_unplanted(copy, chosen)
        results = [planted(copy, mistake) for mistake in chosen]
    write(given.out, results)
    if missed := [result["promise"] for result in results if not result["noticed_by"]]:
        sys.exit(f"not noticed: {'; '.join(missed)}")


def check_unplanted(copy: Path, chosen: list[Mistake]) -> None:
    """Every test passes without a mistake, on the code of the copy."""
    where = [sys.executable, "-c", "import splitleak; print(splitleak.__file__)"]
    if not run(copy, where).stdout.startswith(str(copy.resolve())):
        sys.exit("the copy does not import its own package")
    ran = pytest(copy, list(dict.fromkeys(name for mistake in chosen for name in mistake.named)), len(chosen))
    if ran.returncode:
        sys.exit(f"fails without any mistake planted:\n{ran.stdout[-4000:]}")


def planted(copy: Path, mistake: Mistake) -> dict[str, Any]:
    """Run the tests of one mistake; `noticed_by` is empty if one of them passes."""
    start, file = time.monotonic(), copy / mistake.path
    whole = file.read_text()
    file.write_text(whole.replace(mistake.before, mistake.after))
    try:
        found = [noticed(pytest(copy, [name])) for name in mistake.named]
    finally:
        file.write_text(whole)
    noticed_by = " ".join(found) if all(found) else ""
    result = {"promise": mistake.promise, "file": mistake.path, "noticed_by": noticed_by}
    print(f"{time.monotonic() - start:5.1f} s  {mistake.promise}: {noticed_by or 'NOT NOTICED'}", flush=True)  # noqa: T201
    return result | {"seconds": round(time.monotonic() - start, 1)}


def noticed(ran: subprocess.CompletedProcess[str]) -> str:
    """The first test that failed; empty where all passed, none ran or the time was over."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+::\w+)", ran.stdout, re.MULTILINE)
    return found[1] if found and ran.returncode == FAILED else ""


def pytest(copy: Path, tests: list[str], runs: int = 1) -> subprocess.CompletedProcess[str]:
    return run(copy, [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests], LIMIT * runs)


def run(copy: Path, command: list[str], limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
    """A process on the code of the copy. It keeps no bytecode: a planted text of equal length would not be seen."""
    own = {"PYTHONPATH": f"{copy / 'benchmark'}:{copy}", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        return subprocess.run(
            command, cwd=copy, env=os.environ | own, timeout=limit, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, -1, "the time was over", "")


def write(path: Path, results: list[dict[str, Any]]) -> None:
    from splitleak.store import write_json

    write_json(path, results)


if __name__ == "__main__":
    main()
