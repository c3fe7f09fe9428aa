//! What every store promises, as tests that each implementation passes.
//!
//! A property is an async function over a [`Place`]; [`conformance!`] makes each of them a test of one implementation.
//! Nothing asks how long something took: what needs time is asked for again until it is there.

#![allow(clippy::wildcard_imports)] // every property needs most of the fixture

pub(super) mod cache;
pub(super) mod claiming;
pub(super) mod crashes;
pub(super) mod deleting;
pub(super) mod idempotency;
pub(super) mod limits;
pub(super) mod listing;
pub(super) mod news;
pub(super) mod reading;
pub(super) mod recording;
pub(super) mod repeating;
pub(super) mod settling;
pub(super) mod submitting;

mod fixture;

pub(super) use fixture::{Limits, Place};

/// Makes every property a test of the implementation whose place this is. A property that is not listed here is dead code,
/// and the compiler says so.
macro_rules! conformance {
    ($place:ty) => {
        $crate::store::suite::properties! { $place,
            submitting: [
                what_was_accepted_is_there_after_the_store_was_closed,
                a_new_job_is_queued_and_known_by_its_title_and_owner,
                a_request_comes_back_byte_for_byte,
                a_large_body_comes_back_piece_by_piece,
                a_piece_that_is_put_again_changes_nothing,
                a_job_that_is_submitted_again_is_the_same_job,
                an_adopted_job_runs_under_the_lease_of_its_submitter,
                an_adopted_job_that_is_submitted_again_has_the_same_lease,
                a_store_that_answers_says_so,
            ],
            claiming: [
                jobs_are_claimed_in_the_order_of_their_submission,
                no_more_are_claimed_than_were_asked_for,
                many_who_claim_at_once_never_get_the_same_job,
                nothing_is_due_by_time_where_nothing_waits_for_it,
                a_claim_says_when_the_next_pause_ends,
                a_claim_says_when_the_next_lease_ends,
                jobs_of_another_queue_are_left_alone,
                what_was_claimed_for_somebody_who_has_gone_is_claimed_again,
            ],
            crashes: [
                a_job_whose_lease_ran_out_is_taken_over_at_its_old_place,
                a_job_that_is_taken_over_is_queued_without_what_it_had_recorded,
                a_lease_that_ran_out_stands_until_the_job_is_taken_back,
                a_lease_that_is_renewed_is_not_taken_over,
                a_stale_fence_writes_nothing,
                an_adopted_job_whose_owner_fell_silent_is_executed_again,
                a_lease_of_a_process_that_is_gone_runs_out,
                a_job_whose_lease_ran_out_too_often_is_parked,
                a_parked_job_that_is_queued_again_may_crash_as_often_again,
            ],
            recording: [
                what_is_recorded_can_be_read_before_it_is_complete,
                a_recording_is_written_in_one_batch_as_well,
                a_batch_that_is_sent_again_is_written_once,
                a_batch_that_would_leave_a_hole_is_not_written,
                a_settled_job_takes_no_more,
                a_lease_of_a_deleted_job_writes_nothing,
                what_was_recorded_is_there_after_the_store_was_closed,
            ],
            reading: [
                a_recording_is_read_from_any_byte,
                a_page_holds_no_more_than_a_piece,
                what_is_not_there_is_not_read,
            ],
            settling: [
                a_completed_job_is_final_and_its_request_is_erased,
                a_failed_job_says_why_and_has_no_recording,
                a_repeat_waits_for_its_pause_and_is_counted,
                a_job_that_is_handed_back_counts_as_nothing_and_keeps_its_place,
                a_job_that_was_repeated_and_then_completed_has_no_error,
                a_completion_that_is_sent_again_is_answered_as_it_was,
                a_failure_that_is_sent_again_is_answered_as_it_was,
                a_repeat_that_is_sent_again_is_counted_once,
                a_hand_back_that_is_sent_again_is_answered_as_it_was,
            ],
            repeating: [
                only_a_failed_job_is_queued_again,
                a_job_that_is_queued_again_starts_like_a_new_one,
                a_failed_job_keeps_a_body_of_several_pieces,
            ],
            deleting: [
                a_job_can_be_deleted_in_every_state,
                a_deleted_body_is_gone,
                a_finished_job_is_forgotten_when_its_time_is_over,
                a_finished_job_stays_until_its_time_is_over,
                a_parked_job_is_forgotten_when_its_time_is_over,
            ],
            listing: [
                jobs_are_listed_by_pages_the_newest_first,
                jobs_are_listed_by_status,
                jobs_are_counted_by_state,
                the_oldest_job_that_waits_is_known,
            ],
            news: [
                whoever_waits_for_jobs_hears_of_a_new_one,
                whoever_follows_a_job_hears_of_what_is_recorded,
                whoever_waits_for_a_job_hears_that_it_is_settled,
                whoever_waits_for_a_job_hears_that_it_is_gone,
                whoever_executes_a_job_hears_that_it_is_deleted,
            ],
            idempotency: [
                the_same_request_under_the_same_key_is_one_job_as_long_as_it_exists,
                another_request_under_the_same_key_is_refused,
                the_same_request_under_another_key_is_another_job,
                of_many_who_submit_the_same_at_once_exactly_one_is_accepted,
                a_keyed_job_that_is_submitted_again_is_accepted_again,
                a_key_is_free_once_its_job_is_deleted,
                a_key_is_free_once_the_time_of_its_job_is_over,
                a_key_is_known_after_the_store_was_closed,
            ],
            limits: [
                no_more_jobs_wait_than_allowed,
                an_adopted_job_counts_for_no_depth,
                a_known_key_is_answered_however_many_jobs_wait,
                no_more_bytes_are_stored_than_allowed,
                a_piece_that_has_no_room_is_refused,
                a_recording_that_has_no_room_is_refused_and_its_job_can_still_be_settled,
                what_a_completed_job_no_longer_needs_is_given_back,
                what_an_execution_had_recorded_is_given_back,
                what_is_forgotten_is_given_back,
            ],
            cache: [
                an_entry_is_there_under_its_own_key,
                an_entry_replaces_the_one_before_it,
                an_entry_is_gone_when_its_time_is_over,
                an_entry_that_has_no_room_is_dropped,
            ],
        }
    };
}

/// The lists of [`conformance!`] as tests, each subject in a module of its name.
macro_rules! properties {
    ($place:ty, $($subject:ident: [$($property:ident),* $(,)?],)*) => {
        $(mod $subject {
            use super::*;
            $(#[tokio::test]
            async fn $property() {
                $crate::store::suite::$subject::$property::<$place>().await;
            })*
        })*
    };
}

pub(super) use {conformance, properties};
