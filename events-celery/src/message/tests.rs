//! What messages say, and what is said of those that say nothing.

mod again;
mod arguments;
mod encode;
mod fuzz;
mod malformed;
mod python;
mod sample;
mod version_1;
