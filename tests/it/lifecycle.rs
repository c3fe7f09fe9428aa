//! From the start to the end of the program, and what it says on the way (contract 3, 3.1, 3.2, 3.4, 3.8, 5, 8).

mod admin;
mod dialects;
mod draining;
mod keys;
mod logs;
mod overload;
mod start;
mod stream_ends;
