//! Recordings: stored responses, written by one and read by many, also while they are being written.
