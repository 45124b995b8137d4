"""The verify tests of the scenario `monitoring`: what they see, they cause by themselves."""

from faults import ON_THE_CONTROLLER

WATCHED = "test_monitoring.py of `default` promises the same, and its faults are in the table"
ROLE = "the fault would be one of the role, not one of a machine"
ITS_OWN = "it causes the fault by itself, and looks at what is told of it"

NOT_CAUSED_MONITORING = {
    "test_data.py::test_every_target_of_the_inventory_is_up": WATCHED,
    "test_data.py::test_every_query_of_every_rule_has_data": WATCHED,
    "test_data.py::test_what_was_sent_is_what_is_counted": ITS_OWN,
    "test_data.py::test_a_scrape_costs_the_same_however_many_workers_have_ended": ITS_OWN,
    "test_data.py::test_an_application_without_figures_has_rate_errors_and_latency": WATCHED,
    "test_data.py::test_no_port_of_the_watch_answers_another_machine": WATCHED,
    "test_data.py::test_watching_is_cheap": WATCHED,
    "test_faults.py::test_faults_around_the_application_are_told": ITS_OWN,
    "test_faults.py::test_an_application_that_is_gone_is_told": ITS_OWN,
    "test_refused.py::test_a_rule_that_would_not_load_changes_nothing": ROLE,
    "test_refused.py::test_a_receiver_that_would_not_load_changes_nothing": ROLE,
    "test_refused.py::test_what_cannot_work_is_one_sentence": ROLE,
    "test_faults.py::test_a_crash_loop_is_told": ITS_OWN,
    "test_faults.py::test_a_machine_that_is_off_is_told_alone": ITS_OWN,
    "test_faults.py::test_broken_promises_are_told": ITS_OWN,
    "test_faults.py::test_memory_is_told_before_it_is_gone": ITS_OWN,
    "test_pair.py::test_both_know_and_one_tells": ROLE,
    "test_pair.py::test_one_of_them_is_enough": ITS_OWN,
    "test_pair.py::test_a_stranger_takes_no_part": ITS_OWN,
    "test_pair.py::test_each_is_known_to_the_other_once": ROLE,
    "test_remote_cache.py::test_reads_are_served_from_another_machine": ON_THE_CONTROLLER,
    "test_remote_cache.py::test_a_machine_that_is_away_costs_time_alone": ITS_OWN,
}
